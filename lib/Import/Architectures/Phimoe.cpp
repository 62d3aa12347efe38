//===- Phimoe.cpp - model_type "phimoe" -----------------------------------===//
//
// Two experts picked one after the other (SparseMixer), layer norms with a
// bias, biases in attention and output head.
//
//===----------------------------------------------------------------------===//

#include "Architectures.h"

#include <cmath>

using namespace mlir::moe;

namespace {
/// Whatever num_experts_per_tok says: SparseMixer knows no other number.
constexpr int64_t kSlots = 2;

RMSNorm makeNorm(const std::string &name, const CommonConfig &common) {
  return {name + ".weight", common.hidden, common.epsilon, /*centered=*/true,
          name + ".bias"};
}
/// longrope changes frequencies and scale once a sequence outgrows the context
/// of the first training. Up to there each position has one embedding, so the
/// model ends there.
Rotary readLongRotary(Config &config, Config &parameters, CommonConfig &common,
                      double base) {
  llvm::StringRef key = "original_max_position_embeddings";
  int64_t whole = common.maxContext;
  common.maxContext =
      (config.has(key) ? config : parameters).integer({key}, whole, 1, whole);
  if (common.maxContext < whole)
    parameters.warn("longrope: the program's context is " +
                    llvm::Twine(common.maxContext) + " positions ('" + key +
                    "') and not " + llvm::Twine(whole) +
                    ", since a longer sequence would embed all of its "
                    "positions anew");
  base = parameters.number(
      "rope_theta", config.number("rope_theta", base, 1e-6, 1e18), 1e-6, 1e18);
  Rotary rotary;
  rotary.scaling =
      static_cast<float>(parameters.number("short_mscale", 1, 0, 1e9));
  std::vector<double> factors = parameters.numbers("short_factor", 1e-9, 1e9);
  int64_t size = common.headSize;
  if (static_cast<int64_t>(factors.size()) != size / 2)
    parameters.fail("'short_factor': expected " + llvm::Twine(size / 2) +
                    " numbers, got " + llvm::Twine(factors.size()));
  for (auto [index, factor] : llvm::enumerate(factors)) {
    float share = static_cast<float>(2 * index) / size;
    rotary.inverseFrequencies.push_back(
        1.0f / (static_cast<float>(factor) *
                static_cast<float>(std::pow(base, double(share)))));
  }
  config.adopt(parameters);
  return rotary;
}

Rotary readPhiRotary(Config &config, CommonConfig &common, double base) {
  llvm::StringRef key =
      config.has("rope_scaling") ? "rope_scaling" : "rope_parameters";
  Config parameters = config.section(key);
  if (parameters.text({"rope_type", "type"}, "default") == "longrope")
    return readLongRotary(config, parameters, common, base);
  return readRotary(config, common.headSize, common.maxContext, base);
}

} // namespace

Decoder mlir::moe::describePhimoe(Config &config) {
  CommonDefaults defaults{32064, 4096, 32, 32, 8, 131072, 1e-5, 1e6, {2}};
  CommonConfig common = readCommon(config, defaults);
  ExpertConfig experts =
      readExperts(config, {16, kSlots, 6400}, "intermediate_size");
  experts.slots = kSlots;
  if (experts.experts < kSlots)
    config.fail("'num_local_experts': expected at least 2, got " +
                llvm::Twine(experts.experts));
  double jitter = config.number("router_jitter_noise", 0.01, 0, 1e6);
  std::optional<int64_t> window = readWindow(config, std::nullopt);
  bool headBias = config.boolean("lm_head_bias", false);

  Rotary rotary = readPhiRotary(config, common, defaults.rotaryBase);
  Decoder decoder = makeDecoder(common, rotary);
  decoder.head.norm = makeNorm("model.norm", common);
  if (headBias)
    decoder.head.projection.bias = "lm_head.bias";
  decoder.getLayer = [=](int64_t index) {
    DecoderLayer layer =
        makeLayer(common, index, common.attentionBias, common.attentionBias);
    layer.attentionNorm = makeNorm(layer.prefix + "input_layernorm", common);
    layer.feedForwardNorm =
        makeNorm(layer.prefix + "post_attention_layernorm", common);
    layer.attention.window = window;
    Experts block = makeExperts(layer.prefix + "block_sparse_moe.", common,
                                experts, {"w1", "w3", "w2"});
    acceptFusedExperts(block, layer.prefix + "mlp.", "router");
    block.router.score = made<IdentityAttr>();
    block.router.policy = [=](mlir::MLIRContext *context) {
      auto type = mlir::Float32Type::get(context);
      return SequentialMaskedAttr::get(context, kSlots,
                                       mlir::FloatAttr::get(type, jitter));
    };
    layer.feedForward = block;
    return layer;
  };
  return decoder;
}
