//===- Attention.cpp - Grouped-query attention over a cache ---------------===//
//
// One parallel iteration per token and key head: the slice of the cache that
// the token sees, scores, softmax, and the weighted sum of values in order of
// position. Keys outside the window are not multiplied by zero, they are not
// read, or chosen away where they share a block of 16 with keys that count.
//
//===----------------------------------------------------------------------===//

#include "Blocks.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

#include <cmath>
#include <limits>

using namespace mlir;
using namespace mlir::moe;

namespace {

/// Reductions over positions run in this many lanes, lane = position mod 16
/// (docs/Spec.md); slices begin at a multiple.
constexpr int64_t kLanes = 16;

/// [tokens, heads * size] seen as [tokens, heads, size].
Value splitHeads(ImplicitLocOpBuilder &builder, Value rows, int64_t heads,
                 int64_t size) {
  auto type = RankedTensorType::get({ShapedType::kDynamic, heads, size},
                                    builder.getF32Type());
  return tensor::ExpandShapeOp::create(
      builder, type, rows, ArrayRef<ReassociationIndices>{{0}, {1, 2}});
}

Value clip(ImplicitLocOpBuilder &builder, Value rows, double bound) {
  Value high = arith::ConstantOp::create(
      builder, builder.getF32FloatAttr(static_cast<float>(bound)));
  Value low = arith::ConstantOp::create(
      builder, builder.getF32FloatAttr(static_cast<float>(-bound)));
  return buildElementwise(
      builder, builder.getLoc(), rows,
      [&](OpBuilder &b, Location loc, ValueRange x) -> Value {
        return arith::MinimumFOp::create(
            b, loc, arith::MaximumFOp::create(b, loc, x[0], low), high);
      });
}

/// The range of the cache that one token reads. Positions from `first` up to
/// the token's own count; `begin` is `first` rounded down to a block of lanes.
struct Range {
  Value sequence, begin, first, end;
};

Range buildRange(ImplicitLocOpBuilder &b, Value token,
                 const AttentionState &state, std::optional<int64_t> window) {
  auto toIndex = [&](Value list) -> Value {
    Value value = tensor::ExtractOp::create(b, list, token);
    return arith::IndexCastOp::create(b, b.getIndexType(), value);
  };
  Value zero = arith::ConstantIndexOp::create(b, 0),
        one = arith::ConstantIndexOp::create(b, 1);
  Range range;
  range.sequence = toIndex(state.sequences);
  range.end = arith::AddIOp::create(b, toIndex(state.positions), one);
  range.first = range.begin = zero;
  if (!window)
    return range;
  Value size = arith::ConstantIndexOp::create(b, *window),
        lanes = arith::ConstantIndexOp::create(b, kLanes);
  range.first = arith::MaxSIOp::create(
      b, arith::SubIOp::create(b, range.end, size), zero);
  range.begin = arith::MulIOp::create(
      b, arith::DivUIOp::create(b, range.first, lanes), lanes);
  return range;
}

/// Rows [from, end) of one head of one sequence: [end - from, size].
Value sliceCache(ImplicitLocOpBuilder &b, Value cache, const Range &range,
                 Value from, Value head) {
  int64_t size = cast<RankedTensorType>(cache.getType()).getDimSize(3);
  OpFoldResult one = b.getIndexAttr(1),
               count = arith::SubIOp::create(b, range.end, from).getResult();
  return tensor::ExtractSliceOp::create(
      b, RankedTensorType::get({ShapedType::kDynamic, size}, b.getF32Type()),
      cache,
      SmallVector<OpFoldResult>{range.sequence, from, head, b.getIndexAttr(0)},
      SmallVector<OpFoldResult>{one, count, one, b.getIndexAttr(size)},
      SmallVector<OpFoldResult>(4, one));
}

/// result[m, n] = sum over k of left[..] * right[..], maps over (m, n, k).
Value buildContraction(ImplicitLocOpBuilder &b, Value left, Value right,
                       Value init, AffineMap leftMap, AffineMap rightMap) {
  AffineMap result = b.getMultiDimIdentityMap(3).dropResult(2);
  return buildGeneric(
      b, {left, right}, init, {leftMap, rightMap, result}, /*reductions=*/1,
      [](OpBuilder &b, Location loc, ValueRange x) -> Value {
        return arith::AddFOp::create(b, loc, x[2],
                                     arith::MulFOp::create(b, loc, x[0], x[1]));
      });
}

/// Scales the scores, in their tensor; what lies before the window becomes
/// minus infinity, whatever was computed from it.
Value buildScale(ImplicitLocOpBuilder &b, Value scores, const Range &range,
                 double scale, bool masked) {
  Value factor = arith::ConstantOp::create(
      b, b.getF32FloatAttr(static_cast<float>(scale)));
  Value lowest = arith::ConstantOp::create(
      b, b.getF32FloatAttr(-std::numeric_limits<float>::infinity()));
  Value skipped =
      masked ? arith::SubIOp::create(b, range.first, range.begin).getResult()
             : Value();
  return buildGeneric(
      b, ValueRange(), scores, b.getMultiDimIdentityMap(2), /*reductions=*/0,
      [&](OpBuilder &b, Location loc, ValueRange x) -> Value {
        Value scaled = arith::MulFOp::create(b, loc, x[0], factor);
        if (!masked)
          return scaled;
        Value position = linalg::IndexOp::create(b, loc, 1);
        Value counts = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::uge,
                                             position, skipped);
        return arith::SelectOp::create(b, loc, counts, scaled, lowest);
      });
}

