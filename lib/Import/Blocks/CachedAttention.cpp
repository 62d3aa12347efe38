//===- CachedAttention.cpp - Queries against a cache ----------------------===//
//
// One parallel iteration per tile of tokens and key head: the slice of the
// cache that the tokens see, scores, softmax, and the weighted sum of values in
// order of position. Keys that a token does not see are not multiplied by zero:
// they are not read, or their scores are chosen away, and their values not
// added.
//
//===----------------------------------------------------------------------===//

#include "Blocks.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

#include <limits>

using namespace mlir;
using namespace mlir::moe;

namespace {

/// Reductions over positions run in this many lanes, lane = position mod 16
/// (docs/Spec.md); slices begin at a multiple.
constexpr int64_t kLanes = 16;

/// Rows of queries that are worked on together.
constexpr int64_t kTileRows = 8;

/// Everything that the builders of one core share.
struct Core {
  const AttentionState &state;
  const CachedAttention &attention;
  Value ring;  ///< positions that a ring keeps, or null
  Value bound; ///< no token sees more positions than this, in whole blocks

  int64_t getGroup() const { return attention.heads / attention.keyHeads; }
};

Value constant(ImplicitLocOpBuilder &b, int64_t value) {
  return arith::ConstantIndexOp::create(b, value);
}
Value add(ImplicitLocOpBuilder &b, Value x, Value y) {
  return arith::AddIOp::create(b, x, y);
}
Value subtract(ImplicitLocOpBuilder &b, Value x, Value y) {
  return arith::SubIOp::create(b, x, y);
}
Value maximum(ImplicitLocOpBuilder &b, Value x, Value y) {
  return arith::MaxSIOp::create(b, x, y);
}
Value extractIndex(ImplicitLocOpBuilder &b, Value list, Value at) {
  Value value = tensor::ExtractOp::create(b, list, at);
  return arith::IndexCastOp::create(b, b.getIndexType(), value);
}

/// The first position that a token at `position` sees.
Value buildFirst(ImplicitLocOpBuilder &b, Value position,
                 const CachedAttention &attention) {
  Value first = constant(b, 0);
  if (attention.window)
    first = maximum(
        b, subtract(b, position, constant(b, *attention.window - 1)), first);
  if (attention.chunk) {
    Value size = constant(b, *attention.chunk);
    first = maximum(
        b, subtract(b, position, arith::RemUIOp::create(b, position, size)),
        first);
  }
  return first;
}

/// `count` tokens of one sequence at positions `position`, `position + 1`, ...
/// and what is seen by any of them: positions from `first` up to `end`; `begin`
/// is `first` rounded down to a block of lanes, and lies in row `row`.
struct Tile {
  int64_t count;
  Value sequence, position, first, begin, end, row;
};

Tile buildTile(ImplicitLocOpBuilder &b, Value token, int64_t count,
               const Core &core) {
  Tile tile;
  tile.count = count;
  tile.sequence = extractIndex(b, core.state.sequences, token);
  tile.position = extractIndex(b, core.state.positions, token);
  tile.first = tile.begin = buildFirst(b, tile.position, core.attention);
  tile.end = add(b, tile.position, constant(b, count));
  if (core.attention.isMasked()) {
    Value lanes = constant(b, kLanes);
    tile.begin = arith::MulIOp::create(
        b, arith::DivUIOp::create(b, tile.first, lanes), lanes);
  }
  tile.row = tile.begin;
  if (core.ring)
    tile.row = arith::RemUIOp::create(b, tile.begin, core.ring);
  return tile;
}

/// The first `size` entries of positions [from, to) of one head: [to - from,
/// size].
Value sliceCache(ImplicitLocOpBuilder &b, Value cache, const Tile &tile,
                 Value from, Value to, Value head, int64_t size) {
  OpFoldResult one = b.getIndexAttr(1), count = subtract(b, to, from);
  Value row = tile.row;
  if (from != tile.begin)
    row = add(b, row, subtract(b, from, tile.begin));
  return tensor::ExtractSliceOp::create(
      b, RankedTensorType::get({ShapedType::kDynamic, size}, b.getF32Type()),
      cache,
      SmallVector<OpFoldResult>{tile.sequence, row, head, b.getIndexAttr(0)},
      SmallVector<OpFoldResult>{one, count, one, b.getIndexAttr(size)},
      SmallVector<OpFoldResult>(4, one));
}

/// result[t, g, n] += sum over k of left[t, g, k] * right[..], whose map over
/// (t, g, n, k) is `rightDims`.
Value buildContraction(ImplicitLocOpBuilder &b, Value left, Value right,
                       Value init, ArrayRef<unsigned> rightDims) {
  auto map = [&](ArrayRef<unsigned> dims) {
    return AffineMap::getMultiDimMapWithTargets(4, dims, b.getContext());
  };
  return buildGeneric(
      b, {left, right}, init, {map({0, 1, 3}), map(rightDims), map({0, 1, 2})},
      /*reductions=*/1, [](OpBuilder &b, Location loc, ValueRange x) -> Value {
        return arith::AddFOp::create(b, loc, x[2],
                                     arith::MulFOp::create(b, loc, x[0], x[1]));
      });
}

/// Scales the scores, in their tensor; those of positions that a token does not
/// see become minus infinity, whatever was computed from them.
Value buildScale(ImplicitLocOpBuilder &b, Value scores, const Tile &tile,
                 const CachedAttention &attention) {
  Value factor = arith::ConstantOp::create(
      b, b.getF32FloatAttr(static_cast<float>(attention.scale)));
  Value lowest = arith::ConstantOp::create(
      b, b.getF32FloatAttr(-std::numeric_limits<float>::infinity()));
  return buildGeneric(
      b, ValueRange(), scores, b.getMultiDimIdentityMap(3), /*reductions=*/0,
      [&](OpBuilder &inner, Location loc, ValueRange x) -> Value {
        using arith::CmpIPredicate;
        ImplicitLocOpBuilder b(loc, inner);
        Value scaled = arith::MulFOp::create(b, x[0], factor);
        if (tile.count == 1 && !attention.isMasked())
          return scaled;
        // Counted from `begin`.
        Value column = linalg::IndexOp::create(b, 2);
        Value own = add(b, tile.position, linalg::IndexOp::create(b, 0));
        if (tile.count > 1) {
          Value last = subtract(b, own, tile.begin);
          scaled = arith::SelectOp::create(
              b, arith::CmpIOp::create(b, CmpIPredicate::ule, column, last),
              scaled, lowest);
        }
        if (attention.isMasked()) {
          Value first = subtract(b, buildFirst(b, own, attention), tile.begin);
          scaled = arith::SelectOp::create(
              b, arith::CmpIOp::create(b, CmpIPredicate::uge, column, first),
              scaled, lowest);
        }
        return scaled;
      });
}

/// What one iteration reads and writes.
struct Work {
  Value head;
  Value queries; ///< [tokens, queries a head, key size]
  Value output;  ///< [tokens, queries a head, value size]
  Value sinks;   ///< [queries a head], or null
};

/// Slices [from, from + count) of the first dimension.
Value sliceTokens(ImplicitLocOpBuilder &b, Value value, Value from,
                  OpFoldResult count) {
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(b, b.getLoc(), value);
  SmallVector<OpFoldResult> offsets(sizes.size(), b.getIndexAttr(0)),
      strides(sizes.size(), b.getIndexAttr(1));
  offsets[0] = from;
  sizes[0] = count;
  return tensor::ExtractSliceOp::create(b, value, offsets, sizes, strides);
}
Value insertTokens(ImplicitLocOpBuilder &b, Value part, Value value,
                   Value from) {
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(b, b.getLoc(), part);
  SmallVector<OpFoldResult> offsets(sizes.size(), b.getIndexAttr(0)),
      strides(sizes.size(), b.getIndexAttr(1));
  offsets[0] = from;
  return tensor::InsertSliceOp::create(b, part, value, offsets, sizes, strides);
}

/// Adds the values of positions [from, to) to `output`, in ascending order.
Value buildValues(ImplicitLocOpBuilder &b, Value weights, Value output,
                  const Tile &tile, Value from, Value to, Value head,
                  const Core &core) {
  SmallVector<OpFoldResult> sizes =
      tensor::getMixedSizes(b, b.getLoc(), weights);
  SmallVector<OpFoldResult> offsets(3, b.getIndexAttr(0)),
      strides(3, b.getIndexAttr(1));
  offsets[2] = subtract(b, from, tile.begin);
  sizes[2] = subtract(b, to, from);
  Value seen =
      tensor::ExtractSliceOp::create(b, weights, offsets, sizes, strides);
  Value values = sliceCache(b, core.state.caches.back(), tile, from, to, head,
                            core.attention.valueSize);
  return buildContraction(b, seen, values, output, {3, 2});
}

/// The same for each token of a tile alone: positions from what `bounds` gives
/// for the token's position.
template <typename Bounds>
Value buildValuesByToken(ImplicitLocOpBuilder &b, Value weights, Value output,
                         const Tile &tile, Value head, const Core &core,
                         Bounds bounds) {
  auto loop = scf::ForOp::create(
      b, constant(b, 0), constant(b, tile.count), constant(b, 1),
      ValueRange{output},
      [&](OpBuilder &inner, Location loc, Value token, ValueRange carried) {
        ImplicitLocOpBuilder b(loc, inner);
        OpFoldResult one = b.getIndexAttr(1);
        auto [from, to] = bounds(b, add(b, tile.position, token));
        Value sum = buildValues(b, sliceTokens(b, weights, token, one),
                                sliceTokens(b, carried[0], token, one), tile,
                                from, to, head, core);
        scf::YieldOp::create(b, insertTokens(b, sum, carried[0], token));
      });
  return loop.getResult(0);
}

/// The sums of all values that the tokens of a tile see. Those that all of them
/// see are taken together, those before and behind token by token.
Value buildAllValues(ImplicitLocOpBuilder &b, Value weights, Value output,
                     const Tile &tile, Value head, const Core &core) {
  if (tile.count == 1)
    return buildValues(b, weights, output, tile, tile.first, tile.end, head,
                       core);
  const CachedAttention &attention = core.attention;
  Value end = add(b, tile.position, constant(b, 1)), begin = tile.first;
  if (attention.isMasked()) {
    Value last = subtract(b, tile.end, constant(b, 1));
    begin = arith::MinSIOp::create(b, buildFirst(b, last, attention), end);
    output = buildValuesByToken(
        b, weights, output, tile, head, core,
        [&](ImplicitLocOpBuilder &b, Value position) {
          Value first = buildFirst(b, position, attention);
          return std::pair<Value, Value>(first, maximum(b, first, begin));
        });
  }
  output = buildValues(b, weights, output, tile, begin, end, head, core);
  return buildValuesByToken(
      b, weights, output, tile, head, core,
      [&](ImplicitLocOpBuilder &b, Value position) {
        Value from = maximum(b, buildFirst(b, position, attention), end);
        return std::pair<Value, Value>(from, add(b, position, constant(b, 1)));
      });
}

/// One tile and one key head, written to the output.
Value buildTileHead(ImplicitLocOpBuilder &b, const Work &work, const Tile &tile,
                    const Core &core) {
  const CachedAttention &attention = core.attention;
  Value keys = sliceCache(b, core.state.caches.front(), tile, tile.begin,
                          tile.end, work.head, attention.keySize);
  Value zero = arith::ConstantOp::create(b, b.getF32FloatAttr(0.0f));
  SmallVector<OpFoldResult> sizes{b.getIndexAttr(tile.count),
                                  b.getIndexAttr(core.getGroup()), core.bound};
  Value room = tensor::EmptyOp::create(b, sizes, b.getF32Type());
  sizes[2] = tensor::getMixedSize(b, b.getLoc(), keys, 0);
  Value empty = tensor::ExtractSliceOp::create(
      b, room, SmallVector<OpFoldResult>(3, b.getIndexAttr(0)), sizes,
      SmallVector<OpFoldResult>(3, b.getIndexAttr(1)));
  Value scores = linalg::FillOp::create(b, zero, empty).getResult(0);
  scores = buildContraction(b, work.queries, keys, scores, {2, 3});
  scores = buildScale(b, scores, tile, attention);
  Value weights = buildSoftmaxInPlace(b, scores, work.sinks);
  Value init = linalg::FillOp::create(b, zero, work.output).getResult(0);
  return buildAllValues(b, weights, init, tile, work.head, core);
}

/// Tokens from `token` on, as many as `work` has rows for: together where they
/// are a full tile of one sequence, one by one otherwise.
Value buildTokens(ImplicitLocOpBuilder &b, Value token, int64_t tileTokens,
                  const Work &work, const Core &core) {
  if (tileTokens == 1)
    return buildTileHead(b, work, buildTile(b, token, 1, core), core);
  Value size = constant(b, tileTokens), one = constant(b, 1);
  Value count = tensor::DimOp::create(b, work.queries, 0);
  auto restrict = [&](ImplicitLocOpBuilder &b, Value output, Value from,
                      int64_t count) {
    OpFoldResult tokens = b.getIndexAttr(count);
    return Work{work.head, sliceTokens(b, work.queries, from, tokens),
                sliceTokens(b, output, from, tokens), work.sinks};
  };
  // Positions of one sequence have no gaps, so two of them that are as far
  // apart as their tokens have only their sequence between them.
  Value full = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, count, size);
  Value last = add(b, token, subtract(b, count, one));
  auto equals = [&](Value list, Value distance) -> Value {
    Value difference =
        subtract(b, extractIndex(b, list, last), extractIndex(b, list, token));
    return arith::CmpIOp::create(b, arith::CmpIPredicate::eq, difference,
                                 distance);
  };
  full = arith::AndIOp::create(b, full,
                               equals(core.state.sequences, constant(b, 0)));
  full = arith::AndIOp::create(
      b, full, equals(core.state.positions, constant(b, tileTokens - 1)));

