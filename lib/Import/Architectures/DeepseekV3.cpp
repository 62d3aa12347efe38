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
  BiasedExpertConfig blocks = readBiasedExperts(
      config, {18432, {256, 8, 2048, true}, {8, 4}, 2.5, 1, 3});
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
    setBiasedExperts(layer, index, common, blocks);
    return layer;
  };
  return decoder;
}
