//===- Qwen3Moe.cpp - model_type "qwen3_moe" ------------------------------===//
//
// Norm of queries and keys per head, dense layers in between, an optional
// window in all layers.
//
//===----------------------------------------------------------------------===//

#include "Architectures.h"

using namespace mlir::moe;

Decoder mlir::moe::describeQwen3Moe(Config &config) {
  CommonDefaults defaults{151936, 2048, 24, 32, 4, 32768, 1e-6, 1e4, {}};
  CommonConfig common = readCommon(config, defaults);
  int64_t denseWidth = readDenseWidth(config, 6144);
  ExpertConfig experts =
      readExperts(config, {128, 8, 768, false}, "moe_intermediate_size",
                  /*mayBeNone=*/true);
  SparseLayers sparse = readSparseLayers(config, common.layers);
  std::optional<int64_t> window;
  if (config.boolean("use_sliding_window", false))
    window = readWindow(config, 4096);

  Decoder decoder =
      makeDecoder(common, readRotary(config, common.headSize, common.maxContext,
                                     defaults.rotaryBase));
  decoder.getLayer = [=](int64_t index) {
    DecoderLayer layer =
        makeLayer(common, index, common.attentionBias, common.attentionBias);
    layer.attention.window = window;
    setHeadNorms(layer, common);
    std::string prefix = layer.prefix + "mlp.";
    if (experts.experts == 0 || !sparse.hasExperts(index))
      layer.feedForward = makeMLP(prefix, common, denseWidth);
    else
      layer.feedForward = makeExperts(prefix, common, experts);
    return layer;
  };
  return decoder;
}
