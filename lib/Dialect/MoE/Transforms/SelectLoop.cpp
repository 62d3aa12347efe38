//===- SelectLoop.cpp - Choosing experts tile by tile ---------------------===//
//
// Cuts a selection to the tokens of a tile, inside a parallel loop over tiles.
//
//===----------------------------------------------------------------------===//

#include "SelectLoop.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace mlir::moe;

/// `select` on `size` tokens from `begin`: their logits are given, all else that has an entry per token is cut.
static SelectOp cutTokens(RewriterBase &rewriter, SelectOp select, Value logits, OpFoldResult begin, OpFoldResult size) {
  IRMapping mapping;
  for (OpOperand &operand : select->getOpOperands()) {
    if (operand.get() == select.getLogits() || !select.isPerToken(operand))
      continue;
    auto type = cast<RankedTensorType>(operand.get().getType());
    SmallVector<OpFoldResult> offsets(type.getRank(), rewriter.getIndexAttr(0));
    SmallVector<OpFoldResult> strides(type.getRank(), rewriter.getIndexAttr(1));
    SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(rewriter, select.getLoc(), operand.get());
    offsets[0] = begin;
    sizes[0] = size;
    mapping.map(operand.get(), tensor::ExtractSliceOp::create(rewriter, select.getLoc(), operand.get(), offsets, sizes,
                                                              strides)
                                   .getResult());
  }
  mapping.map(select.getLogits(), logits);
  auto cut = cast<SelectOp>(rewriter.clone(*select, mapping));
  RoutingType type = select.getRouting().getType();
  int64_t tokens = cast<RankedTensorType>(logits.getType()).getDimSize(0);
  cut.getRouting().setType(RoutingType::get(type.getContext(), tokens, type.getExperts(), type.getSlots(), type.getScope()));
  return cut;
}

FailureOr<scf::ForallOp> moe::buildSelectLoop(RewriterBase &rewriter, Location loc, SelectOp select,
                                              OpFoldResult tokens, int64_t tileSize, TileLogits logits) {
  RoutingType routing = select.getRouting().getType();
  OpFoldResult zero = rewriter.getIndexAttr(0), one = rewriter.getIndexAttr(1);
  OpFoldResult slots = rewriter.getIndexAttr(routing.getSlots()), step = rewriter.getIndexAttr(tileSize);
  Value ids = tensor::EmptyOp::create(rewriter, loc, ArrayRef{tokens, slots}, rewriter.getI32Type());
  Value weights = tensor::EmptyOp::create(rewriter, loc, ArrayRef{tokens, slots}, rewriter.getF32Type());
  auto loop = scf::ForallOp::create(rewriter, loc, ArrayRef{zero}, ArrayRef{tokens}, ArrayRef{step},
                                    ValueRange{ids, weights}, std::nullopt);
  rewriter.setInsertionPointToStart(loop.getBody());
  OpFoldResult begin = loop.getInductionVars()[0], size = one;
  if (tileSize > 1) {
    Value count = getValueOrCreateConstantIndexOp(rewriter, loc, tokens);
    Value rest = arith::SubIOp::create(rewriter, loc, count, loop.getInductionVars()[0]);
    Value full = arith::ConstantIndexOp::create(rewriter, loc, tileSize);
    size = arith::MinSIOp::create(rewriter, loc, rest, full).getResult();
  }
  FailureOr<Value> tile = logits(begin, size);
  if (failed(tile)) {
    rewriter.eraseOp(loop);
    return failure();
  }
  SelectOp chosen = cutTokens(rewriter, select, *tile, begin, size);
  auto parts = RoutingPartsOp::create(rewriter, loc, chosen.getRouting());

  rewriter.setInsertionPointToStart(loop.getTerminator().getBody());
  for (auto [part, whole] : llvm::zip_equal(parts.getResults(), loop.getRegionIterArgs()))
    tensor::ParallelInsertSliceOp::create(rewriter, loc, part, whole, ArrayRef{begin, zero},
                                          ArrayRef<OpFoldResult>{size, slots}, ArrayRef{one, one});
  return loop;
}
