//===- TileRows.cpp - moe-tile-rows ---------------------------------------===//
//
// Combines and gathers run in parallel over blocks of rows, through TilingInterface.
//
//===----------------------------------------------------------------------===//


#include "moe/Dialect/MoE/IR/Builders.h"
#include "moe/Dialect/MoE/IR/MoE.h"
#include "moe/Dialect/MoE/Transforms/Missed.h"
#include "moe/Dialect/MoE/Transforms/Passes.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/SCF/Transforms/TileUsingInterface.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/PatternMatch.h"

namespace mlir::moe {
#define GEN_PASS_DEF_TILEROWSPASS
#include "moe/Dialect/MoE/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

static constexpr llvm::StringLiteral kPass = "moe-tile-rows";

namespace {
struct TileRowsPass : public moe::impl::TileRowsPassBase<TileRowsPass> {
  using TileRowsPassBase::TileRowsPassBase;

  LogicalResult initialize(MLIRContext *context) override {
    if (rows >= 1)
      return success();
    return emitError(UnknownLoc::get(context)) << "expected 'rows' to be 1 or more, got " << rows.getValue();
  }

  void runOnOperation() override {
    SmallVector<TilingInterface> ops;
    getOperation().walk([&](Operation *op) {
      bool inParallel = op->getParentOfType<scf::ForallOp>() || op->getParentOfType<scf::ParallelOp>();
      if (isa<CombineOp, GatherOp>(op) && !inParallel)
        ops.push_back(cast<TilingInterface>(op));
    });
    IRRewriter rewriter(&getContext());
    for (TilingInterface op : ops) {
      // One block is not worth a parallel loop.
      int64_t count = cast<RankedTensorType>(op->getResult(0).getType()).getDimSize(0);
      if (!ShapedType::isDynamic(count) && count <= rows)
        continue;
      scf::SCFTilingOptions options;
      options.setTileSizes({rewriter.getIndexAttr(rows), rewriter.getIndexAttr(0)});
      options.setLoopType(scf::SCFTilingOptions::LoopType::ForallOp);
      rewriter.setInsertionPoint(op);
      nameAfterOperation(op);
      FailureOr<scf::SCFTilingResult> result = scf::tileUsingSCF(rewriter, op, options);
      if (failed(result)) {
        reportMissed(op, kPass, "it cannot be tiled over rows");
        continue;
      }
      rewriter.replaceOp(op, result->replacements);
      ++tiled;
    }
  }
};
} // namespace
