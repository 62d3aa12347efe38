//===- Norm.cpp - Root-mean-square norm -----------------------------------===//
//
// Over the last dimension, of rows or of heads.
//
//===----------------------------------------------------------------------===//

#include "Blocks.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe;

Value mlir::moe::buildRMSNorm(FunctionScope &scope, Value x,
                              const RMSNorm &norm) {
  ImplicitLocOpBuilder &builder = scope.builder;
  unsigned rank = cast<RankedTensorType>(x.getType()).getRank();
  AffineMap full = builder.getMultiDimIdentityMap(rank),
            row = full.dropResult(rank - 1);

  SmallVector<OpFoldResult> sizes =
      tensor::getMixedSizes(builder, builder.getLoc(), x);
  Value zero =
      arith::ConstantOp::create(builder, builder.getF32FloatAttr(0.0f));
  Value rowEmpty = tensor::EmptyOp::create(builder, ArrayRef(sizes).drop_back(),
                                           builder.getF32Type());
  Value rowZero = linalg::FillOp::create(builder, zero, rowEmpty).getResult(0);
  Value squares =
      buildGeneric(builder, x, rowZero, {full, row}, /*reductions=*/1,
                   [](OpBuilder &b, Location loc, ValueRange v) -> Value {
                     Value square = arith::MulFOp::create(b, loc, v[0], v[0]);
                     return arith::AddFOp::create(b, loc, square, v[1]);
                   });

  // One number a row, so that the division and the root are not repeated for
  // each element.
  Value count = arith::ConstantOp::create(
      builder, builder.getF32FloatAttr(static_cast<float>(norm.size)));
  Value epsilon = arith::ConstantOp::create(
      builder, builder.getF32FloatAttr(static_cast<float>(norm.epsilon)));
  Value one = arith::ConstantOp::create(builder, builder.getF32FloatAttr(1.0f));
  AffineMap rows = builder.getMultiDimIdentityMap(rank - 1);
  Value scale = buildGeneric(
      builder, squares, rowEmpty, {rows, rows}, /*reductions=*/0,
      [&](OpBuilder &b, Location loc, ValueRange v) -> Value {
        Value mean = arith::DivFOp::create(b, loc, v[0], count);
        Value shifted = arith::AddFOp::create(b, loc, mean, epsilon);
        return arith::DivFOp::create(b, loc, one,
                                     math::SqrtOp::create(b, loc, shifted));
      });
  Value empty = tensor::EmptyOp::create(builder, sizes, builder.getF32Type());
  SmallVector<Value> inputs{x, scale};
  SmallVector<AffineMap> maps{full, row, full};
  if (!norm.weight.empty()) {
    inputs.push_back(scope.getWeight(norm.weight, {norm.size}));
    maps.insert(maps.end() - 1,
                AffineMap::get(rank, 0, builder.getAffineDimExpr(rank - 1)));
  }
  return buildGeneric(
      builder, inputs, empty, maps, /*reductions=*/0,
      [&](OpBuilder &b, Location loc, ValueRange v) -> Value {
        Value scaled = arith::MulFOp::create(b, loc, v[0], v[1]);
        return norm.weight.empty()
                   ? scaled
                   : arith::MulFOp::create(b, loc, scaled,
                                           buildWidened(b, loc, v[2]));
      });
}