/// Softmax of each row, in the tensor of the scores: a token's scores are its
/// only buffer that grows with the context.
Value buildSoftmaxInPlace(ImplicitLocOpBuilder &b, Value scores) {
  auto reduce = [&](float init, auto combine) {
    return buildRowReduction(b, b.getLoc(), scores, b.getF32FloatAttr(init),
                             [&](OpBuilder &b, Location loc, ValueRange x) {
                               return combine(b, loc, x[0], x[1]);
                             });
  };
  auto update = [&](Value row, auto function) {
    AffineMap full = b.getMultiDimIdentityMap(2);
    scores = buildGeneric(b, row, scores, {full.dropResult(1), full},
                          /*reductions=*/0,
                          [&](OpBuilder &b, Location loc, ValueRange x) {
                            return function(b, loc, x[1], x[0]);
                          });
  };
  Value max = reduce(-std::numeric_limits<float>::infinity(),
                     [](OpBuilder &b, Location loc, Value x, Value y) -> Value {
                       return arith::MaximumFOp::create(b, loc, x, y);
                     });
  update(max, [](OpBuilder &b, Location loc, Value x, Value max) -> Value {
    return math::ExpOp::create(b, loc, arith::SubFOp::create(b, loc, x, max));
  });
  Value sum =
      reduce(0.0f, [](OpBuilder &b, Location loc, Value x, Value y) -> Value {
        return arith::AddFOp::create(b, loc, x, y);
      });
  update(sum, [](OpBuilder &b, Location loc, Value x, Value sum) -> Value {
    return arith::DivFOp::create(b, loc, x, sum);
  });
  return scores;
}

/// One token and one key head, [queries a head, size], written to `output`.
Value buildHead(ImplicitLocOpBuilder &b, Value queries, const Range &range,
                const AttentionState &state, Value head, Value output,
                const Attention &attention) {
  int64_t group = attention.heads / attention.keyValueHeads,
          size = attention.headSize;
  auto map = [&](unsigned first, unsigned second) {
    return AffineMap::get(
        3, 0, {b.getAffineDimExpr(first), b.getAffineDimExpr(second)},
        b.getContext());
  };
  Value keys = sliceCache(b, state.keys, range, range.begin, head);
  Value zero = arith::ConstantOp::create(b, b.getF32FloatAttr(0.0f));
  SmallVector<OpFoldResult> sizes{b.getIndexAttr(group),
                                  tensor::getMixedSize(b, b.getLoc(), keys, 0)};
  Value empty = tensor::EmptyOp::create(b, sizes, b.getF32Type());
  Value scores = linalg::FillOp::create(b, zero, empty).getResult(0);
  scores = buildContraction(b, queries, keys, scores, map(0, 2), map(1, 2));
  bool masked = attention.window.has_value();
  scores = buildScale(b, scores, range,
                      1.0 / std::sqrt(static_cast<double>(size)), masked);
  Value weights = buildSoftmaxInPlace(b, scores);

  if (masked) { // leaves the positions that count
    OpFoldResult skipped =
        arith::SubIOp::create(b, range.first, range.begin).getResult();
    OpFoldResult kept =
        arith::SubIOp::create(b, range.end, range.first).getResult();
    weights = tensor::ExtractSliceOp::create(
        b, weights, SmallVector<OpFoldResult>{b.getIndexAttr(0), skipped},
        SmallVector<OpFoldResult>{b.getIndexAttr(group), kept},
        SmallVector<OpFoldResult>(2, b.getIndexAttr(1)));
  }
  Value values = sliceCache(b, state.values, range, range.first, head);
  Value init = linalg::FillOp::create(b, zero, output).getResult(0);
  return buildContraction(b, weights, values, init, map(0, 2), map(2, 1));
}

