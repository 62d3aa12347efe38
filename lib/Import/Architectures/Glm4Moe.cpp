//===- Glm4Moe.cpp - model_type "glm4_moe" --------------------------------===//
//
// Rotary embedding of a part of each head, an optional norm of queries and keys
// per head, dense layers first, experts chosen as DeepSeek-V3 does.
//
//===----------------------------------------------------------------------===//

#include "Architectures.h"

using namespace mlir::moe;

Decoder mlir::moe::describeGlm4Moe(Config &config) {
  CommonDefaults defaults{151552, 4096, 46, 96, 8, 131072, 1e-5, 1e4, {}};
  CommonConfig common = readCommon(config, defaults);
  int64_t denseWidth = readDenseWidth(config, 10944);
  ExpertConfig experts =
      readExperts(config, {128, 8, 1408, true}, "moe_intermediate_size");
  GroupConfig groups = readGroups(config, experts, {1, 1});
  double scale = readRoutedScale(config, 1);
  int64_t shared = readSharedExperts(config, 1),
          dense = readLeadingDense(config, 1);
  bool normalises = config.boolean("use_qk_norm", false);

  Decoder decoder =
      makeDecoder(common, readRotary(config, common.headSize, common.maxContext,
                                     defaults.rotaryBase,
                                     /*defaultShare=*/0.5));
  decoder.getLayer = [=](int64_t index) {
    DecoderLayer layer = makeLayer(common, index, common.attentionBias,
                                   /*outputBias=*/false);
    if (normalises)
      setHeadNorms(layer, common);
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
