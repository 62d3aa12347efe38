//===- DeepseekV3.cpp - model_type "deepseek_v3" --------------------------===//
//
// Latent attention, sigmoid scores with a bias for the choice, groups of
// experts, shared experts, dense layers first.
//
//===----------------------------------------------------------------------===//

#include "Architectures.h"

using namespace mlir::moe;

Decoder mlir::moe::describeDeepseekV3(Config &config) {
  CommonDefaults defaults{129280, 7168, 61, 128, 0, 4096, 1e-6, 1e4, {1}, 64};
  CommonConfig common = readCommon(config, defaults);
  LatentConfig latent = readLatent(config, common);
  int64_t denseWidth = readDenseWidth(config, 18432);
  ExpertConfig experts =
      readExperts(config, {256, 8, 2048, true}, "moe_intermediate_size");
  GroupConfig groups = readGroups(config, experts, {8, 4});
  double scale = readRoutedScale(config, 2.5);
  int64_t shared = readSharedExperts(config, 1),
          dense = readLeadingDense(config, 3);
  bool pairs = config.boolean("rope_interleave", true);
  // Keys of the published files, which name the only way there is.
  checkText(config, "scoring_func", "sigmoid");
  checkText(config, "topk_method", "noaux_tc");
  config.integer({"moe_layer_freq"}, 1, 1, 1);

  Rotary rotary = readRotary(config, latent.rotarySize, common.maxContext,
                             defaults.rotaryBase);
  Decoder decoder = makeDecoder(common, rotary);
  decoder.getLayer = [=](int64_t index) {
    DecoderLayer layer = makeLayer(common, index, false, false);
    layer.latentAttention = makeLatentAttention(layer, common, latent, rotary);
    layer.latentAttention->rotary =
        pairs ? RotaryLayout::pairs : RotaryLayout::halves;
    std::string prefix = layer.prefix + "mlp.";
    if (index < dense) {
      layer.feedForward = makeMLP(prefix, common, denseWidth);
      return layer;
    }
    Experts block = makeBiasedExperts(prefix, common, experts, groups, scale);
    addSharedExperts(block, prefix, common, shared);
    layer.feedForward = block;
    return layer;
  };
  return decoder;
}
