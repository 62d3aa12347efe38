//===- Olmoe.cpp - model_type "olmoe" -------------------------------------===//
//
// Norm of queries and keys over the whole projection, clipping, experts in all
// layers.
//
//===----------------------------------------------------------------------===//

#include "Architectures.h"

using namespace mlir::moe;

Decoder mlir::moe::describeOlmoe(Config &config) {
  CommonDefaults defaults{50304, 2048, 16, 16, 0, 4096, 1e-5, 1e4, {50279}};
  CommonConfig common = readCommon(config, defaults);
  ExpertConfig experts =
      readExperts(config, {64, 8, 2048, false}, "intermediate_size");
  std::optional<double> clip = readClip(config);

  Decoder decoder =
      makeDecoder(common, readRotary(config, common.headSize, common.maxContext,
                                     defaults.rotaryBase));
  decoder.getLayer = [=](int64_t index) {
    DecoderLayer layer =
        makeLayer(common, index, common.attentionBias, common.attentionBias);
    Attention &attention = layer.attention;
    attention.clip = clip;
    attention.queryKeyNorm = Attention::QueryKeyNorm::wholeProjection;
    attention.queryNorm = {layer.prefix + "self_attn.q_norm.weight",
                           attention.query.outputs, common.epsilon};
    attention.keyNorm = {layer.prefix + "self_attn.k_norm.weight",
                         attention.key.outputs, common.epsilon};
    layer.feedForward = makeExperts(layer.prefix + "mlp.", common, experts);
    return layer;
  };
  return decoder;
}
