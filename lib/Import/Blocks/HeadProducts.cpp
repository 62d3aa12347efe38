//===- HeadProducts.cpp - A product with weights of its own for each head -===//
//
// One grouped product whose groups are the heads: rows are read head by head
// where they stand, and the results are put back in the order of tokens.
//
//===----------------------------------------------------------------------===//

#include "Blocks.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe;

namespace {

/// A tensor of indices, each from its place.
Value buildIndices(
    ImplicitLocOpBuilder &builder, ArrayRef<OpFoldResult> sizes,
    llvm::function_ref<Value(OpBuilder &, Location, ValueRange)> function) {
  Value empty = tensor::EmptyOp::create(builder, sizes, builder.getIndexType());
  return buildGeneric(builder, ValueRange(), empty,
                      builder.getMultiDimIdentityMap(sizes.size()),
                      /*reductions=*/0,
                      [&](OpBuilder &b, Location loc, ValueRange) {
                        SmallVector<Value> place;
                        for (size_t dim = 0; dim < sizes.size(); ++dim)
                          place.push_back(linalg::IndexOp::create(b, loc, dim));
                        return function(b, loc, place);
                      });
}

} // namespace

Value mlir::moe::buildHeadProducts(FunctionScope &scope, Value x,
                                   const Weight &bank, int64_t outputs) {
  ImplicitLocOpBuilder &builder = scope.builder;
  auto type = cast<RankedTensorType>(x.getType());
  int64_t heads = type.getDimSize(1), inputs = type.getDimSize(2);
  Value weights = scope.getBank(bank, {heads, outputs, inputs});
  Value tokens = tensor::DimOp::create(builder, x, 0);
  Value headCount = arith::ConstantIndexOp::create(builder, heads);
  Value rowCount = arith::MulIOp::create(builder, tokens, headCount);
  OpFoldResult tokenSize = tokens, headSize = builder.getIndexAttr(heads);

  auto matrix = [&](int64_t columns) {
    return RankedTensorType::get({ShapedType::kDynamic, columns},
                                 builder.getF32Type());
  };
  Value rows = tensor::CollapseShapeOp::create(
      builder, matrix(inputs), x, ArrayRef<ReassociationIndices>{{0, 1}, {2}});
  Value order = buildIndices(
      builder, {headSize, tokenSize},
      [&](OpBuilder &b, Location loc, ValueRange place) -> Value {
        return arith::AddIOp::create(
            b, loc, arith::MulIOp::create(b, loc, place[1], headCount),
            place[0]);
      });
  order = tensor::CollapseShapeOp::create(
      builder,
      RankedTensorType::get({ShapedType::kDynamic}, builder.getIndexType()),
      order, ArrayRef<ReassociationIndices>{{0, 1}});
  Value offsets =
      buildIndices(builder, {builder.getIndexAttr(heads + 1)},
                   [&](OpBuilder &b, Location loc, ValueRange place) -> Value {
                     return arith::MulIOp::create(b, loc, place[0], tokens);
                   });

  Value empty = tensor::EmptyOp::create(
      builder, ArrayRef<OpFoldResult>{rowCount, builder.getIndexAttr(outputs)},
      builder.getF32Type());
  Value product = GroupedMatmulOp::create(builder, empty.getType(), rows, order,
                                          weights, offsets, empty)
                      .getResult();

  auto headFirst = RankedTensorType::get({heads, ShapedType::kDynamic, outputs},
                                         builder.getF32Type());
  Value byHead = tensor::ExpandShapeOp::create(
      builder, builder.getLoc(), headFirst, product,
      ArrayRef<ReassociationIndices>{{0, 1}, {2}},
      ArrayRef<OpFoldResult>{headSize, tokenSize,
                             builder.getIndexAttr(outputs)});
  Value result = tensor::EmptyOp::create(
      builder,
      ArrayRef<OpFoldResult>{tokenSize, headSize,
                             builder.getIndexAttr(outputs)},
      builder.getF32Type());
  AffineMap full = builder.getMultiDimIdentityMap(3);
  AffineMap swapped = AffineMap::getPermutationMap(ArrayRef<unsigned>{1, 0, 2},
                                                   builder.getContext());
  return buildGeneric(
      builder, byHead, result, {swapped, full}, /*reductions=*/0,
      [](OpBuilder &, Location, ValueRange v) -> Value { return v[0]; });
}
