//===- Qwen2Moe.cpp - model_type "qwen2_moe" ------------------------------===//
//
// Biases in the projections, a shared expert behind a gate, dense layers in
// between, windows in some layers.
//
//===----------------------------------------------------------------------===//

#include "Architectures.h"

using namespace mlir::moe;

namespace {

/// The window of each layer; none: the layer sees all positions.
std::vector<std::optional<int64_t>> readWindows(Config &config,
                                                int64_t layers) {
  bool enabled = config.boolean("use_sliding_window", false);
  // Unused configurations carry 0 here.
  std::optional<int64_t> window =
      config.optionalInteger("sliding_window", 4096, 0, int64_t(1) << 31);
  int64_t count =
      config.integer({"max_window_layers"}, 28, 0, int64_t(1) << 31);
  std::optional<std::vector<std::string>> types =
      readLayerTypes(config, layers, {"full_attention", "sliding_attention"});
  std::vector<std::optional<int64_t>> windows(layers);
  for (int64_t layer = 0; layer < layers; ++layer) {
    bool slides = types ? (*types)[layer] == "sliding_attention"
                        : enabled && layer % 2 == 0 && layer < count;
    if (!slides)
      continue;
    if (!enabled || !window || *window < 1)
      config.fail("'sliding_window': expected a number above 0 and "
                  "'use_sliding_window' true, since layer " +
                  llvm::Twine(layer) + " has a window");
    windows[layer] = window;
  }
  return windows;
}

} // namespace

Decoder mlir::moe::describeQwen2Moe(Config &config) {
  CommonDefaults defaults{151936, 2048, 24, 16, 16, 32768, 1e-6, 1e4, {}};
  CommonConfig common = readCommon(config, defaults);
  int64_t denseWidth = readDenseWidth(config, 5632);
  ExpertConfig experts =
      readExperts(config, {60, 4, 1408, false}, "moe_intermediate_size",
                  /*mayBeNone=*/true);
  int64_t sharedWidth =
      config.integer({"shared_expert_intermediate_size"}, 5632, 1, kMaxSize);
  bool bias = config.boolean("qkv_bias", true);
  SparseLayers sparse = readSparseLayers(config, common.layers);
  std::vector<std::optional<int64_t>> windows =
      readWindows(config, common.layers);

  Decoder decoder =
      makeDecoder(common, readRotary(config, common.headSize, common.maxContext,
                                     defaults.rotaryBase));
  decoder.getLayer = [=](int64_t index) {
    DecoderLayer layer = makeLayer(common, index, bias, /*outputBias=*/false);
    layer.attention.window = windows[index];
    std::string prefix = layer.prefix + "mlp.";
    if (experts.experts == 0 || !sparse.hasExperts(index)) {
      layer.feedForward = makeMLP(prefix, common, denseWidth);
      return layer;
    }
    Experts block = makeExperts(prefix, common, experts);
    block.shared = SharedExpert{
        makeMLP(prefix + "shared_expert.", common, sharedWidth),
        Linear{prefix + "shared_expert_gate.weight", "", common.hidden, 1}};
    layer.feedForward = block;
    return layer;
  };
  return decoder;
}
