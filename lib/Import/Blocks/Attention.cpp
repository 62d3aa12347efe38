//===- Attention.cpp - Grouped-query attention ----------------------------===//
//
// What stands around the core in CachedAttention.cpp: projections, norms,
// rotary embedding and the output projection.
//
//===----------------------------------------------------------------------===//

#include "Blocks.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

#include <cmath>

using namespace mlir;
using namespace mlir::moe;

namespace {

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

} // namespace

Value mlir::moe::buildSplitHeads(ImplicitLocOpBuilder &builder, Value rows,
                                 int64_t heads, int64_t size) {
  auto type = RankedTensorType::get({ShapedType::kDynamic, heads, size},
                                    builder.getF32Type());
  return tensor::ExpandShapeOp::create(
      builder, type, rows, ArrayRef<ReassociationIndices>{{0}, {1, 2}});
}

Value mlir::moe::buildJoinedHeads(ImplicitLocOpBuilder &builder, Value x) {
  auto type = cast<RankedTensorType>(x.getType());
  auto flat = RankedTensorType::get(
      {ShapedType::kDynamic, type.getDimSize(1) * type.getDimSize(2)},
      builder.getF32Type());
  return tensor::CollapseShapeOp::create(
      builder, flat, x, ArrayRef<ReassociationIndices>{{0}, {1, 2}});
}

/// The core of `attention`.
static CachedAttention getCore(const Attention &attention) {
  CachedAttention core{attention.heads, attention.keyValueHeads,
                       attention.headSize, attention.headSize};
  core.scale = attention.scale.value_or(
      1.0 / std::sqrt(static_cast<double>(attention.headSize)));
  core.window = attention.window;
  core.chunk = attention.chunk;
  return core;
}

std::vector<CacheShape> mlir::moe::getCaches(const Attention &attention) {
  CacheShape shape{"keys", attention.keyValueHeads, attention.headSize,
                   getCore(attention).getCacheWindow()};
  CacheShape values = shape;
  values.name = "values";
  return {shape, values};
}

Value mlir::moe::buildAttention(FunctionScope &scope, Value rows,
                                AttentionState &state,
                                const Attention &attention) {
  FunctionScope::Block block(scope, "self_attn");
  ImplicitLocOpBuilder &builder = scope.builder;
  Value query = buildLinear(scope, rows, attention.query);
  Value key = buildLinear(scope, rows, attention.key);
  Value value = buildLinear(scope, rows, attention.value);
  auto normalise = [&](Attention::QueryKeyNorm where) {
    if (attention.queryKeyNorm != where)
      return;
    query = buildRMSNorm(scope, query, attention.queryNorm);
    key = buildRMSNorm(scope, key, attention.keyNorm);
  };
  normalise(Attention::QueryKeyNorm::wholeProjection);
  if (attention.clip) {
    query = clip(builder, query, *attention.clip);
    key = clip(builder, key, *attention.clip);
    value = clip(builder, value, *attention.clip);
  }
  query = buildSplitHeads(builder, query, attention.heads, attention.headSize);
  key = buildSplitHeads(builder, key, attention.keyValueHeads,
                        attention.headSize);
  value = buildSplitHeads(builder, value, attention.keyValueHeads,
                          attention.headSize);
  normalise(Attention::QueryKeyNorm::perHead);
  if (attention.rotary != RotaryLayout::none) {
    query = buildRotary(scope, query, state.rotary, attention.rotary);
    key = buildRotary(scope, key, state.rotary, attention.rotary);
  }
  normalise(Attention::QueryKeyNorm::perHeadRotated);
  if (attention.temperature)
    query =
        buildTemperature(scope, query, state.positions, *attention.temperature);

  CachedAttention core = getCore(attention);
  buildCacheUpdate(scope, key, state, 0, core.getCacheWindow());
  buildCacheUpdate(scope, value, state, 1, core.getCacheWindow());
  Value sinks;
  if (!attention.sinks.empty())
    sinks = buildWidenedTensor(
        builder, scope.getWeight(attention.sinks, {attention.heads}));
  Value heads = buildCachedAttention(scope, query, sinks, state, core);
  return buildLinear(scope, buildJoinedHeads(builder, heads), attention.output);
}
