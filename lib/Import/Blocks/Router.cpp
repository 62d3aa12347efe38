//===- Router.cpp - Chooses experts ---------------------------------------===//
//
// Softmax over all experts, the k best of them, their scores kept or divided by
// their sum.
//
//===----------------------------------------------------------------------===//

#include "Blocks.h"
#include "moe/Dialect/MoE/IR/MoE.h"

using namespace mlir;
using namespace mlir::moe;

Value mlir::moe::buildRouter(FunctionScope &scope, Value rows,
                             const TopKRouter &router) {
  FunctionScope::Block block(scope, "router");
  ImplicitLocOpBuilder &builder = scope.builder;
  MLIRContext *context = builder.getContext();
  Value logits = buildLinear(scope, rows, router.projection);
  NormalizationAttrInterface normalization =
      router.normalize
          ? NormalizationAttrInterface(SumToOneAttr::get(context, FloatAttr()))
          : NormalizationAttrInterface(KeepAttr::get(context));
  return SelectOp::create(
      builder, logits, /*bias=*/Value(), TopKAttr::get(context, router.slots),
      SoftmaxAttr::get(context), normalization, builder.getF32FloatAttr(1.0f));
}
