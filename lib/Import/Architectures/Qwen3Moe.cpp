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
  checkActivation(config);
  int64_t denseWidth = config.integer({"intermediate_size"}, 6144, 1, 1 << 24);
  int64_t width = config.integer({"moe_intermediate_size"}, 768, 1, 1 << 24);
  int64_t experts =
      config.integer({"num_experts", "num_local_experts"}, 128, 0, 1 << 16);
  int64_t slots = config.integer({"num_experts_per_tok"}, 8, 1,
                                 experts ? experts : 1 << 16);
  bool normalize = config.boolean("norm_topk_prob", false),
       bias = config.boolean("attention_bias", false);
  SparseLayers sparse = readSparseLayers(config, common.layers);
  std::optional<int64_t> window;
  if (config.boolean("use_sliding_window", false))
    window =
        config.optionalInteger("sliding_window", 4096, 1, int64_t(1) << 31);

  Decoder decoder =
      makeDecoder(common, readRotary(config, common.headSize, common.maxContext,
                                     defaults.rotaryBase));
  decoder.getLayer = [=](int64_t index) {
    DecoderLayer layer = makeLayer(common, index, bias, bias);
    Attention &attention = layer.attention;
    attention.window = window;
    attention.queryKeyNorm = Attention::QueryKeyNorm::perHead;
    attention.queryNorm = {layer.prefix + "self_attn.q_norm.weight",
                           common.headSize, common.epsilon};
    attention.keyNorm = {layer.prefix + "self_attn.k_norm.weight",
                         common.headSize, common.epsilon};
    std::string prefix = layer.prefix + "mlp.";
    if (experts == 0 || !sparse.hasExperts(index))
      layer.feedForward = makeMLP(prefix, common.hidden, denseWidth);
    else
      layer.feedForward =
          makeExperts(prefix, common.hidden, width, experts, slots, normalize);
    return layer;
  };
  return decoder;
}
