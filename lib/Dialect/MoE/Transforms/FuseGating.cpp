//===- FuseGating.cpp - moe-fuse-gating -----------------------------------===//
//
// Router product, scores, selection and normalisation in one pass over tiles of tokens.
//
//===----------------------------------------------------------------------===//

#include "Missed.h"
#include "Structure.h"

#include "moe/Dialect/MoE/IR/MoE.h"
#include "moe/Dialect/MoE/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"

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

/// One loop over tiles of tokens before `select`; gives the ids and weights of all tokens.
static FailureOr<scf::ForallOp> buildLoop(RewriterBase &rewriter, SelectOp select, GroupedMatmulOp product,
                                          int64_t tileSize) {
  Location loc = rewriter.getFusedLoc({product->getLoc(), select.getLoc()});
  RoutingType routing = select.getRouting().getType();
  OpFoldResult tokens = tensor::getMixedSize(rewriter, loc, product.getInit(), 0);
  OpFoldResult zero = rewriter.getIndexAttr(0), one = rewriter.getIndexAttr(1);
  OpFoldResult slots = rewriter.getIndexAttr(routing.getSlots()), experts = rewriter.getIndexAttr(routing.getExperts());
  OpFoldResult step = rewriter.getIndexAttr(tileSize);
  Value ids = tensor::EmptyOp::create(rewriter, loc, ArrayRef{tokens, slots}, rewriter.getI32Type());
  Value weights = tensor::EmptyOp::create(rewriter, loc, ArrayRef{tokens, slots}, rewriter.getF32Type());
  auto loop = scf::ForallOp::create(rewriter, loc, ArrayRef{zero}, ArrayRef{tokens}, ArrayRef{step},
                                    ValueRange{ids, weights}, std::nullopt);
  rewriter.setInsertionPointToStart(loop.getBody());
  OpFoldResult begin = loop.getInductionVars()[0];
  Value count = getValueOrCreateConstantIndexOp(rewriter, loc, tokens);
  Value rest = arith::SubIOp::create(rewriter, loc, count, loop.getInductionVars()[0]);
  Value full = arith::ConstantIndexOp::create(rewriter, loc, tileSize);
  Value size = arith::MinSIOp::create(rewriter, loc, rest, full);

  FailureOr<TilingResult> tile = product.generateResultTileValue(rewriter, 0, {begin, zero}, {size, experts});
  if (failed(tile)) {
    rewriter.eraseOp(loop);
    return failure();
  }
  simplifyOffsets(rewriter, product, cast<GroupedMatmulOp>(tile->tiledOps[0]), size);
  SelectOp chosen = cutTokens(rewriter, select, tile->tiledValues[0], begin, size);
  auto parts = RoutingPartsOp::create(rewriter, loc, chosen.getRouting());

  rewriter.setInsertionPointToStart(loop.getTerminator().getBody());
  for (auto [part, whole] : llvm::zip_equal(parts.getResults(), loop.getRegionIterArgs()))
    tensor::ParallelInsertSliceOp::create(rewriter, loc, part, whole, ArrayRef{begin, zero},
                                          ArrayRef<OpFoldResult>{size, slots},
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