  auto together = [&](OpBuilder &inner, Location loc) {
    ImplicitLocOpBuilder b(loc, inner);
    Value zero = constant(b, 0);
    Value result = buildTileHead(b, restrict(b, work.output, zero, tileTokens),
                                 buildTile(b, token, tileTokens, core), core);
    scf::YieldOp::create(b, insertTokens(b, result, work.output, zero));
  };
  auto alone = [&](OpBuilder &inner, Location loc) {
    ImplicitLocOpBuilder b(loc, inner);
    auto loop = scf::ForOp::create(
        b, constant(b, 0), count, constant(b, 1), ValueRange{work.output},
        [&](OpBuilder &inner, Location loc, Value i, ValueRange carried) {
          ImplicitLocOpBuilder b(loc, inner);
          Value result =
              buildTileHead(b, restrict(b, carried[0], i, 1),
                            buildTile(b, add(b, token, i), 1, core), core);
          scf::YieldOp::create(b, insertTokens(b, result, carried[0], i));
        });
    scf::YieldOp::create(b, loop.getResult(0));
  };
  return scf::IfOp::create(b, full, together, alone).getResult(0);
}

/// No token of the batch sees more positions than this.
Value buildBound(ImplicitLocOpBuilder &b, const AttentionState &state,
                 const CachedAttention &attention, int64_t tileTokens) {
  Value tokens = tensor::DimOp::create(b, state.positions, 0);
  auto loop = scf::ForOp::create(
      b, constant(b, 0), tokens, constant(b, 1), ValueRange{constant(b, 0)},
      [&](OpBuilder &inner, Location loc, Value i, ValueRange most) {
        ImplicitLocOpBuilder b(loc, inner);
        scf::YieldOp::create(
            b, maximum(b, most[0], extractIndex(b, state.positions, i)));
      });
  Value bound = add(b, loop.getResult(0), constant(b, 1));
  // Never less than a token sees, and known without a look at the positions.
  if (!attention.getCacheWindow())
    bound = arith::MinSIOp::create(
        b, bound, tensor::DimOp::create(b, state.caches.front(), 1));
  if (std::optional<int64_t> window = attention.getCacheWindow())
    bound = arith::MinSIOp::create(b, bound,
                                   constant(b, *window + kLanes + tileTokens));
  return bound;
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
  FunctionScope::Block block(scope, "attention");
  ImplicitLocOpBuilder &builder = scope.builder;
  Core core{state, attention, Value(), Value()};
  int64_t group = core.getGroup();
  int64_t tileTokens = std::max<int64_t>(kTileRows / group, 1);
  OpFoldResult zero = builder.getIndexAttr(0), one = builder.getIndexAttr(1),
               rows = builder.getIndexAttr(group);
  OpFoldResult tokens =
      tensor::getMixedSize(builder, builder.getLoc(), queries, 0);
  SmallVector<OpFoldResult> strides(4, one);
  Value empty = tensor::EmptyOp::create(
      builder,
      SmallVector<OpFoldResult>{tokens,
                                builder.getIndexAttr(attention.keyHeads), rows,
                                builder.getIndexAttr(attention.valueSize)},
      builder.getF32Type());
  // Head h * group + g of the queries reads key head h.
  Value grouped = groupHeads(builder, queries, 1, attention);
  if (sinks)
    sinks = groupHeads(builder, sinks, 0, attention);
  if (std::optional<int64_t> window = attention.getCacheWindow())
    core.ring = buildRingSize(builder, state.caches.front(), *window);
  core.bound = buildBound(builder, state, attention, tileTokens);

  auto loop = scf::ForallOp::create(
      builder, SmallVector<OpFoldResult>{zero, zero},
      SmallVector<OpFoldResult>{tokens,
                                builder.getIndexAttr(attention.keyHeads)},
      SmallVector<OpFoldResult>{builder.getIndexAttr(tileTokens), one},
      ValueRange{empty},
      /*mapping=*/std::nullopt,
      [&](OpBuilder &inner, Location loc, ValueRange arguments) {
        ImplicitLocOpBuilder b(loc, inner);
        Value token = arguments[0], head = arguments[1];
        OpFoldResult count = one;
        if (tileTokens > 1)
          count =
              arith::MinSIOp::create(
                  b, constant(b, tileTokens),
                  subtract(b, getValueOrCreateConstantIndexOp(b, loc, tokens),
                           token))
                  .getResult();
        SmallVector<OpFoldResult> offsets{token, head, zero, zero};
        auto sizes = [&](int64_t size) {
          return SmallVector<OpFoldResult>{count, one, rows,
                                           b.getIndexAttr(size)};
        };
        auto own = [&](Value tensor, int64_t size) -> Value {
          int64_t extent = tileTokens > 1 ? ShapedType::kDynamic : 1;
          return tensor::ExtractSliceOp::create(
              b, RankedTensorType::get({extent, group, size}, b.getF32Type()),
              tensor, offsets, sizes(size), strides);
        };
        Work work{head, own(grouped, attention.keySize),
                  own(arguments[2], attention.valueSize), Value()};
        if (sinks)
          work.sinks = tensor::ExtractSliceOp::create(
              b, RankedTensorType::get({group}, b.getF32Type()), sinks,
              SmallVector<OpFoldResult>{head, zero},
              SmallVector<OpFoldResult>{one, rows},
              SmallVector<OpFoldResult>(2, one));
        Value result = buildTokens(b, token, tileTokens, work, core);
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
