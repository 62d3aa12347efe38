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
  ExpertConfig experts =
      readExperts(config, {8, 2, 14336, true}, "intermediate_size");
  experts.normalize = true; // whatever the file says
  std::optional<int64_t> window = readWindow(config, std::nullopt);

  Decoder decoder =
      makeDecoder(common, readRotary(config, common.headSize, common.maxContext,
                                     defaults.rotaryBase));
  decoder.getLayer = [=](int64_t index) {
    DecoderLayer layer = makeLayer(common, index, /*projectionBias=*/false,
                                   /*outputBias=*/false);
    layer.attention.window = window;
    Experts block = makeExperts(layer.prefix + "block_sparse_moe.", common,
                                experts, {"w1", "w3", "w2"});
    acceptFusedExperts(block, layer.prefix + "mlp.", "gate");
    layer.feedForward = block;
    return layer;
  };
  return decoder;
}
