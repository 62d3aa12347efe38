//===- GptOss.cpp - model_type "gpt_oss" ----------------------------------===//
//
// Attention sinks, windows in every second layer, biases everywhere, experts
// stored [in, out] with gate and up interleaved, and a clamped gate.
//
//===----------------------------------------------------------------------===//

#include "Architectures.h"

using namespace mlir::moe;

namespace {

/// Without parameters the checkpoint means yarn with these.
Rotary readRotaryOrYarn(Config &config, const CommonConfig &common) {
  double base = 150000;
  if (config.has("rope_parameters") || config.has("rope_scaling"))
    return readRotary(config, common.headSize, common.maxContext, base);
  static const llvm::json::Object kYarn{
      {"rope_parameters",
       llvm::json::Object{{"rope_type", "yarn"},
                          {"factor", 32},
                          {"beta_fast", 32},
                          {"beta_slow", 1},
                          {"truncate", false},
                          {"original_max_position_embeddings", 4096}}}};
  Config yarn(kYarn, config.getName());
  base = config.number("rope_theta", base, 1e-6, 1e18);
  return readRotary(yarn, common.headSize, common.maxContext, base);
}

/// The window of each layer; none: the layer sees all positions.
std::vector<std::optional<int64_t>> readWindows(Config &config,
                                                int64_t layers) {
  std::optional<int64_t> window = readWindow(config, 128);
  std::optional<std::vector<std::string>> types =
      readLayerTypes(config, layers, {"full_attention", "sliding_attention"});
  std::vector<std::optional<int64_t>> windows(layers);
  for (int64_t layer = 0; layer < layers; ++layer) {
    if (types ? (*types)[layer] != "sliding_attention" : layer % 2 != 0)
      continue;
    if (!window)
      config.fail("'sliding_window': expected a number, since layer " +
                  llvm::Twine(layer) + " has a window, got null");
    windows[layer] = window;
  }
  return windows;
}

/// The banks of `block`, from tensors [experts, in, out] whose gate and up take
/// turns in the last dimension.
void setExperts(Experts &block, const std::string &prefix) {
  int64_t count = block.experts, hidden = block.hidden, width = block.width;
  std::string both = prefix + "gate_up_proj", down = prefix + "down_proj";
  auto matrix = [&](int64_t offset) {
    return transposeOf(sliceOf(tensorNamed({both}, {count, hidden, 2 * width}),
                               /*dim=*/2, offset, width, /*stride=*/2),
                       {0, 2, 1});
  };
  auto bias = [&](int64_t offset) {
    return sliceOf(tensorNamed({both + "_bias"}, {count, 2 * width}),
                   /*dim=*/1, offset, width, /*stride=*/2);
  };
  block.gate = {both + ".gate", matrix(0)};
  block.gateBias = {both + "_bias.gate", bias(0)};
  block.up = {both + ".up", matrix(1)};
  block.upBias = {both + "_bias.up", bias(1)};
  block.down = {down, transposeOf(tensorNamed({down}, {count, width, hidden}),
                                  {0, 2, 1})};
  block.downBias = down + "_bias";
}

} // namespace

Decoder mlir::moe::describeGptOss(Config &config) {
  CommonDefaults defaults{201088, 2880, 36,     64, 8,
                          131072, 1e-5, 150000, {}, 64};
  CommonConfig common = readCommon(config, defaults);
  bool bias = config.boolean("attention_bias", true);
  ExpertConfig experts =
      readExperts(config, {128, 4, 2880}, "intermediate_size");
  Gating gating;
  gating.clamped = {config.number("swiglu_alpha", 1.702, -1e6, 1e6),
                    config.number("swiglu_limit", 7, 0, 1e30)};
  std::vector<std::optional<int64_t>> windows =
      readWindows(config, common.layers);

  Decoder decoder = makeDecoder(common, readRotaryOrYarn(config, common));
  decoder.getLayer = [=](int64_t index) {
    DecoderLayer layer = makeLayer(common, index, bias, bias);
    layer.attention.window = windows[index];
    layer.attention.sinks = layer.prefix + "self_attn.sinks";
    std::string prefix = layer.prefix + "mlp.";
    Experts block = makeExperts(prefix, common, experts);
    block.router.projection.weight = prefix + "router.weight";
    block.router.projection.bias = prefix + "router.bias";
    block.router.score = made<IdentityAttr>();
    block.router.normalization = made<SoftmaxSelectedAttr>();
    block.gating = gating;
    setExperts(block, prefix + "experts.");
    layer.feedForward = block;
    return layer;
  };
  return decoder;
}
