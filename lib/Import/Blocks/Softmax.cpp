//===- Softmax.cpp - Softmax of scores, in place --------------------------===//
//
// Over the last dimension, with sinks: scores that have no value.
//
//===----------------------------------------------------------------------===//

#include "Blocks.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

#include <limits>

using namespace mlir;
using namespace mlir::moe;

static Value buildAdd(OpBuilder &b, Location loc, Value x, Value y) {
  return arith::AddFOp::create(b, loc, x, y);
}
static Value buildMaximum(OpBuilder &b, Location loc, Value x, Value y) {
  return arith::MaximumFOp::create(b, loc, x, y);
}
static Value buildQuotient(OpBuilder &b, Location loc, Value x, Value y) {
  return arith::DivFOp::create(b, loc, x, y);
}
static Value buildShiftedExp(OpBuilder &b, Location loc, Value x, Value max) {
  return math::ExpOp::create(b, loc, arith::SubFOp::create(b, loc, x, max));
}

using Binary = llvm::function_ref<Value(OpBuilder &, Location, Value, Value)>;

/// One number for each row: the elements combined with `init`.
static Value reduceRows(ImplicitLocOpBuilder &b, Value x, float init,
                        Binary combine) {
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(b, b.getLoc(), x);
  sizes.pop_back();
  Value empty = tensor::EmptyOp::create(b, sizes, b.getF32Type());
  Value start = arith::ConstantOp::create(b, b.getF32FloatAttr(init));
  Value filled = linalg::FillOp::create(b, start, empty).getResult(0);
  AffineMap full = b.getMultiDimIdentityMap(sizes.size() + 1);
  return buildGeneric(b, x, filled, {full, full.dropResult(sizes.size())},
                      /*reductions=*/1,
                      [&](OpBuilder &b, Location loc, ValueRange v) {
                        return combine(b, loc, v[0], v[1]);
                      });
}

/// Each element of `x` combined with the number of its row, in its tensor.
static Value updateRows(ImplicitLocOpBuilder &b, Value x, Value row,
                        Binary combine) {
  unsigned rank = cast<RankedTensorType>(x.getType()).getRank();
  AffineMap full = b.getMultiDimIdentityMap(rank);
  return buildGeneric(b, row, x, {full.dropResult(rank - 1), full},
                      /*reductions=*/0,
                      [&](OpBuilder &b, Location loc, ValueRange v) {
                        return combine(b, loc, v[1], v[0]);
                      });
}

Value mlir::moe::buildSoftmaxInPlace(ImplicitLocOpBuilder &b, Value scores,
                                     Value sinks) {
  Value max = reduceRows(b, scores, -std::numeric_limits<float>::infinity(),
                         buildMaximum);
  AffineMap rows =
      b.getMultiDimIdentityMap(cast<RankedTensorType>(max.getType()).getRank());
  AffineMap last =
      rows.getMinorIdentityMap(rows.getNumDims(), 1, b.getContext());
  if (sinks)
    max = buildGeneric(b, sinks, max, {last, rows}, /*reductions=*/0,
                       [&](OpBuilder &b, Location loc, ValueRange v) {
                         return buildMaximum(b, loc, v[1], v[0]);
                       });
  scores = updateRows(b, scores, max, buildShiftedExp);
  Value sum = reduceRows(b, scores, 0.0f, buildAdd);
  if (sinks)
    sum = buildGeneric(
        b, {sinks, max}, sum, {last, rows, rows},
        /*reductions=*/0, [&](OpBuilder &b, Location loc, ValueRange v) {
          return buildAdd(b, loc, v[2], buildShiftedExp(b, loc, v[0], v[1]));
        });
  return updateRows(b, scores, sum, buildQuotient);
}
