//===- Mixtral.cpp - model_type "mixtral" ---------------------------------===//
//
// Grouped-query attention, an optional window in all layers, experts in all
// layers, scores divided by their sum.
//
//===----------------------------------------------------------------------===//

#include "Architectures.h"

using namespace mlir::moe;

Decoder mlir::moe::describeMixtral(Config &config) {
  CommonDefaults defaults{32000, 4096, 32, 32, 8, 131072, 1e-5, 1e6, {2}};
  CommonConfig common = readCommon(config, defaults);
  checkActivation(config);
  int64_t width = config.integer({"intermediate_size"}, 14336, 1, 1 << 24);
  int64_t experts =
      config.integer({"num_local_experts", "num_experts"}, 8, 1, 1 << 16);
  int64_t slots = config.integer({"num_experts_per_tok"}, 2, 1, experts);
  std::optional<int64_t> window = config.optionalInteger(
      "sliding_window", std::nullopt, 1, int64_t(1) << 31);

  Decoder decoder =
      makeDecoder(common, readRotary(config, common.headSize, common.maxContext,
                                     defaults.rotaryBase));
  decoder.getLayer = [=](int64_t index) {
    DecoderLayer layer = makeLayer(common, index, /*projectionBias=*/false,
                                   /*outputBias=*/false);
    layer.attention.window = window;
    std::string prefix = layer.prefix + "block_sparse_moe.";
    Experts block = makeExperts(prefix, common.hidden, width, experts, slots,
                                /*normalize=*/true);
    block.gate = {prefix + "experts.", ".w1.weight"};
    block.up = {prefix + "experts.", ".w3.weight"};
    block.down = {prefix + "experts.", ".w2.weight"};
    layer.feedForward = block;
    return layer;
  };
  return decoder;
}
