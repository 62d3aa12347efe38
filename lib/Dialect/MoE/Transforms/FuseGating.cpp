//===- FuseGating.cpp - moe-fuse-gating -----------------------------------===//
//
// Router product, scores, selection and normalisation in one pass over tiles of tokens.
//
//===----------------------------------------------------------------------===//

#include "Missed.h"
#include "Structure.h"

#include "moe/Dialect/MoE/IR/MoE.h"
#include "moe/Dialect/MoE/Transforms/Passes.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
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
static std::optional<StringRef> match(SelectOp select, Operation *&product) {
  // Scores never depend on other tokens; the choice must not either.
  if (!select.getPolicy().isTokenIndependent())
    return StringRef("the policy looks at several tokens at once");
  product = select.getLogits().getDefiningOp();
  auto linalgOp = dyn_cast_or_null<linalg::LinalgOp>(product);
  if (!isa_and_nonnull<GroupedMatmulOp>(product) && !(linalgOp && matchContraction(linalgOp)))
    return StringRef("its logits are no product");
  if (!isReadOnlyBy(select.getLogits(), [&](Operation *user) { return user == select.getOperation(); }))
    return StringRef("its logits have another reader");
  return std::nullopt;
}

/// The offsets of a product of one group that holds all rows have that form in the tile too.
static void simplifyOffsets(OpBuilder &builder, GroupedMatmulOp product, Operation *tiled, OpFoldResult size) {
  auto elements = product.getOffsets().getDefiningOp<tensor::FromElementsOp>();
  auto tile = dyn_cast<GroupedMatmulOp>(tiled);
  if (!elements || !tile || product.getGroups() != 1 || product.getIndices())
    return;
  auto count = elements.getElements()[1].getDefiningOp<tensor::DimOp>();
  bool allRows = count ? count.getSource() == product.getRows() && count.getConstantIndex() == 0
                       : getConstantIntValue(elements.getElements()[1]) == product.getRows().getType().getDimSize(0);
  if (!allRows || !isConstantIntValue(elements.getElements()[0], 0))
    return;
  Operation *general = tile.getOffsets().getDefiningOp();
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPoint(tile);
  Value zero = arith::ConstantIndexOp::create(builder, tile.getLoc(), 0);
  Value rows = getValueOrCreateConstantIndexOp(builder, tile.getLoc(), size);
  tile.getOffsetsMutable().assign(
      tensor::FromElementsOp::create(builder, tile.getLoc(), ValueRange{zero, rows}).getResult());
  if (general && isOpTriviallyDead(general))
    general->erase();
}

/// One loop over tiles of tokens before `select`; gives the ids and weights of all tokens.
static FailureOr<scf::ForallOp> buildLoop(RewriterBase &rewriter, SelectOp select, Operation *product,
                                          int64_t tileSize) {
  Location loc = rewriter.getFusedLoc({product->getLoc(), select.getLoc()});
  RoutingType routing = select.getRouting().getType();
  Value sized = cast<DestinationStyleOpInterface>(product).getDpsInits()[0];
  OpFoldResult tokens = tensor::getMixedSize(rewriter, loc, sized, 0);
  OpFoldResult zero = rewriter.getIndexAttr(0), one = rewriter.getIndexAttr(1);
  OpFoldResult slots = rewriter.getIndexAttr(routing.getSlots()), experts = rewriter.getIndexAttr(routing.getExperts());
  OpFoldResult step = rewriter.getIndexAttr(tileSize);
  Value ids = tensor::EmptyOp::create(rewriter, loc, ArrayRef{tokens, slots}, rewriter.getI32Type());
  Value weights = tensor::EmptyOp::create(rewriter, loc, ArrayRef{tokens, slots}, rewriter.getF32Type());
  auto loop = scf::ForallOp::create(rewriter, loc, ArrayRef{zero}, ArrayRef{tokens}, ArrayRef{step},
                                    ValueRange{ids, weights}, std::nullopt);
  rewriter.setInsertionPointToStart(loop.getBody());
  OpFoldResult begin = loop.getInductionVars()[0];
  AffineExpr end = rewriter.getAffineSymbolExpr(0), first = rewriter.getAffineDimExpr(0);
  AffineMap clamp = AffineMap::get(1, 1, {rewriter.getAffineConstantExpr(tileSize), end - first}, rewriter.getContext());
  OpFoldResult size = affine::makeComposedFoldedAffineMin(rewriter, loc, clamp, {begin, tokens});

  FailureOr<TilingResult> tile =
      cast<TilingInterface>(product).generateResultTileValue(rewriter, 0, {begin, zero}, {size, experts});
  if (failed(tile)) {
    rewriter.eraseOp(loop);
    return failure();
  }
  if (auto grouped = dyn_cast<GroupedMatmulOp>(product))
    simplifyOffsets(rewriter, grouped, tile->tiledOps[0], size);
  auto chosen = SelectOp::create(rewriter, select.getLoc(), tile->tiledValues[0], select.getBias(), select.getPolicy(),
                                 select.getScore(), select.getNormalization(), select.getScaleAttr());
  auto parts = RoutingPartsOp::create(rewriter, loc, chosen.getRouting());

  rewriter.setInsertionPointToStart(loop.getTerminator().getBody());
  for (auto [part, whole] : llvm::zip_equal(parts.getResults(), loop.getRegionIterArgs()))
    tensor::ParallelInsertSliceOp::create(rewriter, loc, part, whole, ArrayRef{begin, zero}, ArrayRef{size, slots},
                                          ArrayRef{one, one});
  return loop;
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
      Operation *product = nullptr;
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
      redirectSizes(rewriter, product->getResult(0), cast<DestinationStyleOpInterface>(product).getDpsInits()[0]);
      rewriter.eraseOp(product);
      ++fused;
    }
  }
};
} // namespace
