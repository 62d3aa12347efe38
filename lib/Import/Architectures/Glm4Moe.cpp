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
  BiasedExpertConfig blocks = readBiasedExperts(
      config, {10944, {128, 8, 1408, true}, {1, 1}, 1, 1, 1});
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
    setBiasedExperts(layer, index, common, blocks);
    return layer;
  };
  return decoder;
}
