//===- Norm.cpp - Root-mean-square and layer norm -------------------------===//
//
// Over the last dimension, of rows or of heads. A layer norm is the same of
// rows whose mean was taken away.
//
//===----------------------------------------------------------------------===//

#include "Blocks.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe;

namespace {

/// Indexing maps of a tensor, of one number a row of it, and of the last
/// dimension.
struct RowMaps {
  explicit RowMaps(Value x) {
    Builder builder(x.getContext());
    unsigned rank = cast<RankedTensorType>(x.getType()).getRank();
    full = builder.getMultiDimIdentityMap(rank);
    row = full.dropResult(rank - 1);
    last = AffineMap::get(rank, 0, builder.getAffineDimExpr(rank - 1));
  }
  AffineMap full, row, last;
};

/// The sum of term(x) over each row.
Value buildRowSum(ImplicitLocOpBuilder &builder, Value x,
                  function_ref<Value(OpBuilder &, Location, Value)> term) {
  RowMaps maps(x);
  SmallVector<OpFoldResult> sizes =
      tensor::getMixedSizes(builder, builder.getLoc(), x);
  Value empty = tensor::EmptyOp::create(builder, ArrayRef(sizes).drop_back(),
                                        builder.getF32Type());
  Value zero = buildF32(builder, builder.getLoc(), 0);
  Value zeros = linalg::FillOp::create(builder, zero, empty).getResult(0);
  return buildGeneric(
      builder, x, zeros, {maps.full, maps.row}, /*reductions=*/1,
      [&](OpBuilder &b, Location loc, ValueRange v) -> Value {
        return arith::AddFOp::create(b, loc, term(b, loc, v[0]), v[1]);
      });
}

/// x minus the mean of its row.
Value buildCentered(ImplicitLocOpBuilder &builder, Value x, double size) {
  Value sum =
      buildRowSum(builder, x, [](OpBuilder &, Location, Value v) { return v; });
  Value mean = buildElementwise(
      builder, builder.getLoc(), sum,
      [size](OpBuilder &b, Location loc, ValueRange v) -> Value {
        return arith::DivFOp::create(b, loc, v[0], buildF32(b, loc, size));
      });
  RowMaps maps(x);
  return buildGeneric(builder, {x, mean},
                      buildEmptyLike(builder, builder.getLoc(), x),
                      {maps.full, maps.row, maps.full}, /*reductions=*/0,
                      [](OpBuilder &b, Location loc, ValueRange v) -> Value {
                        return arith::SubFOp::create(b, loc, v[0], v[1]);
                      });
}

/// 1 / sqrt(mean(x^2) + epsilon): one number a row, so that the division and
/// the root are not repeated for each element.
Value buildRowScale(ImplicitLocOpBuilder &builder, Value x, double size,
                    double epsilon) {
  Value squares =
      buildRowSum(builder, x, [](OpBuilder &b, Location loc, Value v) -> Value {
        return arith::MulFOp::create(b, loc, v, v);
      });
  return buildElementwise(
      builder, builder.getLoc(), squares,
      [=](OpBuilder &b, Location loc, ValueRange v) -> Value {
        Value mean =
            arith::DivFOp::create(b, loc, v[0], buildF32(b, loc, size));
        Value shifted =
            arith::AddFOp::create(b, loc, mean, buildF32(b, loc, epsilon));
        return arith::DivFOp::create(b, loc, buildF32(b, loc, 1),
                                     math::SqrtOp::create(b, loc, shifted));
      });
}

} // namespace

Value mlir::moe::buildRMSNorm(FunctionScope &scope, Value x,
                              const RMSNorm &norm) {
  FunctionScope::Block block(scope, getPartName(norm.weight, "norm"));
  ImplicitLocOpBuilder &builder = scope.builder;
  double size = norm.size;
  if (norm.centered)
    x = buildCentered(builder, x, size);
  RowMaps maps(x);
  SmallVector<Value> inputs{x, buildRowScale(builder, x, size, norm.epsilon)};
  SmallVector<AffineMap> inputMaps{maps.full, maps.row};
  for (const std::string &name : {norm.weight, norm.bias}) {
    if (name.empty())
      continue;
    inputs.push_back(scope.getWeight(name, {norm.size}));
    inputMaps.push_back(maps.last);
  }
  inputMaps.push_back(maps.full);
  return buildGeneric(
      builder, inputs, buildEmptyLike(builder, builder.getLoc(), x), inputMaps,
      /*reductions=*/0, [&](OpBuilder &b, Location loc, ValueRange v) -> Value {
        Value result = arith::MulFOp::create(b, loc, v[0], v[1]);
        if (!norm.weight.empty())
          result =
              arith::MulFOp::create(b, loc, result, buildWidened(b, loc, v[2]));
        if (!norm.bias.empty()) // the last input, before the result
          result = arith::AddFOp::create(b, loc, result,
                                         buildWidened(b, loc, v[v.size() - 2]));
        return result;
      });
}
