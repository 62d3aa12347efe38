//===- Temperature.cpp - Queries that grow with their position ------------===//
//
// One factor a token, of all its heads.
//
//===----------------------------------------------------------------------===//

#include "Blocks.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe;

Value mlir::moe::buildTemperature(FunctionScope &scope, Value queries,
                                  Value positions,
                                  const Temperature &temperature) {
  FunctionScope::Block block(scope, "temperature");
  ImplicitLocOpBuilder &builder = scope.builder;
  auto constant = [&](double value) -> Value {
    return arith::ConstantOp::create(
        builder, builder.getF32FloatAttr(static_cast<float>(value)));
  };
  Value one = constant(1), floorScale = constant(temperature.floorScale),
        scale = constant(temperature.scale);
  Value empty = tensor::EmptyOp::create(
      builder, tensor::getMixedSizes(builder, builder.getLoc(), positions),
      builder.getF32Type());
  AffineMap row = builder.getMultiDimIdentityMap(1);
  Value factors = buildGeneric(
      builder, positions, empty, {row, row}, /*reductions=*/0,
      [&](OpBuilder &b, Location loc, ValueRange x) -> Value {
        Value position = arith::SIToFPOp::create(b, loc, b.getF32Type(), x[0]);
        Value count = arith::AddFOp::create(b, loc, position, one);
        Value blocks = math::FloorOp::create(
            b, loc, arith::DivFOp::create(b, loc, count, floorScale));
        Value growth = math::Log1pOp::create(b, loc, blocks);
        return arith::AddFOp::create(
            b, loc, arith::MulFOp::create(b, loc, growth, scale), one);
      });
  Value result = tensor::EmptyOp::create(
      builder, tensor::getMixedSizes(builder, builder.getLoc(), queries),
      builder.getF32Type());
  AffineMap full = builder.getMultiDimIdentityMap(3);
  return buildGeneric(builder, {queries, factors}, result,
                      {full, full.dropResults({1, 2}), full}, /*reductions=*/0,
                      [](OpBuilder &b, Location loc, ValueRange x) -> Value {
                        return arith::MulFOp::create(b, loc, x[0], x[1]);
                      });
}
