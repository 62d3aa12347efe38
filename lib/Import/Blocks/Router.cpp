//===- Router.cpp - Chooses experts ---------------------------------------===//
//
// Logits by a product with the router's weight; the choice is one operation.
//
//===----------------------------------------------------------------------===//

#include "Blocks.h"

using namespace mlir;
using namespace mlir::moe;

Value mlir::moe::buildRouter(FunctionScope &scope, Value rows,
                             const Router &router) {
  FunctionScope::Block block(scope, "router");
  ImplicitLocOpBuilder &builder = scope.builder;
  MLIRContext *context = builder.getContext();
  Value logits = buildLinear(scope, rows, router.projection);
  Value bias;
  if (!router.selectionBias.empty())
    bias = buildWidenedTensor(
        builder,
        scope.getWeight(router.selectionBias, {router.projection.outputs}));
  Value weigh;
  if (router.weigh)
    weigh =
        router.weigh(context).buildScores(builder, builder.getLoc(), logits);
  return SelectOp::create(
      builder, logits, bias, weigh, /*parameters=*/ValueRange(),
      /*parameter_names=*/ArrayAttr(), router.policy(context),
      router.score(context), router.normalization(context),
      builder.getF32FloatAttr(static_cast<float>(router.scale)),
      ScopeAttr::get(context, Scope::token));
}
