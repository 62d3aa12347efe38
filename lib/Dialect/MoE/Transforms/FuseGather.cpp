//===- FuseGather.cpp - moe-fuse-gather -----------------------------------===//
//
// Folds the gather of rows into the grouped products that read them.
//
//===----------------------------------------------------------------------===//

#include "Structure.h"

#include "moe/Dialect/MoE/IR/MoE.h"
#include "moe/Dialect/MoE/Transforms/Missed.h"
#include "moe/Dialect/MoE/Transforms/Passes.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/PatternMatch.h"

namespace mlir::moe {
#define GEN_PASS_DEF_FUSEGATHERPASS
#include "moe/Dialect/MoE/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

static constexpr llvm::StringLiteral kPass = "moe-fuse-gather";

/// Why `gather` has to stay, or nothing if all that reads it can read its source instead. Sizes of the result do not
/// count as reading.
static std::optional<StringRef> whyNot(GatherOp gather) {
  if (!gather.getSource().getType().getElementType().isF32())
    return StringRef("it widens its rows, and grouped products read rows as f32");
  bool feedsProduct = false;
  for (OpOperand &use : gather.getResult().getUses()) {
    if (isa<tensor::DimOp>(use.getOwner()))
      continue;
    auto product = dyn_cast<GroupedMatmulOp>(use.getOwner());
    if (!product || use.get() != product.getRows() || use.getOperandNumber() != 0)
      return StringRef("its rows are read by something else than a grouped product");
    if (product.getIndices())
      return StringRef("a grouped product picks from its rows by index already");
    feedsProduct = true;
  }
  if (!feedsProduct)
    return StringRef("no grouped product reads its rows");
  return std::nullopt;
}

static void fuse(RewriterBase &rewriter, GatherOp gather) {
  redirectSizes(rewriter, gather.getResult(), gather.getInit());
  for (Operation *user : llvm::make_early_inc_range(gather.getResult().getUsers())) {
    auto product = cast<GroupedMatmulOp>(user);
    rewriter.modifyOpInPlace(product, [&] {
      product.getRowsMutable().assign(gather.getSource());
      product.getIndicesMutable().assign(gather.getIndices());
    });
  }
  rewriter.eraseOp(gather);
}

namespace {
struct FuseGather : moe::impl::FuseGatherPassBase<FuseGather> {
  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    SmallVector<GatherOp> gathers;
    getOperation().walk([&](GatherOp gather) { gathers.push_back(gather); });
    for (GatherOp gather : gathers) {
      if (auto reason = whyNot(gather)) {
        reportMissed(gather, kPass, *reason);
        continue;
      }
      fuse(rewriter, gather);
      ++fused;
    }
  }
};
} // namespace