/// Attention of all tokens and heads: [tokens, key heads, queries a head,
/// size].
Value buildHeads(ImplicitLocOpBuilder &builder, Value queries,
                 const AttentionState &state, const Attention &attention) {
  int64_t group = attention.heads / attention.keyValueHeads,
          size = attention.headSize;
  OpFoldResult zero = builder.getIndexAttr(0), one = builder.getIndexAttr(1);
  OpFoldResult tokens =
      tensor::getMixedSize(builder, builder.getLoc(), queries, 0);
  OpFoldResult heads = builder.getIndexAttr(attention.keyValueHeads);
  SmallVector<OpFoldResult> headSizes{one, one, builder.getIndexAttr(group),
                                      builder.getIndexAttr(size)};
  SmallVector<OpFoldResult> headStrides(4, one);
  Value empty = tensor::EmptyOp::create(
      builder,
      SmallVector<OpFoldResult>{tokens, heads, builder.getIndexAttr(group),
                                builder.getIndexAttr(size)},
      builder.getF32Type());
  // Head h * group + g of the queries reads key head h.
  auto grouped = cast<RankedTensorType>(empty.getType());
  Value groupedQueries = tensor::ExpandShapeOp::create(
      builder, grouped, queries,
      ArrayRef<ReassociationIndices>{{0}, {1, 2}, {3}});

  auto loop = scf::ForallOp::create(
      builder, SmallVector<OpFoldResult>{tokens, heads}, ValueRange{empty},
      /*mapping=*/std::nullopt,
      [&](OpBuilder &inner, Location loc, ValueRange arguments) {
        ImplicitLocOpBuilder b(loc, inner);
        Value token = arguments[0], head = arguments[1];
        SmallVector<OpFoldResult> offsets{token, head, zero, zero};
        Range range = buildRange(b, token, state, attention.window);
        auto own = [&](Value tensor) -> Value {
          return tensor::ExtractSliceOp::create(
              b, RankedTensorType::get({group, size}, b.getF32Type()), tensor,
              offsets, headSizes, headStrides);
        };
        Value result = buildHead(b, own(groupedQueries), range, state, head,
                                 own(arguments[2]), attention);
        auto terminator = scf::InParallelOp::create(b);
        b.setInsertionPointToStart(terminator.getBody());
        tensor::ParallelInsertSliceOp::create(b, result, arguments[2], offsets,
                                              headSizes, headStrides);
      });
  return loop.getResult(0);
}

} // namespace

Value mlir::moe::buildAttention(FunctionScope &scope, Value rows,
                                AttentionState &state,
                                const Attention &attention) {
  FunctionScope::Block block(scope, "self_attn");
  ImplicitLocOpBuilder &builder = scope.builder;
  Value query = buildLinear(scope, rows, attention.query);
  Value key = buildLinear(scope, rows, attention.key);
  Value value = buildLinear(scope, rows, attention.value);
  if (attention.queryKeyNorm == Attention::QueryKeyNorm::wholeProjection) {
    query = buildRMSNorm(scope, query, attention.queryNorm);
    key = buildRMSNorm(scope, key, attention.keyNorm);
  }
  if (attention.clip) {
    query = clip(builder, query, *attention.clip);
    key = clip(builder, key, *attention.clip);
    value = clip(builder, value, *attention.clip);
  }
  query = splitHeads(builder, query, attention.heads, attention.headSize);
  key = splitHeads(builder, key, attention.keyValueHeads, attention.headSize);
  value =
      splitHeads(builder, value, attention.keyValueHeads, attention.headSize);
  if (attention.queryKeyNorm == Attention::QueryKeyNorm::perHead) {
    query = buildRMSNorm(scope, query, attention.queryNorm);
    key = buildRMSNorm(scope, key, attention.keyNorm);
  }
  query = buildRotaryHalfSplit(scope, query, state.rotary);
  key = buildRotaryHalfSplit(scope, key, state.rotary);

  state.keys = buildCacheUpdate(scope, state.keys, key, state.positions,
                                state.sequences);
  state.values = buildCacheUpdate(scope, state.values, value, state.positions,
                                  state.sequences);
  Value heads = buildHeads(builder, query, state, attention);
  auto flat = RankedTensorType::get(
      {ShapedType::kDynamic, attention.heads * attention.headSize},
      builder.getF32Type());
  Value joined = tensor::CollapseShapeOp::create(
      builder, flat, heads, ArrayRef<ReassociationIndices>{{0}, {1, 2, 3}});
  return buildLinear(scope, joined, attention.output);
}
