//===- Dbrx.cpp - model_type "dbrx" ---------------------------------------===//
//
// Nested configuration, layer norms without bias, one clipped projection for
// queries, keys and values, and the matrices of all experts in one tensor.
//
//===----------------------------------------------------------------------===//

#include "Architectures.h"

using namespace mlir::moe;
using llvm::Twine;

namespace {

/// The configuration class of transformers gives its own names to sizes.
CommonConfig readSizes(Config &config, Config &attention) {
  CommonDefaults defaults{32000, 2048, 24, 16, 1, 2048, 1e-5, 1e4, {}};
  CommonConfig common = readCommon(config, defaults);
  // Whatever num_key_value_heads beside it says.
  common.keyValueHeads = attention.integer({"kv_n_heads"}, 1, 1, common.heads);
  if (common.heads % common.keyValueHeads != 0)
    attention.fail("'kv_n_heads': expected a divisor of " +
                   Twine(common.heads) + " heads, got " +
                   Twine(common.keyValueHeads));
  common.epsilon = defaults.epsilon; // of every layer norm, not configurable
  if (common.tiedEmbeddings)
    config.fail("'tie_word_embeddings': expected false for dbrx, got true");
  return common;
}

/// Scores of the selected are divided by their norm of an order; null: kept.
double readNormOrder(Config &config) {
  llvm::StringRef key = "moe_normalize_expert_weights";
  if (config.isNull(key))
    return 0;
  double order = config.number(key, 1, -1e9, 1e9);
  if (order != 1 && order != 2)
    config.fail("'" + key + "': expected 1, 2 or null, got " +
                Twine(std::to_string(order)));
  return order;
}

/// Rows of the projection that all heads share.
Linear makeProjection(const std::string &name, const std::string &part,
                      int64_t hidden, int64_t rows, int64_t begin,
                      int64_t end) {
  return {Weight(name + "." + part, sliceOf(tensorNamed({name}, {rows, hidden}),
                                            /*dim=*/0, begin, end - begin)),
          "", hidden, end - begin};
}

} // namespace

Decoder mlir::moe::describeDbrx(Config &config) {
  Config attention = config.section("attn_config"),
         feedForward = config.section("ffn_config");
  CommonConfig common = readSizes(config, attention);
  std::optional<double> clip = readClip(attention);
  ExpertConfig experts{};
  experts.experts = feedForward.integer({"moe_num_experts"}, 4, 1, kMaxExperts);
  experts.slots = feedForward.integer({"moe_top_k"}, 1, 1, experts.experts);
  experts.width = feedForward.integer({"ffn_hidden_size"}, 3584, 1, kMaxSize);
  double order = readNormOrder(feedForward);
  Config activation = feedForward.section("ffn_act_fn");
  common.activation = readActivation(activation, "name");
  feedForward.adopt(activation);
  // Files of transformers 4 have the base in the inner object.
  double base = attention.number("rope_theta", 1e4, 1e-6, 1e18);
  config.adopt(attention);
  config.adopt(feedForward);

  Decoder decoder = makeDecoder(
      common, readRotary(config, common.headSize, common.maxContext, base));
  auto norm = [=](std::string name) -> RMSNorm {
    return {name + ".weight", common.hidden, common.epsilon, /*centered=*/true};
  };
  decoder.embedding.weight = "transformer.wte.weight";
  decoder.head.norm = norm("transformer.norm_f");
  decoder.getLayer = [=](int64_t index) {
    DecoderLayer layer = makeLayer(common, index, /*projectionBias=*/false,
                                   /*outputBias=*/false);
    layer.prefix = "transformer.blocks." + std::to_string(index) + ".";
    std::string prefix = layer.prefix + "norm_attn_norm.";
    layer.attentionNorm = norm(prefix + "norm_1");
    layer.feedForwardNorm = norm(prefix + "norm_2");
    Attention &block = layer.attention;
    block.clip = clip;
    int64_t queries = block.query.outputs, keys = block.key.outputs,
            rows = queries + 2 * keys;
    auto project = [&](const char *part, int64_t begin, int64_t end) {
      return makeProjection(prefix + "attn.Wqkv.weight", part, common.hidden,
                            rows, begin, end);
    };
    block.query = project("query", 0, queries);
    block.key = project("key", queries, queries + keys);
    block.value = project("value", queries + keys, rows);
    block.output.weight = prefix + "attn.out_proj.weight";

    prefix = layer.prefix + "ffn.";
    Experts moe = makeExperts(prefix, common, experts);
    moe.router.projection.weight = prefix + "router.layer.weight";
    if (order == 1)
      moe.router.normalization = sumToOne(0);
    moe.router.unitLength = order == 2;
    auto stacked = [&](const char *name) -> Weight {
      std::string full = prefix + "experts.mlp." + name;
      int64_t count = experts.experts, width = experts.width;
      return {full,
              reshapeOf(tensorNamed({full}, {count * width, common.hidden}),
                        {count, width, common.hidden})};
    };
    moe.gate = stacked("w1");
    moe.up = stacked("v1");
    moe.down = stacked("w2"); // [width, hidden], used from the left
    moe.down.recipe = transposeOf(moe.down.recipe, {0, 2, 1});
    layer.feedForward = moe;
    return layer;
  };
  return decoder;
}
