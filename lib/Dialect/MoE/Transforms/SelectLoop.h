//===- SelectLoop.h - Choosing experts tile by tile -------------*- C++ -*-===//
//
// The loop over tiles of tokens that selections become, whatever gives a tile's logits.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_TRANSFORMS_SELECTLOOP_H
#define MOE_DIALECT_MOE_TRANSFORMS_SELECTLOOP_H

#include "moe/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/PatternMatch.h"

namespace mlir::moe {

/// The logits of `size` tokens from `begin`.
using TileLogits = llvm::function_ref<FailureOr<Value>(OpFoldResult begin, OpFoldResult size)>;

/// A parallel loop at the insertion point, over tiles of `tileSize` of the `tokens` tokens of `select`, which decides
/// each token alone: gives the ids and weights of all tokens. Nothing is left behind where `logits` fails.
FailureOr<scf::ForallOp> buildSelectLoop(RewriterBase &rewriter, Location loc, SelectOp select, OpFoldResult tokens,
                                         int64_t tileSize, TileLogits logits);

} // namespace mlir::moe

#endif // MOE_DIALECT_MOE_TRANSFORMS_SELECTLOOP_H
