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

namespace {

/// x * sigmoid(factor * x)
Value buildSwish(OpBuilder &b, Location loc, Value x, double factor) {
  Value inner = x;
  if (factor != 1)
    inner = arith::MulFOp::create(b, loc, x, buildF32(b, loc, factor));
  return arith::MulFOp::create(b, loc, x, buildSigmoid(b, loc, inner));
}

/// x * (1 + erf(x / sqrt(2))) / 2
Value buildGelu(OpBuilder &b, Location loc, Value x) {
  Value scaled =
      arith::MulFOp::create(b, loc, x, buildF32(b, loc, 0.70710678118654752));
  Value raised = arith::AddFOp::create(
      b, loc, math::ErfOp::create(b, loc, scaled), buildF32(b, loc, 1));
  Value half = arith::MulFOp::create(b, loc, x, buildF32(b, loc, 0.5));
  return arith::MulFOp::create(b, loc, half, raised);
}

/// x * (1 + tanh(u)) / 2 with u = sqrt(2 / pi) * (x + 0.044715 x^3), which is
/// x * sigmoid(2 u).
Value buildGeluTanh(OpBuilder &b, Location loc, Value x) {
  Value square = arith::MulFOp::create(b, loc, x, x);
  Value factor = math::FmaOp::create(b, loc, square, buildF32(b, loc, 0.044715),
                                     buildF32(b, loc, 1));
  Value inner = arith::MulFOp::create(b, loc, x, factor);
  inner = arith::MulFOp::create(b, loc, inner,
                                buildF32(b, loc, 2 * 0.79788456080286536));
  return arith::MulFOp::create(b, loc, x, buildSigmoid(b, loc, inner));
}

Value buildActivation(OpBuilder &b, Location loc, Value x,
                      Activation activation) {
  switch (activation) {
  case Activation::silu:
    return buildSwish(b, loc, x, 1);
  case Activation::quickGelu:
    return buildSwish(b, loc, x, 1.702);
  case Activation::gelu:
    return buildGelu(b, loc, x);
  case Activation::geluTanh:
    return buildGeluTanh(b, loc, x);
  case Activation::relu:
    return arith::MaximumFOp::create(b, loc, x, buildF32(b, loc, 0));
  case Activation::sigmoid:
    return buildSigmoid(b, loc, x);
  }
  llvm_unreachable("all activations are listed");
}

Value buildGating(OpBuilder &b, Location loc, Value gate, Value up,
                  const Gating &gating) {
  if (!gating.clamped)
    return arith::MulFOp::create(
        b, loc, buildActivation(b, loc, gate, gating.activation), up);
  Value high = buildF32(b, loc, gating.clamped->limit),
        low = buildF32(b, loc, -gating.clamped->limit);
  gate = arith::MinimumFOp::create(b, loc, gate, high);
  up = arith::MaximumFOp::create(
      b, loc, arith::MinimumFOp::create(b, loc, up, high), low);
  Value shifted = arith::AddFOp::create(b, loc, up, buildF32(b, loc, 1));
  return arith::MulFOp::create(b, loc, shifted,
                               buildSwish(b, loc, gate, gating.clamped->alpha));
}

} // namespace

Value mlir::moe::buildGatedMLP(ImplicitLocOpBuilder &builder, Value rows,
                               const MLPWeights &weights,
                               const Gating &gating) {
  auto product = [&](Value rows, Value weight, Value bias) {
    Value result = buildProduct(builder, rows, weight);
    return bias ? buildBiasAdd(builder, result, bias) : result;
  };
  Value gate = product(rows, weights.gate, weights.gateBias),
        up = product(rows, weights.up, weights.upBias);
  Value hidden =
      buildElementwise(builder, builder.getLoc(), {gate, up},
                       [&](OpBuilder &b, Location loc, ValueRange x) -> Value {
                         return buildGating(b, loc, x[0], x[1], gating);
                       });
  return product(hidden, weights.down, weights.downBias);
}

Value mlir::moe::buildGatedMLP(FunctionScope &scope, Value rows,
                               const GatedMLP &mlp) {
  MLPWeights weights;
  auto read = [&](const Linear &linear, Value &weight, Value &bias) {
    weight = scope.getWeight(linear.weight, {linear.outputs, linear.inputs});
    if (!linear.bias.empty())
      bias = scope.getWeight(linear.bias, {linear.outputs});
  };
  read(mlp.gate, weights.gate, weights.gateBias);
  read(mlp.up, weights.up, weights.upBias);
  read(mlp.down, weights.down, weights.downBias);
  return buildGatedMLP(scope.builder, rows, weights, mlp.gating);
}
