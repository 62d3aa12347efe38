//===- Builders.cpp - Small tensor programs -------------------------------===//
//
// Elementwise maps, row reductions and softmax as linalg.generic.
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/MoE/IR/Builders.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StructuredOpsUtils.h"

using namespace mlir;

static Value buildGeneric(OpBuilder &builder, Location loc, ValueRange inputs, Value init, ArrayRef<AffineMap> maps,
                          ArrayRef<utils::IteratorType> iterators, moe::ScalarBody body) {
  return linalg::GenericOp::create(builder, loc, TypeRange{init.getType()}, inputs, ValueRange{init}, maps, iterators,
                                   [&](OpBuilder &b, Location loc, ValueRange arguments) {
                                     linalg::YieldOp::create(b, loc, body(b, loc, arguments));
                                   })
      .getResult(0);
}

Value moe::buildEmptyLike(OpBuilder &builder, Location loc, Value like, Type elementType) {
  auto type = cast<RankedTensorType>(like.getType());
  return tensor::EmptyOp::create(builder, loc, tensor::getMixedSizes(builder, loc, like),
                                 elementType ? elementType : type.getElementType());
}

Value moe::buildFilledLike(OpBuilder &builder, Location loc, Value like, TypedAttr value) {
  Value scalar = arith::ConstantOp::create(builder, loc, value);
  Value empty = buildEmptyLike(builder, loc, like, value.getType());
  return linalg::FillOp::create(builder, loc, scalar, empty).getResult(0);
}

Value moe::buildElementwise(OpBuilder &builder, Location loc, ValueRange inputs, ScalarBody body) {
  auto type = cast<RankedTensorType>(inputs[0].getType());
  SmallVector<AffineMap> maps(inputs.size() + 1, builder.getMultiDimIdentityMap(type.getRank()));
  SmallVector<utils::IteratorType> iterators(type.getRank(), utils::IteratorType::parallel);
  return buildGeneric(builder, loc, inputs, buildEmptyLike(builder, loc, inputs[0]), maps, iterators, body);
}

Value moe::buildRowReduction(OpBuilder &builder, Location loc, Value input, TypedAttr init, ScalarBody body) {
  Value scalar = arith::ConstantOp::create(builder, loc, init);
  Value empty = tensor::EmptyOp::create(builder, loc, ArrayRef(tensor::getMixedSizes(builder, loc, input)).take_front(),
                                        init.getType());
  Value filled = linalg::FillOp::create(builder, loc, scalar, empty).getResult(0);
  AffineMap full = builder.getMultiDimIdentityMap(2);
  return buildGeneric(builder, loc, input, filled, {full, full.dropResult(1)},
                      {utils::IteratorType::parallel, utils::IteratorType::reduction}, body);
}

Value moe::buildWithRow(OpBuilder &builder, Location loc, Value input, Value row, ScalarBody body) {
  AffineMap full = builder.getMultiDimIdentityMap(2);
  SmallVector<utils::IteratorType> iterators(2, utils::IteratorType::parallel);
  return buildGeneric(builder, loc, {input, row}, buildEmptyLike(builder, loc, input),
                      {full, full.dropResult(1), full}, iterators, body);
}

Value moe::buildRowSoftmax(OpBuilder &builder, Location loc, Value input) {
  auto lowest = builder.getF32FloatAttr(-std::numeric_limits<float>::infinity());
  Value max = buildRowReduction(builder, loc, input, lowest, [](OpBuilder &b, Location loc, ValueRange x) -> Value {
    return arith::MaximumFOp::create(b, loc, x[0], x[1]);
  });
  Value exp = buildWithRow(builder, loc, input, max, [](OpBuilder &b, Location loc, ValueRange x) -> Value {
    return math::ExpOp::create(b, loc, arith::SubFOp::create(b, loc, x[0], x[1]));
  });
  Value sum = buildRowReduction(builder, loc, exp, builder.getF32FloatAttr(0.0f),
                                [](OpBuilder &b, Location loc, ValueRange x) -> Value {
                                  return arith::AddFOp::create(b, loc, x[0], x[1]);
                                });
  return buildWithRow(builder, loc, exp, sum, [](OpBuilder &b, Location loc, ValueRange x) -> Value {
    return arith::DivFOp::create(b, loc, x[0], x[1]);
  });
}
