//===- TileSelect.cpp - Choosing experts token by token -------------------===//
//
// Implements moe-tile-select: selections become parallel loops over single tokens.
//
//===----------------------------------------------------------------------===//

#include "SelectLoop.h"
#include "moe/Dialect/MoE/IR/Builders.h"
#include "moe/Dialect/MoE/Transforms/Missed.h"
#include "moe/Dialect/MoE/Transforms/Passes.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace mlir::moe {
#define GEN_PASS_DEF_TILESELECTPASS
#include "moe/Dialect/MoE/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

static constexpr llvm::StringLiteral kPass = "moe-tile-select";

static void tile(RewriterBase &rewriter, SelectOp select) {
  nameAfterOperation(select);
  Location loc = select.getLoc();
  rewriter.setInsertionPoint(select);
  Value logits = select.getLogits();
  OpFoldResult zero = rewriter.getIndexAttr(0), one = rewriter.getIndexAttr(1);
  OpFoldResult experts = rewriter.getIndexAttr(select.getRouting().getType().getExperts());
  OpFoldResult tokens = tensor::getMixedSize(rewriter, loc, logits, 0);
  auto loop = buildSelectLoop(rewriter, loc, select, tokens, 1, [&](OpFoldResult begin, OpFoldResult size) {
    return FailureOr<Value>(tensor::ExtractSliceOp::create(rewriter, loc, logits, ArrayRef{begin, zero},
                                                           ArrayRef{size, experts}, ArrayRef{one, one})
                                .getResult());
  });
  rewriter.setInsertionPoint(select);
  rewriter.replaceOpWithNewOp<MakeRoutingOp>(select, select.getRouting().getType(), loop->getResult(0),
                                             loop->getResult(1));
}

namespace {
struct TileSelectPass : moe::impl::TileSelectPassBase<TileSelectPass> {
  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    SmallVector<SelectOp> selects;
    getOperation().walk([&](SelectOp select) { selects.push_back(select); });
    for (SelectOp select : selects) {
      if (select.getPolicy().isTokenIndependent())
        tile(rewriter, select);
      else
        reportMissed(select, kPass, "the policy looks at several tokens at once");
    }
  }
};
} // namespace
