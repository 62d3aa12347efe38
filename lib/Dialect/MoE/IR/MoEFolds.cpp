//===- MoEFolds.cpp - Folds and canonicalisations -------------------------===//
//
// Conversions between values of the dialect and plain tensors cancel out; casts
// of tensors end in the operations that read them.
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace mlir::moe;

OpFoldResult MakeRoutingOp::fold(FoldAdaptor) {
  auto parts = getIds().getDefiningOp<RoutingPartsOp>();
  if (!parts || parts.getIds() != getIds() ||
      parts.getWeights() != getWeights() ||
      parts.getRouting().getType() != getRouting().getType())
    return {};
  return parts.getRouting();
}

LogicalResult RoutingPartsOp::fold(FoldAdaptor, SmallVectorImpl<OpFoldResult> &results) {
  auto make = getRouting().getDefiningOp<MakeRoutingOp>();
  if (!make || make.getIds().getType() != getIds().getType() ||
      make.getWeights().getType() != getWeights().getType())
    return failure();
  results.assign({make.getIds(), make.getWeights()});
  return success();
}

OpFoldResult MakeBankOp::fold(FoldAdaptor) {
  auto parts = getComponents().front().getDefiningOp<BankPartsOp>();
  if (!parts || !llvm::equal(parts.getComponents(), getComponents()))
    return {};
  return parts.getBank();
}

LogicalResult BankPartsOp::fold(FoldAdaptor, SmallVectorImpl<OpFoldResult> &results) {
  auto make = getBank().getDefiningOp<MakeBankOp>();
  if (!make)
    return failure();
  results.append(make.getComponents().begin(), make.getComponents().end());
  return success();
}

namespace {
/// Reads what a cast was made of. MLIR has the same for all operations with
/// destinations, which clones them and does not survive an empty region.
struct FoldCastsIntoProduct : public OpRewritePattern<GroupedMatmulOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(GroupedMatmulOp op,
                                PatternRewriter &rewriter) const override {
    if (!tensor::hasFoldableTensorCastOperand(op))
      return failure();
    Type type = op.getResult().getType();
    SmallVector<Type> types(op->getResultTypes());
    SmallVector<Value> operands =
        tensor::getUpdatedOperandsAfterCastOpFolding(op, types);
    rewriter.modifyOpInPlace(op, [&] {
      op->setOperands(operands);
      op->getResult(0).setType(types[0]);
    });
    if (types[0] == type)
      return success();
    rewriter.setInsertionPointAfter(op);
    auto cast =
        tensor::CastOp::create(rewriter, op.getLoc(), type, op.getResult());
    rewriter.replaceAllUsesExcept(op.getResult(), cast, cast);
    return success();
  }
};
} // namespace

void GroupedMatmulOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                                  MLIRContext *context) {
  patterns.add<FoldCastsIntoProduct>(context, /*benefit=*/2);
}
