//===- LatentAttention.cpp - Multi-head latent attention ------------------===//
//
// Keys and values of all heads are linear in one row a token, the latent, and
// only that row is kept. The matrices that would expand it to keys and values
// are applied to queries and outputs instead (the absorbed form):
// q . (U_k c) = (U_k^T q) . c, and sum of w (U_v c) = U_v (sum of w c).
//
//===----------------------------------------------------------------------===//

#include "Blocks.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe;

namespace {

/// Entries [begin, begin + count) of each head of [tokens, heads, size].
struct HeadPart {
  SmallVector<OpFoldResult> offsets, sizes, strides;
};
HeadPart getPart(ImplicitLocOpBuilder &builder, Value x, int64_t begin,
                 int64_t count) {
  HeadPart part;
  part.offsets.assign(3, builder.getIndexAttr(0));
  part.offsets[2] = builder.getIndexAttr(begin);
  part.sizes = tensor::getMixedSizes(builder, builder.getLoc(), x);
  part.sizes[2] = builder.getIndexAttr(count);
  part.strides.assign(3, builder.getIndexAttr(1));
  return part;
}

Value take(ImplicitLocOpBuilder &builder, Value x, int64_t begin,
           int64_t count) {
  HeadPart part = getPart(builder, x, begin, count);
  return tensor::ExtractSliceOp::create(builder, x, part.offsets, part.sizes,
                                        part.strides);
}

/// Each head of `first`, then that of `second`.
Value join(ImplicitLocOpBuilder &builder, Value first, Value second) {
  auto size = [](Value x) {
    return cast<RankedTensorType>(x.getType()).getDimSize(2);
  };
  SmallVector<OpFoldResult> sizes =
      tensor::getMixedSizes(builder, builder.getLoc(), first);
  sizes[2] = builder.getIndexAttr(size(first) + size(second));
  Value result = tensor::EmptyOp::create(builder, sizes, builder.getF32Type());
  int64_t begin = 0;
  for (Value x : {first, second}) {
    HeadPart part = getPart(builder, x, begin, size(x));
    result = tensor::InsertSliceOp::create(builder, x, result, part.offsets,
                                           part.sizes, part.strides);
    begin += size(x);
  }
  return result;
}

/// The part of the expanding matrices that makes `size` entries of each head
/// from `begin` on: [heads, size, latent].
Recipe getExpansion(const LatentAttention &attention, int64_t begin,
                    int64_t size) {
  int64_t all = attention.plainSize + attention.valueSize;
  Recipe tensor = tensorNamed({attention.expansion},
                              {attention.heads * all, attention.latentSize});
  return sliceOf(
      reshapeOf(tensor, {attention.heads, all, attention.latentSize}),
      /*dim=*/1, begin, size);
}

/// What is kept of a token, [tokens, 1, latent + rotary].
Value buildLatent(FunctionScope &scope, Value rows, const AttentionState &state,
                  const LatentAttention &attention) {
  ImplicitLocOpBuilder &builder = scope.builder;
  int64_t size = attention.latentSize;
  Value row =
      buildSplitHeads(builder, buildLinear(scope, rows, attention.latent),
                      /*heads=*/1, size + attention.rotarySize);
  Value latent =
      buildRMSNorm(scope, take(builder, row, 0, size), attention.latentNorm);
  Value turned =
      buildRotary(scope, take(builder, row, size, attention.rotarySize),
                  state.rotary, attention.rotary);
  return join(builder, latent, turned);
}

/// Queries of latents, [tokens, heads, latent + rotary].
Value buildQueries(FunctionScope &scope, Value rows,
                   const AttentionState &state,
                   const LatentAttention &attention) {
  ImplicitLocOpBuilder &builder = scope.builder;
  if (attention.queryDown)
    rows = buildRMSNorm(scope, buildLinear(scope, rows, *attention.queryDown),
                        attention.queryNorm);
  int64_t size = attention.plainSize;
  Value query =
      buildSplitHeads(builder, buildLinear(scope, rows, attention.query),
                      attention.heads, size + attention.rotarySize);
  Weight keys{attention.expansion + ".keys",
              transposeOf(getExpansion(attention, 0, size), {0, 2, 1})};
  Value absorbed = buildHeadProducts(scope, take(builder, query, 0, size), keys,
                                     attention.latentSize);
  Value turned =
      buildRotary(scope, take(builder, query, size, attention.rotarySize),
                  state.rotary, attention.rotary);
  return join(builder, absorbed, turned);
}

} // namespace

std::vector<CacheShape> mlir::moe::getCaches(const LatentAttention &attention) {
  return {{"latents", 1, attention.latentSize + attention.rotarySize}};
}

Value mlir::moe::buildAttention(FunctionScope &scope, Value rows,
                                AttentionState &state,
                                const LatentAttention &attention) {
  FunctionScope::Block block(scope, "self_attn");
  ImplicitLocOpBuilder &builder = scope.builder;
  Value queries = buildQueries(scope, rows, state, attention);
  buildCacheUpdate(scope, buildLatent(scope, rows, state, attention), state,
                   /*cache=*/0);
  CachedAttention core{attention.heads, /*keyHeads=*/1,
                       attention.latentSize + attention.rotarySize,
                       attention.latentSize};
  core.scale = attention.scale;
  Value latents =
      buildCachedAttention(scope, queries, /*sinks=*/Value(), state, core);
  Weight values{
      attention.expansion + ".values",
      getExpansion(attention, attention.plainSize, attention.valueSize)};
  Value heads = buildHeadProducts(scope, latents, values, attention.valueSize);
  return buildLinear(scope, buildJoinedHeads(builder, heads), attention.output);
}
