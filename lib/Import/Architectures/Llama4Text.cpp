//===- Llama4Text.cpp - model_type "llama4_text" --------------------------===//
//
// Layers with rotary embedding see chunks of the context and normalise queries
// and keys after it; those without see all of it, with a temperature. Weights
// stand on the input of experts.
//
//===----------------------------------------------------------------------===//

#include "Architectures.h"

using namespace mlir::moe;
using llvm::Twine;

namespace {

/// For each layer: whether positions enter it, and whether it has experts.
struct LayerKinds {
  std::vector<bool> turns, chunked, hasExperts;
};

LayerKinds readLayerKinds(Config &config, int64_t layers, bool hasChunks) {
  int64_t interval =
      config.integer({"no_rope_layer_interval"}, 4, 1, kMaxLayers);
  int64_t step =
      config.integer({"interleave_moe_layer_step"}, 1, 1, kMaxLayers);
  std::vector<int64_t> turns = config.integers("no_rope_layers", 0, 1),
                       experts = config.integers("moe_layers", 0, layers - 1);
  if (!turns.empty() && static_cast<int64_t>(turns.size()) != layers) {
    config.fail("'no_rope_layers': expected " + Twine(layers) +
                " entries, one a layer, got " + Twine(turns.size()));
    turns.clear();
  }
  std::optional<std::vector<std::string>> types =
      readLayerTypes(config, layers, {"full_attention", "chunked_attention"});

  LayerKinds kinds;
  for (int64_t layer = 0; layer < layers; ++layer) {
    bool turning =
        turns.empty() ? (layer + 1) % interval != 0 : turns[layer] != 0;
    kinds.turns.push_back(turning);
    kinds.chunked.push_back(types ? (*types)[layer] == "chunked_attention"
                                  : turning && hasChunks);
    kinds.hasExperts.push_back(config.has("moe_layers")
                                   ? llvm::is_contained(experts, layer)
                                   : (layer + 1) % step == 0);
    if (kinds.chunked.back() && !hasChunks)
      config.fail("'attention_chunk_size': expected a number, since layer " +
                  Twine(layer) + " sees chunks");
  }
  return kinds;
}

/// Matrices are stored [experts, inputs, outputs], gate beside up.
void setTransposedExperts(Experts &block, const std::string &prefix) {
  int64_t count = block.experts, hidden = block.hidden, width = block.width;
  Recipe both = transposeOf(
      tensorNamed({prefix + "gate_up_proj"}, {count, hidden, 2 * width}),
      {0, 2, 1});
  block.gate = {prefix + "gate", sliceOf(both, /*dim=*/1, 0, width)};
  block.up = {prefix + "up", sliceOf(both, /*dim=*/1, width, width)};
  block.down = {
      prefix + "down_proj",
      transposeOf(tensorNamed({prefix + "down_proj"}, {count, width, hidden}),
                  {0, 2, 1})};
}

Experts makeWeighedExperts(const std::string &prefix,
                           const CommonConfig &common,
                           const ExpertConfig &experts) {
  Experts block = makeExperts(prefix, common, experts);
  block.router.projection.weight = prefix + "router.weight";
  // Chosen by the logits, which the logistic function can make equal.
  block.router.score = made<IdentityAttr>();
  block.router.weigh = made<SigmoidAttr>();
  block.weighsInputs = true;
  setTransposedExperts(block, prefix + "experts.");
  block.shared = SharedExpert{
      makeMLP(prefix + "shared_expert.", common, experts.width), std::nullopt};
  return block;
}

} // namespace

Decoder mlir::moe::describeLlama4Text(Config &config) {
  CommonDefaults defaults{202048, 5120, 48, 40, 8, 131072, 1e-5, 5e5, {2}, 128};
  CommonConfig common = readCommon(config, defaults);
  ExpertConfig experts =
      readExperts(config, {16, 1, 8192, false}, "intermediate_size");
  experts.normalize = false; // whatever the file says
  int64_t denseWidth =
      config.integer({"intermediate_size_mlp"}, 16384, 1, kMaxSize);
  std::optional<int64_t> chunk =
      config.optionalInteger("attention_chunk_size", 8192, 1, kMaxContext);
  bool normalises = config.boolean("use_qk_norm", true);
  std::optional<Temperature> temperature;
  if (config.boolean("attn_temperature_tuning", true))
    temperature = Temperature{config.number("floor_scale", 8192, 1e-9, 1e18),
                              config.number("attn_scale", 0.1, -1e6, 1e6)};
  LayerKinds kinds = readLayerKinds(config, common.layers, chunk.has_value());

  Decoder decoder =
      makeDecoder(common, readRotary(config, common.headSize, common.maxContext,
                                     defaults.rotaryBase));
  decoder.getLayer = [=](int64_t index) {
    DecoderLayer layer =
        makeLayer(common, index, common.attentionBias, common.attentionBias);
    Attention &attention = layer.attention;
    if (kinds.chunked[index])
      attention.chunk = chunk;
    if (kinds.turns[index]) {
      attention.rotary = RotaryLayout::pairs;
      RMSNorm norm{"", common.headSize, common.epsilon};
      if (normalises) {
        attention.queryKeyNorm = Attention::QueryKeyNorm::perHeadRotated;
        attention.queryNorm = attention.keyNorm = norm;
      }
    } else {
      attention.rotary = RotaryLayout::none;
      attention.temperature = temperature;
    }
    std::string prefix = layer.prefix + "feed_forward.";
    if (kinds.hasExperts[index])
      layer.feedForward = makeWeighedExperts(prefix, common, experts);
    else
      layer.feedForward = makeMLP(prefix, common, denseWidth);
    return layer;
  };
  return decoder;
}
