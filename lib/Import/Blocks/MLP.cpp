//===- MLP.cpp - Gated multi-layer perceptron -----------------------------===//
//
// Dense layers, shared experts and the bodies of routed experts are the same
// program.
//
//===----------------------------------------------------------------------===//

#include "Blocks.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace mlir::moe;

Value mlir::moe::buildSigmoid(OpBuilder &builder, Location loc, Value x) {
  Value one =
      arith::ConstantOp::create(builder, loc, builder.getF32FloatAttr(1.0f));
  Value exp =
      math::ExpOp::create(builder, loc, arith::NegFOp::create(builder, loc, x));
  return arith::DivFOp::create(builder, loc, one,
                               arith::AddFOp::create(builder, loc, one, exp));
}

Value mlir::moe::buildGatedMLP(ImplicitLocOpBuilder &builder, Value rows,
                               Value gate, Value up, Value down) {
  Value gated = buildProduct(builder, rows, gate),
        raised = buildProduct(builder, rows, up);
  Value hidden =
      buildElementwise(builder, builder.getLoc(), {gated, raised},
                       [](OpBuilder &b, Location loc, ValueRange x) -> Value {
                         Value silu = arith::MulFOp::create(
                             b, loc, x[0], buildSigmoid(b, loc, x[0]));
                         return arith::MulFOp::create(b, loc, silu, x[1]);
                       });
  return buildProduct(builder, hidden, down);
}

Value mlir::moe::buildGatedMLP(FunctionScope &scope, Value rows,
                               const GatedMLP &mlp) {
  auto weight = [&](const Linear &linear) {
    return scope.getWeight(linear.weight, {linear.outputs, linear.inputs});
  };
  Value gate = weight(mlp.gate), up = weight(mlp.up), down = weight(mlp.down);
  return buildGatedMLP(scope.builder, rows, gate, up, down);
}
