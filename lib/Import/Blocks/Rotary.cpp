//===- Rotary.cpp - Rotary position embedding -----------------------------===//
//
// Cosine and sine once per forward pass, and the rotation of the first entries
// of each head of queries and keys.
//
//===----------------------------------------------------------------------===//

#include "Blocks.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe;

RotaryTables mlir::moe::buildRotaryTables(FunctionScope &scope, Value positions,
                                          const Rotary &rotary) {
  FunctionScope::Block block(scope, "rotary");
  ImplicitLocOpBuilder &builder = scope.builder;
  int64_t half = rotary.inverseFrequencies.size();
  auto type = RankedTensorType::get({half}, builder.getF32Type());
  Value frequencies = arith::ConstantOp::create(
      builder,
      DenseElementsAttr::get(type, ArrayRef(rotary.inverseFrequencies)));
  Value scaling;
  if (rotary.scaling != 1.0f)
    scaling = arith::ConstantOp::create(
        builder, builder.getF32FloatAttr(rotary.scaling));

  AffineMap full = builder.getMultiDimIdentityMap(2);
  SmallVector<OpFoldResult> sizes{
      tensor::getMixedSize(builder, builder.getLoc(), positions, 0),
      builder.getIndexAttr(half)};
  auto build = [&](auto function) {
    Value empty = tensor::EmptyOp::create(builder, sizes, builder.getF32Type());
    return buildGeneric(
        builder, {positions, frequencies}, empty,
        {full.dropResult(1), full.dropResult(0), full},
        /*reductions=*/0,
        [&](OpBuilder &b, Location loc, ValueRange x) -> Value {
          Value position =
              arith::SIToFPOp::create(b, loc, b.getF32Type(), x[0]);
          Value angle = arith::MulFOp::create(b, loc, position, x[1]);
          Value result = function(b, loc, angle);
          return scaling ? arith::MulFOp::create(b, loc, result, scaling)
                               .getResult()
                         : result;
        });
  };
  Value cosine = build([](OpBuilder &b, Location loc, Value x) -> Value {
    return math::CosOp::create(b, loc, x);
  });
  Value sine = build([](OpBuilder &b, Location loc, Value x) -> Value {
    return math::SinOp::create(b, loc, x);
  });
  return {cosine, sine};
}

namespace {
/// Every `stride`-th entry of a head, `count` of them from `begin`.
struct Part {
  int64_t begin, count, stride;
};
} // namespace

Value mlir::moe::buildRotary(FunctionScope &scope, Value x,
                             const RotaryTables &tables, RotaryLayout layout) {
  FunctionScope::Block block(scope, "rotary");
  ImplicitLocOpBuilder &builder = scope.builder;
  int64_t size = cast<RankedTensorType>(x.getType()).getDimSize(2),
          half = cast<RankedTensorType>(tables.cosine.getType()).getDimSize(1);
  SmallVector<OpFoldResult> sizes =
      tensor::getMixedSizes(builder, builder.getLoc(), x);
  Value result = tensor::EmptyOp::create(builder, sizes, builder.getF32Type());

  SmallVector<OpFoldResult> offsets(3, builder.getIndexAttr(0)),
      strides(3, builder.getIndexAttr(1));
  auto place = [&](const Part &part) {
    offsets[2] = builder.getIndexAttr(part.begin);
    sizes[2] = builder.getIndexAttr(part.count);
    strides[2] = builder.getIndexAttr(part.stride);
  };
  auto take = [&](Value tensor, const Part &part) -> Value {
    place(part);
    return tensor::ExtractSliceOp::create(builder, tensor, offsets, sizes,
                                          strides);
  };
  auto put = [&](Value value, const Part &part) {
    place(part);
    result = tensor::InsertSliceOp::create(builder, value, result, offsets,
                                           sizes, strides);
  };

  bool pairs = layout == RotaryLayout::pairs;
  Part even{0, half, pairs ? 2 : 1}, odd{pairs ? 1 : half, half, even.stride};
  Value first = take(x, even), second = take(x, odd);
  AffineMap full = builder.getMultiDimIdentityMap(3),
            table = full.dropResult(1);
  auto rotate = [&](Value along, Value across, const Part &part, bool negated) {
    // along * cosine -/+ across * sine
    Value rotated =
        buildGeneric(builder, {along, across, tables.cosine, tables.sine},
                     take(result, part), {full, full, table, table, full},
                     /*reductions=*/0,
                     [&](OpBuilder &b, Location loc, ValueRange v) -> Value {
                       Value kept = arith::MulFOp::create(b, loc, v[0], v[2]),
                             turned = arith::MulFOp::create(b, loc, v[1], v[3]);
                       if (negated)
                         return arith::SubFOp::create(b, loc, kept, turned);
                       return arith::AddFOp::create(b, loc, kept, turned);
                     });
    put(rotated, part);
  };
  rotate(first, second, even, /*negated=*/true);
  rotate(second, first, odd, /*negated=*/false);
  if (2 * half < size) {
    Part rest{2 * half, size - 2 * half, 1};
    put(take(x, rest), rest);
  }
  return result;
}
