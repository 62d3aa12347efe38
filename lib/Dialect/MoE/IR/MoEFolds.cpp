//===- MoEFolds.cpp - Folds and canonicalisations -------------------------===//
//
// Conversions between values of the dialect and plain tensors cancel out.
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/MoE/IR/MoE.h"

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
