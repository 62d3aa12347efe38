//===- Linear.cpp - Products with weights ---------------------------------===//
//
// Linear layers with and without bias, the residual addition, and the helper
// that blocks build generics with.
//
//===----------------------------------------------------------------------===//

#include "Blocks.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe;

StringRef mlir::moe::getPartName(const Weight &weight, StringRef fallback) {
  StringRef name = weight.name;
  name.consume_back(".weight");
  name = name.substr(name.rfind('.') + 1);
  return name.empty() ? fallback : name;
}

Value mlir::moe::buildGeneric(ImplicitLocOpBuilder &builder, ValueRange inputs,
                              Value init, ArrayRef<AffineMap> maps,
                              unsigned reductions, ScalarBody body) {
  unsigned loops = maps.front().getNumDims();
  SmallVector<utils::IteratorType> iterators(loops - reductions,
                                             utils::IteratorType::parallel);
  iterators.append(reductions, utils::IteratorType::reduction);
  return linalg::GenericOp::create(
             builder, TypeRange{init.getType()}, inputs, ValueRange{init}, maps,
             iterators,
             [&](OpBuilder &b, Location loc, ValueRange arguments) {
               linalg::YieldOp::create(b, loc, body(b, loc, arguments));
             })
      .getResult(0);
}

Value mlir::moe::buildWidened(OpBuilder &builder, Location loc, Value value) {
  if (value.getType().isF32())
    return value;
  return arith::ExtFOp::create(builder, loc, builder.getF32Type(), value);
}

Value mlir::moe::buildWidenedTensor(ImplicitLocOpBuilder &builder,
                                    Value weight) {
  auto type = cast<RankedTensorType>(weight.getType());
  if (type.getElementType().isF32())
    return weight;
  Value empty =
      tensor::EmptyOp::create(builder, type.getShape(), builder.getF32Type());
  AffineMap full = builder.getMultiDimIdentityMap(type.getRank());
  return buildGeneric(builder, weight, empty, {full, full}, /*reductions=*/0,
                      [](OpBuilder &b, Location loc, ValueRange x) {
                        return buildWidened(b, loc, x[0]);
                      });
}

Value mlir::moe::buildProduct(ImplicitLocOpBuilder &builder, Value rows,
                              Value weight) {
  OpFoldResult outputs = builder.getIndexAttr(
      cast<RankedTensorType>(weight.getType()).getDimSize(0));
  SmallVector<OpFoldResult> sizes{
      tensor::getMixedSize(builder, builder.getLoc(), rows, 0), outputs};
  Value zero =
      arith::ConstantOp::create(builder, builder.getF32FloatAttr(0.0f));
  Value empty = tensor::EmptyOp::create(builder, sizes, builder.getF32Type());
  Value init = linalg::FillOp::create(builder, zero, empty).getResult(0);
  return linalg::MatmulTransposeBOp::create(builder, builder.getLoc(),
                                            ValueRange{rows, weight},
                                            ValueRange{init})
      .getResult(0);
}

Value mlir::moe::buildLinear(FunctionScope &scope, Value rows,
                             const Linear &linear) {
  FunctionScope::Block block(scope, getPartName(linear.weight, "linear"));
  ImplicitLocOpBuilder &builder = scope.builder;
  Value product = buildProduct(
      builder, rows,
      scope.getWeight(linear.weight, {linear.outputs, linear.inputs}));
  if (linear.bias.empty())
    return product;
  return buildBiasAdd(builder, product,
                      scope.getWeight(linear.bias, {linear.outputs}));
}

Value mlir::moe::buildBiasAdd(ImplicitLocOpBuilder &builder, Value rows,
                              Value bias) {
  AffineMap full = builder.getMultiDimIdentityMap(2);
  return buildGeneric(
      builder, bias, rows, {full.dropResult(0), full}, /*reductions=*/0,
      [](OpBuilder &b, Location loc, ValueRange x) -> Value {
        return arith::AddFOp::create(b, loc, x[1], buildWidened(b, loc, x[0]));
      });
}

Value mlir::moe::buildResidualAdd(ImplicitLocOpBuilder &builder, Value residual,
                                  Value rows, double scale) {
  auto name = StringAttr::get(builder.getContext(), "residual");
  ImplicitLocOpBuilder named(NameLoc::get(name, builder.getLoc()), builder);
  AffineMap full = builder.getMultiDimIdentityMap(2);
  return buildGeneric(
      named, rows, residual, {full, full}, /*reductions=*/0,
      [scale](OpBuilder &b, Location loc, ValueRange x) -> Value {
        Value added = x[0];
        if (scale != 1)
          added = arith::MulFOp::create(b, loc, added, buildF32(b, loc, scale));
        return arith::AddFOp::create(b, loc, x[1], added);
      });
}

Value mlir::moe::buildF32(OpBuilder &builder, Location loc, double value) {
  return arith::ConstantOp::create(
      builder, loc, builder.getF32FloatAttr(static_cast<float>(value)));
}
