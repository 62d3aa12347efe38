//===- MoEFolds.cpp - Folds and canonicalisations -------------------------===//
//
// Conversions between values of the dialect and plain tensors cancel out.
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/MoE/IR/MoE.h"

using namespace mlir;
using namespace mlir::moe;

LogicalResult RoutingPartsOp::fold(FoldAdaptor, SmallVectorImpl<OpFoldResult> &results) {
  auto make = getRouting().getDefiningOp<MakeRoutingOp>();
  if (!make || make.getIds().getType() != getIds().getType())
    return failure();
  results.assign({make.getIds(), make.getWeights()});
  return success();
}

LogicalResult BankPartsOp::fold(FoldAdaptor, SmallVectorImpl<OpFoldResult> &results) {
  auto make = getBank().getDefiningOp<MakeBankOp>();
  if (!make)
    return failure();
  results.append(make.getComponents().begin(), make.getComponents().end());
  return success();
}
