//===- Router.cpp - Chooses experts ---------------------------------------===//
//
// Logits by a product with the router's weight; the choice is one operation.
//
//===----------------------------------------------------------------------===//

#include "Blocks.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace mlir::moe;

/// The same choice with each token's weights divided by the root of the sum of
/// their squares.
static Value buildUnitLength(ImplicitLocOpBuilder &builder, Value routing) {
  Location loc = builder.getLoc();
  auto parts = RoutingPartsOp::create(builder, routing);
  Value squares = buildRowReduction(
      builder, loc, parts.getWeights(), builder.getF32FloatAttr(0.0f),
      [](OpBuilder &b, Location loc, ValueRange x) -> Value {
        Value square = arith::MulFOp::create(b, loc, x[0], x[0]);
        return arith::AddFOp::create(b, loc, square, x[1]);
      });
  Value weights =
      buildWithRow(builder, loc, parts.getWeights(), squares,
                   [](OpBuilder &b, Location loc, ValueRange x) -> Value {
                     Value length = math::SqrtOp::create(b, loc, x[1]);
                     return arith::DivFOp::create(b, loc, x[0], length);
                   });
  return MakeRoutingOp::create(builder, routing.getType(), parts.getIds(),
                               weights);
}

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
  Value routing = SelectOp::create(
      builder, logits, bias, weigh, /*parameters=*/ValueRange(),
      /*parameter_names=*/ArrayAttr(), router.policy(context),
      router.score(context), router.normalization(context),
      builder.getF32FloatAttr(static_cast<float>(router.scale)),
      ScopeAttr::get(context, Scope::token));
  return router.unitLength ? buildUnitLength(builder, routing) : routing;
}
