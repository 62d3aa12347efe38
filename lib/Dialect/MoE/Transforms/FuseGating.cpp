//===- FuseGating.cpp - moe-fuse-gating -----------------------------------===//
//
// Router product, scores, selection and normalisation in one pass over tiles of tokens.
//
//===----------------------------------------------------------------------===//

#include "SelectLoop.h"
#include "Structure.h"

#include "moe/Dialect/MoE/IR/MoE.h"
#include "moe/Dialect/MoE/Transforms/Missed.h"
#include "moe/Dialect/MoE/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace mlir::moe {
#define GEN_PASS_DEF_FUSEGATINGPASS
#include "moe/Dialect/MoE/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

static constexpr llvm::StringLiteral kPass = "moe-fuse-gating";

/// The product that `select` chooses from, or why the two cannot be one loop.
static std::optional<StringRef> match(SelectOp select, GroupedMatmulOp &product) {
  // Scores never depend on other tokens; the choice must not either.
  if (!select.getPolicy().isTokenIndependent())
    return StringRef("the policy looks at several tokens at once");
  product = select.getLogits().getDefiningOp<GroupedMatmulOp>();
  if (!product)
    return StringRef("its logits are no grouped product");
  if (!isReadOnlyBy(select.getLogits(), [&](Operation *user) { return user == select.getOperation(); }))
    return StringRef("its logits have another reader");
  return std::nullopt;
}

/// The offsets of a product of one group that holds all rows have that form in the tile too.
static void simplifyOffsets(RewriterBase &rewriter, GroupedMatmulOp product, GroupedMatmulOp tile, Value size) {
  auto elements = product.getOffsets().getDefiningOp<tensor::FromElementsOp>();
  if (!elements || product.getGroups() != 1 || product.getIndices())
    return;
  auto count = elements.getElements()[1].getDefiningOp<tensor::DimOp>();
  bool allRows = count ? count.getSource() == product.getRows() && count.getConstantIndex() == 0
                       : getConstantIntValue(elements.getElements()[1]) == product.getRows().getType().getDimSize(0);
  if (!allRows || !isConstantIntValue(elements.getElements()[0], 0))
    return;
  Operation *general = tile.getOffsets().getDefiningOp();
  OpBuilder::InsertionGuard guard(rewriter);
  rewriter.setInsertionPoint(tile);
  Value zero = arith::ConstantIndexOp::create(rewriter, tile.getLoc(), 0);
  Value offsets = tensor::FromElementsOp::create(rewriter, tile.getLoc(), ValueRange{zero, size});
  rewriter.modifyOpInPlace(tile, [&] { tile.getOffsetsMutable().assign(offsets); });
  if (isOpTriviallyDead(general))
    rewriter.eraseOp(general);
}

/// One loop over tiles of tokens before `select`; gives the ids and weights of all tokens.
static FailureOr<scf::ForallOp> buildLoop(RewriterBase &rewriter, SelectOp select, GroupedMatmulOp product,
                                          int64_t tileSize) {
  Location loc = rewriter.getFusedLoc({product->getLoc(), select.getLoc()});
  OpFoldResult tokens = tensor::getMixedSize(rewriter, loc, product.getInit(), 0);
  OpFoldResult zero = rewriter.getIndexAttr(0),
               experts = rewriter.getIndexAttr(select.getRouting().getType().getExperts());
  return buildSelectLoop(rewriter, loc, select, tokens, tileSize,
                         [&](OpFoldResult begin, OpFoldResult size) -> FailureOr<Value> {
                           FailureOr<TilingResult> tile =
                               product.generateResultTileValue(rewriter, 0, {begin, zero}, {size, experts});
                           if (failed(tile))
                             return failure();
                           simplifyOffsets(rewriter, product, cast<GroupedMatmulOp>(tile->tiledOps[0]),
                                           getValueOrCreateConstantIndexOp(rewriter, loc, size));
                           return tile->tiledValues[0];
                         });
}

namespace {
struct FuseGating : moe::impl::FuseGatingPassBase<FuseGating> {
  using FuseGatingPassBase::FuseGatingPassBase;

  void runOnOperation() override {
    if (tileSize < 1) {
      getOperation().emitError() << "expected tile-size to be 1 or more, got " << tileSize.getValue();
      return signalPassFailure();
    }
    IRRewriter rewriter(&getContext());
    SmallVector<SelectOp> selects;
    getOperation().walk([&](SelectOp select) { selects.push_back(select); });
    for (SelectOp select : selects) {
      GroupedMatmulOp product;
      if (auto reason = match(select, product)) {
        reportMissed(select, kPass, *reason);
        continue;
      }
      rewriter.setInsertionPoint(select);
      FailureOr<scf::ForallOp> loop = buildLoop(rewriter, select, product, tileSize);
      if (failed(loop)) {
        reportMissed(select, kPass, "its product cannot be tiled");
        continue;
      }
      rewriter.setInsertionPoint(select);
      rewriter.replaceOpWithNewOp<MakeRoutingOp>(select, select.getRouting().getType(), loop->getResult(0),
                                                 loop->getResult(1));
      redirectSizes(rewriter, product.getResult(), product.getInit());
      rewriter.eraseOp(product);
      ++fused;
    }
  }
};
} // namespace
