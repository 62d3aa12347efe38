//===- DeepseekV2.cpp - model_type "deepseek_v2" --------------------------===//
//
// Latent attention, softmax scores that are scaled and never divided by their
// sum, groups of experts judged by their best, shared experts, dense layers
// first.
//
//===----------------------------------------------------------------------===//

#include "Architectures.h"

using namespace mlir::moe;

Decoder mlir::moe::describeDeepseekV2(Config &config) {
  CommonDefaults defaults{102400, 4096, 32, 32, 0, 2048, 1e-6, 1e4, {2}, 64};
  CommonConfig common = readCommon(config, defaults);
  LatentConfig latent = readLatent(config, common);
  int64_t denseWidth = readDenseWidth(config, 11008);
  ExpertConfig experts =
      readExperts(config, {64, 0, 1407, false}, "moe_intermediate_size");
  experts.normalize = false; // transformers reads the key and does not use it
  std::string method = config.text({"topk_method"}, "greedy");
  GroupConfig groups;
  if (method == "group_limited_greedy")
    groups = readGroups(config, experts, {1, 1});
  else if (method != "greedy")
    config.fail("'topk_method': expected greedy or group_limited_greedy, got " +
                quoted(method));
  double scale = readRoutedScale(config, 1);
  int64_t shared = readSharedExperts(config, 2),
          dense = readLeadingDense(config, 0);
  bool bias = config.boolean("mlp_bias", false);
  checkText(config, "scoring_func", "softmax");
  config.integer({"moe_layer_freq"}, 1, 1, 1);

  Rotary rotary = readRotary(config, latent.rotarySize, common.maxContext,
                             defaults.rotaryBase);
  Decoder decoder = makeDecoder(common, rotary);
  decoder.getLayer = [=](int64_t index) {
    DecoderLayer layer = makeLayer(common, index, false, false);
    layer.latentAttention = makeLatentAttention(layer, common, latent, rotary);
    std::string prefix = layer.prefix + "mlp.";
    if (index < dense) {
      layer.feedForward = makeMLP(prefix, common, denseWidth, bias);
      return layer;
    }
    Experts block = makeExperts(prefix, common, experts);
    limitToGroups(block.router, experts.slots, groups, GroupScore::max);
    block.router.scale = scale;
    addSharedExperts(block, prefix, common, shared, bias);
    layer.feedForward = block;
    return layer;
  };
  return decoder;
}
