//===- Blocks.h - Building blocks of decoders -------------------*- C++ -*-===//
//
// Each block is a small struct of sizes and tensor names, and a function that
// builds its IR. A block knows no architecture.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_IMPORT_BLOCKS_BLOCKS_H
#define MOE_LIB_IMPORT_BLOCKS_BLOCKS_H

#include "../Model.h"
#include "moe/Dialect/MoE/IR/Builders.h"
#include "moe/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/Utils/StructuredOpsUtils.h"

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace mlir::moe {

//===----------------------------------------------------------------------===//
// Linear.cpp: products with weights
//===----------------------------------------------------------------------===//

/// y = x w^T + bias: `weight` is [outputs, inputs]. An empty `bias`: none.
struct Linear {
  Weight weight, bias;
  int64_t inputs = 0, outputs = 0;
};

/// `rows` x `weight` transposed, in f32.
Value buildProduct(ImplicitLocOpBuilder &builder, Value rows, Value weight);
Value buildLinear(FunctionScope &scope, Value rows, const Linear &linear);

/// "q_proj" of "model.layers.0.self_attn.q_proj.weight": what kernels that
/// read the weight are called. `fallback` where there is no weight.
llvm::StringRef getPartName(const Weight &weight, llvm::StringRef fallback);

/// linalg.generic with one result in `init`.
Value buildGeneric(ImplicitLocOpBuilder &builder, ValueRange inputs, Value init,
                   ArrayRef<AffineMap> maps, unsigned reductions,
                   ScalarBody body);
/// `rows` + `bias`, in the tensor of the rows.
Value buildBiasAdd(ImplicitLocOpBuilder &builder, Value rows, Value bias);
/// Adds `rows`, times `scale`, to `residual`, in the tensor of the residual.
Value buildResidualAdd(ImplicitLocOpBuilder &builder, Value residual,
                       Value rows, double scale = 1);
/// A constant as near to `value` as f32 comes.
Value buildF32(OpBuilder &builder, Location loc, double value);
/// A weight widened to f32, for those that are read as often as numbers of f32.
Value buildWidenedTensor(ImplicitLocOpBuilder &builder, Value weight);
/// `value` widened to f32, in the body of an operation.
Value buildWidened(OpBuilder &builder, Location loc, Value value);

//===----------------------------------------------------------------------===//
// Norm.cpp
//===----------------------------------------------------------------------===//

/// x / sqrt(mean(x^2) + epsilon) * weight + bias over the last dimension.
/// `centered` takes the mean from x first, which makes it a layer norm. An
/// empty `weight` or `bias`: none.
struct RMSNorm {
  std::string weight;
  int64_t size = 0;
  double epsilon = 0;
  bool centered = false;
  std::string bias = {};
};
Value buildRMSNorm(FunctionScope &scope, Value x, const RMSNorm &norm);

//===----------------------------------------------------------------------===//
// Rotary.cpp: rotary position embedding
//===----------------------------------------------------------------------===//

/// Which entries of a head turn together: i with i + half, or 2i with 2i + 1.
/// None: positions do not enter.
enum class RotaryLayout { none, halves, pairs };

/// Angles turned per position, one for two entries, and the factor of cosine
/// and sine.
struct Rotary {
  std::vector<float> inverseFrequencies;
  float scaling = 1;
  double scoreScale = 1; ///< for models that multiply scores as well
};
struct RotaryTables {
  Value cosine, sine; ///< [tokens, half the entries that turn]
};
RotaryTables buildRotaryTables(FunctionScope &scope, Value positions,
                               const Rotary &rotary);
/// Turns the first entries of each head of `x` [tokens, heads, size], as many
/// as there are angles for; the others stay.
Value buildRotary(FunctionScope &scope, Value x, const RotaryTables &tables,
                  RotaryLayout layout);

//===----------------------------------------------------------------------===//
// Cache.cpp, CachedAttention.cpp, Softmax.cpp: what attention is made of
//===----------------------------------------------------------------------===//

/// A cache that a layer keeps: [sequences, rows, heads, size].
struct CacheShape {
  std::string name; ///< "keys", "values"
  int64_t heads = 0, size = 0;
  /// Positions that a token sees at most, itself included; none: all. With a
  /// window the cache is a ring (docs/Spec.md, "Caches").
  std::optional<int64_t> window = {};
};

/// What attention reads and keeps beside its rows.
struct AttentionState {
  Value positions, sequences;
  RotaryTables rotary;
  /// In the order of `getCaches`; replaced by what they are afterwards.
  llvm::SmallVector<Value, 2> caches;
};

/// Writes row t of `rows` [tokens, heads, size] to the place of positions[t] of
/// sequence sequences[t] in cache number `cache`, which has this window.
void buildCacheUpdate(FunctionScope &scope, Value rows, AttentionState &state,
                      unsigned cache, std::optional<int64_t> window = {});
/// Positions that a ring has rows for.
Value buildRingSize(ImplicitLocOpBuilder &builder, Value cache, int64_t window);

/// What queries see of the first cache (keys) and the last (values). With one
/// cache, values are the first entries of the keys' rows.
struct CachedAttention {
  int64_t heads = 0, keyHeads = 0;    ///< query head h reads key head
                                      ///< h / (heads / keyHeads)
  int64_t keySize = 0, valueSize = 0; ///< entries of a row that are read
  double scale = 1;                   ///< of the scores
  std::optional<int64_t> window = {}; ///< latest positions that a token sees,
                                      ///< itself included; none: all
  std::optional<int64_t> chunk = {};  ///< a token sees positions from the
                                      ///< last multiple of this on

  /// Whether there are positions that a token does not see any more; the most
  /// that it sees.
  bool isMasked() const { return window || chunk; }
  std::optional<int64_t> getCacheWindow() const;
};
/// Softmax over the last dimension, in the tensor of the scores: they are the
/// only buffer that grows with the context. `sinks`, one for each index of the
/// dimension before, or null: scores that join the maximum and the sum after
/// all others, and have no value.
Value buildSoftmaxInPlace(ImplicitLocOpBuilder &b, Value scores, Value sinks);

/// softmax(scale * queries keys^T) values for `queries` [tokens, heads, key
/// size] of positions that are in the caches: [tokens, heads, value size].
/// `sinks` [heads] in f32, or null: a score for each head that takes part in
/// its softmax and has no value.
Value buildCachedAttention(FunctionScope &scope, Value queries, Value sinks,
                           const AttentionState &state,
                           const CachedAttention &attention);

//===----------------------------------------------------------------------===//
// Attention.cpp: grouped-query attention; Temperature.cpp
//===----------------------------------------------------------------------===//

/// Scores grow with the context: queries of position p are multiplied by
/// 1 + scale * log(1 + floor((p + 1) / floorScale)).
struct Temperature {
  double floorScale = 1, scale = 0;
};
/// `queries` is [tokens, heads, size].
Value buildTemperature(FunctionScope &scope, Value queries, Value positions,
                       const Temperature &temperature);

struct Attention {
  /// Per head: before or after rotary embedding.
  enum class QueryKeyNorm { none, wholeProjection, perHead, perHeadRotated };

  int64_t heads = 0, keyValueHeads = 0, headSize = 0;
  Linear query, key, value, output;
  std::optional<double>
      clip; ///< bound on the absolute value of queries, keys and values
  QueryKeyNorm queryKeyNorm = QueryKeyNorm::none;
  RMSNorm queryNorm, keyNorm;
  RotaryLayout rotary = RotaryLayout::halves;
  std::optional<Temperature> temperature;
  std::optional<int64_t> window, chunk; ///< see CachedAttention
  std::optional<double> scale; ///< of the scores; none: 1 / sqrt(headSize)
  std::string sinks;           ///< a weight [heads], see buildCachedAttention
};
std::vector<CacheShape> getCaches(const Attention &attention);
/// Projections, attention over the cache, and the output projection.
Value buildAttention(FunctionScope &scope, Value rows, AttentionState &state,
                     const Attention &attention);

/// [tokens, heads * size] seen as [tokens, heads, size], and back.
Value buildSplitHeads(ImplicitLocOpBuilder &builder, Value rows, int64_t heads,
                      int64_t size);
Value buildJoinedHeads(ImplicitLocOpBuilder &builder, Value x);

//===----------------------------------------------------------------------===//
// LatentAttention.cpp: multi-head latent attention; HeadProducts.cpp
//===----------------------------------------------------------------------===//

/// Products of each head of `x` [tokens, heads, inputs] with its matrix of
/// `bank` [heads, outputs, inputs]: [tokens, heads, outputs].
Value buildHeadProducts(FunctionScope &scope, Value x, const Weight &bank,
                        int64_t outputs);

/// Keys and values of all heads are made from one latent row a token; keys have
/// entries that turn beside it, the same for all heads.
struct LatentAttention {
  int64_t heads = 0;
  int64_t plainSize = 0, rotarySize = 0; ///< entries of a query that do not
                                         ///< turn, and that do
  int64_t valueSize = 0, latentSize = 0;
  std::optional<Linear> queryDown; ///< queries are made from the norm of this;
                                   ///< none: from the rows
  RMSNorm queryNorm;
  Linear query;  ///< to [heads * (plain + rotary)]
  Linear latent; ///< to [latent + rotary]
  RMSNorm latentNorm;
  std::string expansion; ///< of the latent: [heads * (plain + value), latent]
  Linear output;         ///< from [heads * value]
  RotaryLayout rotary = RotaryLayout::pairs;
  double scale = 1; ///< of the scores
};
std::vector<CacheShape> getCaches(const LatentAttention &attention);
Value buildAttention(FunctionScope &scope, Value rows, AttentionState &state,
                     const LatentAttention &attention);

//===----------------------------------------------------------------------===//
// MLP.cpp, Router.cpp, Experts.cpp
//===----------------------------------------------------------------------===//

enum class Activation { silu, gelu, geluTanh, quickGelu, relu, sigmoid };

/// What becomes of gate and up on the way to down: activation(gate) * up.
struct Gating {
  Activation activation = Activation::silu;
  /// gpt_oss: gate is clamped from above and up on both sides, and
  /// gate * sigmoid(alpha * gate) meets up + 1.
  struct Clamped {
    double alpha = 1, limit = 0;
  };
  std::optional<Clamped> clamped = {};
};
/// down(gating(gate(x), up(x))).
struct GatedMLP {
  Linear gate, up, down;
  Gating gating = {};
};
/// The weights of one MLP; biases may be null.
struct MLPWeights {
  Value gate, up, down;
  Value gateBias = {}, upBias = {}, downBias = {};
};
Value buildGatedMLP(ImplicitLocOpBuilder &builder, Value rows,
                    const MLPWeights &weights, const Gating &gating);
Value buildGatedMLP(FunctionScope &scope, Value rows, const GatedMLP &mlp);
/// 1 / (1 + exp(-x)) of one number.
Value buildSigmoid(OpBuilder &builder, Location loc, Value x);

/// Makes an attribute of `moe.select` once there is a context.
template <typename Attr>
using AttributeMaker = std::function<Attr(MLIRContext *context)>;
/// One without parameters: `made<SigmoidAttr>()`.
template <typename Attr> auto made() {
  return [](MLIRContext *context) { return Attr::get(context); };
}

/// Logits by a product, then `moe.select`.
struct Router {
  Linear projection;
  std::string selectionBias; ///< a weight [experts] that takes part in the
                             ///< choice alone; empty: none
  AttributeMaker<SelectionPolicyAttrInterface> policy;
  AttributeMaker<ScoreAttrInterface> score = made<SoftmaxAttr>();
  /// What the logits of the chosen weigh; null: their scores.
  AttributeMaker<ScoreAttrInterface> weigh = {};
  AttributeMaker<NormalizationAttrInterface> normalization = made<KeepAttr>();
  double scale = 1;        ///< of the weights
  bool unitLength = false; ///< at last, weights are divided by the root of the
                           ///< sum of their squares
};
Value buildRouter(FunctionScope &scope, Value rows, const Router &router);

/// An MLP beside the routed experts; its output is multiplied by the logistic
/// function of `gate`, if there is one.
struct SharedExpert {
  GatedMLP mlp;
  std::optional<Linear> gate;
};
struct Experts {
  Router router;
  int64_t experts = 0, hidden = 0, width = 0;
  /// Banks [experts, width, hidden], down [experts, hidden, width].
  Weight gate, up, down;
  /// Banks [experts, width], of down [experts, hidden]; empty: none.
  Weight gateBias = {}, upBias = {}, downBias = {};
  Gating gating = {};
  bool weighsInputs = false; ///< weights scale what experts get, and what they
                             ///< give is summed as it is
  std::optional<SharedExpert> shared;
};
Value buildExperts(FunctionScope &scope, Value rows, const Experts &experts);

//===----------------------------------------------------------------------===//
// Embedding.cpp
//===----------------------------------------------------------------------===//

struct Embedding {
  std::string weight;
  int64_t vocabulary = 0, hidden = 0;
  double scale = 1; ///< of the rows
};
Value buildEmbedding(FunctionScope &scope, Value tokens,
                     const Embedding &embedding);
/// From the stream to logits.
struct OutputHead {
  RMSNorm norm;
  Linear projection;
  double divisor = 1; ///< of the logits
};
/// Logits of the rows from `firstRow` on.
Value buildOutputHead(FunctionScope &scope, Value rows, Value firstRow,
                      const OutputHead &head);

} // namespace mlir::moe

#endif // MOE_LIB_IMPORT_BLOCKS_BLOCKS_H
