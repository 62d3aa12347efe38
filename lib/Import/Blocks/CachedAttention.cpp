//===- CachedAttention.cpp - Queries against a cache ----------------------===//
//
// One parallel iteration per token and key head: the slice of the cache that
// the token sees, scores, softmax, and the weighted sum of values in order of
// position. Keys that the token does not see are not multiplied by zero, they
// are not read, or chosen away where they share a block of 16 with keys that
// count.
//
//===----------------------------------------------------------------------===//

#include "Blocks.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

#include <limits>

using namespace mlir;
using namespace mlir::moe;

namespace {

/// Reductions over positions run in this many lanes, lane = position mod 16
/// (docs/Spec.md); slices begin at a multiple.
constexpr int64_t kLanes = 16;

/// What one token sees: positions from `first` up to the token's own count;
/// `begin` is `first` rounded down to a block of lanes, and lies in row `row`.
struct Visible {
  Value sequence, begin, first, end, row;
};

Visible buildRange(ImplicitLocOpBuilder &b, Value token,
                   const AttentionState &state,
                   const CachedAttention &attention, Value ring) {
  auto toIndex = [&](Value list) -> Value {
    Value value = tensor::ExtractOp::create(b, list, token);
    return arith::IndexCastOp::create(b, b.getIndexType(), value);
  };
  Value zero = arith::ConstantIndexOp::create(b, 0),
        one = arith::ConstantIndexOp::create(b, 1);
  Visible range;
  range.sequence = toIndex(state.sequences);
  Value position = toIndex(state.positions);
  range.end = arith::AddIOp::create(b, position, one);
  range.first = range.begin = zero;
  if (attention.window) {
    Value size = arith::ConstantIndexOp::create(b, *attention.window);
    range.first = arith::MaxSIOp::create(
        b, arith::SubIOp::create(b, range.end, size), range.first);
  }
  if (attention.chunk) {
    Value size = arith::ConstantIndexOp::create(b, *attention.chunk);
    Value start = arith::SubIOp::create(
        b, position, arith::RemUIOp::create(b, position, size));
    range.first = arith::MaxSIOp::create(b, start, range.first);
  }
  if (attention.isMasked()) {
    Value lanes = arith::ConstantIndexOp::create(b, kLanes);
    range.begin = arith::MulIOp::create(
        b, arith::DivUIOp::create(b, range.first, lanes), lanes);
  }
  range.row = range.begin;
  if (ring)
    range.row = arith::RemUIOp::create(b, range.begin, ring);
  return range;
}

/// The first `size` entries of positions [from, end) of one head of one
/// sequence: [end - from, size].
Value sliceCache(ImplicitLocOpBuilder &b, Value cache, const Visible &range,
                 Value from, Value head, int64_t size) {
  OpFoldResult one = b.getIndexAttr(1),
               count = arith::SubIOp::create(b, range.end, from).getResult();
  Value row = range.row;
  if (from != range.begin)
    row = arith::AddIOp::create(b, row,
                                arith::SubIOp::create(b, from, range.begin));
  return tensor::ExtractSliceOp::create(
      b, RankedTensorType::get({ShapedType::kDynamic, size}, b.getF32Type()),
      cache,
      SmallVector<OpFoldResult>{range.sequence, row, head, b.getIndexAttr(0)},
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
Value buildScale(ImplicitLocOpBuilder &b, Value scores, const Visible &range,
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

/// `value` combined with one number of `rows` for each, in its tensor. Both may
/// be of rank 1 or `value` of rank 2.
template <typename Function>
Value buildRowUpdate(ImplicitLocOpBuilder &b, Value row, Value value,
                     Function function) {
  AffineMap full = b.getMultiDimIdentityMap(
      cast<RankedTensorType>(value.getType()).getRank());
  AffineMap first = AffineMap::get(full.getNumDims(), 0, b.getAffineDimExpr(0));
  return buildGeneric(b, row, value, {first, full}, /*reductions=*/0,
                      [&](OpBuilder &b, Location loc, ValueRange x) {
                        return function(b, loc, x[1], x[0]);
                      });
}

/// Softmax of each row, in the tensor of the scores: a token's scores are its
/// only buffer that grows with the context. `sinks`, one a row or null, join
/// the maximum and the sum after all scores.
Value buildSoftmaxInPlace(ImplicitLocOpBuilder &b, Value scores, Value sinks) {
  auto reduce = [&](float init, auto combine) {
    return buildRowReduction(b, b.getLoc(), scores, b.getF32FloatAttr(init),
                             [&](OpBuilder &b, Location loc, ValueRange x) {
                               return combine(b, loc, x[0], x[1]);
                             });
  };
  auto maximum = [](OpBuilder &b, Location loc, Value x, Value y) -> Value {
    return arith::MaximumFOp::create(b, loc, x, y);
  };
  auto shiftedExp = [](OpBuilder &b, Location loc, Value x,
                       Value max) -> Value {
    return math::ExpOp::create(b, loc, arith::SubFOp::create(b, loc, x, max));
  };
  auto add = [](OpBuilder &b, Location loc, Value x, Value y) -> Value {
    return arith::AddFOp::create(b, loc, x, y);
  };
  Value max = reduce(-std::numeric_limits<float>::infinity(), maximum);
  if (sinks)
    max = buildRowUpdate(b, sinks, max, maximum);
  scores = buildRowUpdate(b, max, scores, shiftedExp);
  Value sum = reduce(0.0f, add);
  if (sinks)
    sum = buildGeneric(
        b, {sinks, max}, sum,
        SmallVector<AffineMap>(3, b.getMultiDimIdentityMap(1)),
        /*reductions=*/0, [&](OpBuilder &b, Location loc, ValueRange x) {
          return add(b, loc, x[2], shiftedExp(b, loc, x[0], x[1]));
        });
  return buildRowUpdate(
      b, sum, scores, [](OpBuilder &b, Location loc, Value x, Value sum) {
        return arith::DivFOp::create(b, loc, x, sum).getResult();
      });
}

/// What one token and one key head read and write.
struct HeadWork {
  Value head;
  Value queries; ///< [queries a head, key size]
  Value output;  ///< [queries a head, value size]
  Value sinks;   ///< [queries a head], or null
};

Value buildHead(ImplicitLocOpBuilder &b, const HeadWork &work,
                const Visible &range, const AttentionState &state,
                const CachedAttention &attention) {
  int64_t group = attention.heads / attention.keyHeads;
  auto map = [&](unsigned first, unsigned second) {
    return AffineMap::get(
        3, 0, {b.getAffineDimExpr(first), b.getAffineDimExpr(second)},
        b.getContext());
  };
  Value keys = sliceCache(b, state.caches.front(), range, range.begin,
                          work.head, attention.keySize);
  Value zero = arith::ConstantOp::create(b, b.getF32FloatAttr(0.0f));
  SmallVector<OpFoldResult> sizes{b.getIndexAttr(group),
                                  tensor::getMixedSize(b, b.getLoc(), keys, 0)};
  Value empty = tensor::EmptyOp::create(b, sizes, b.getF32Type());
  Value scores = linalg::FillOp::create(b, zero, empty).getResult(0);
  scores =
      buildContraction(b, work.queries, keys, scores, map(0, 2), map(1, 2));
  scores = buildScale(b, scores, range, attention.scale, attention.isMasked());
  Value weights = buildSoftmaxInPlace(b, scores, work.sinks);

  if (attention.isMasked()) { // leaves the positions that count
    OpFoldResult skipped =
        arith::SubIOp::create(b, range.first, range.begin).getResult();
    OpFoldResult kept =
        arith::SubIOp::create(b, range.end, range.first).getResult();
    weights = tensor::ExtractSliceOp::create(
        b, weights, SmallVector<OpFoldResult>{b.getIndexAttr(0), skipped},
        SmallVector<OpFoldResult>{b.getIndexAttr(group), kept},
        SmallVector<OpFoldResult>(2, b.getIndexAttr(1)));
  }
  Value values = sliceCache(b, state.caches.back(), range, range.first,
                            work.head, attention.valueSize);
  Value init = linalg::FillOp::create(b, zero, work.output).getResult(0);
  return buildContraction(b, weights, values, init, map(0, 2), map(2, 1));
}

/// [.., heads, ..] seen as [.., key heads, queries a head, ..].
Value groupHeads(ImplicitLocOpBuilder &b, Value value, unsigned dim,
                 const CachedAttention &attention) {
  auto type = cast<RankedTensorType>(value.getType());
  SmallVector<int64_t> shape(type.getShape());
  shape[dim] = attention.keyHeads;
  shape.insert(shape.begin() + dim + 1, attention.heads / attention.keyHeads);
  SmallVector<ReassociationIndices> groups;
  for (int64_t i = 0, next = 0; i < type.getRank(); ++i) {
    groups.push_back({next++});
    if (i == dim)
      groups.back().push_back(next++);
  }
  return tensor::ExpandShapeOp::create(b, type.clone(shape), value, groups);
}

} // namespace

std::optional<int64_t> CachedAttention::getCacheWindow() const {
  if (window && chunk)
    return std::min(*window, *chunk);
  return window ? window : chunk;
}

Value mlir::moe::buildCachedAttention(FunctionScope &scope, Value queries,
                                      Value sinks, const AttentionState &state,
                                      const CachedAttention &attention) {
  ImplicitLocOpBuilder &builder = scope.builder;
  int64_t group = attention.heads / attention.keyHeads;
  OpFoldResult zero = builder.getIndexAttr(0), one = builder.getIndexAttr(1),
               rows = builder.getIndexAttr(group),
               heads = builder.getIndexAttr(attention.keyHeads);
  OpFoldResult tokens =
      tensor::getMixedSize(builder, builder.getLoc(), queries, 0);
  SmallVector<OpFoldResult> strides(4, one);
  Value empty = tensor::EmptyOp::create(
      builder,
      SmallVector<OpFoldResult>{tokens, heads, rows,
                                builder.getIndexAttr(attention.valueSize)},
      builder.getF32Type());
  // Head h * group + g of the queries reads key head h.
  Value grouped = groupHeads(builder, queries, 1, attention);
  if (sinks)
    sinks = groupHeads(builder, sinks, 0, attention);
  Value ring;
  if (std::optional<int64_t> window = attention.getCacheWindow())
    ring = buildRingSize(builder, state.caches.front(), *window);

  auto loop = scf::ForallOp::create(
      builder, SmallVector<OpFoldResult>{tokens, heads}, ValueRange{empty},
      /*mapping=*/std::nullopt,
      [&](OpBuilder &inner, Location loc, ValueRange arguments) {
        ImplicitLocOpBuilder b(loc, inner);
        Value token = arguments[0], head = arguments[1];
        SmallVector<OpFoldResult> offsets{token, head, zero, zero};
        auto sizes = [&](int64_t size) {
          return SmallVector<OpFoldResult>{one, one, rows,
                                           b.getIndexAttr(size)};
        };
        auto own = [&](Value tensor, int64_t size) -> Value {
          return tensor::ExtractSliceOp::create(
              b, RankedTensorType::get({group, size}, b.getF32Type()), tensor,
              offsets, sizes(size), strides);
        };
        HeadWork work{head, own(grouped, attention.keySize),
                      own(arguments[2], attention.valueSize), Value()};
        if (sinks)
          work.sinks = tensor::ExtractSliceOp::create(
              b, RankedTensorType::get({group}, b.getF32Type()), sinks,
              SmallVector<OpFoldResult>{head, zero},
              SmallVector<OpFoldResult>{one, rows},
              SmallVector<OpFoldResult>(2, one));
        Visible range = buildRange(b, token, state, attention, ring);
        Value result = buildHead(b, work, range, state, attention);
        auto terminator = scf::InParallelOp::create(b);
        b.setInsertionPointToStart(terminator.getBody());
        tensor::ParallelInsertSliceOp::create(b, result, arguments[2], offsets,
                                              sizes(attention.valueSize),
                                              strides);
      });
  auto flat = RankedTensorType::get(
      {ShapedType::kDynamic, attention.heads, attention.valueSize},
      builder.getF32Type());
  return tensor::CollapseShapeOp::create(
      builder, flat, loop.getResult(0),
      ArrayRef<ReassociationIndices>{{0}, {1, 2}, {3}});
}
