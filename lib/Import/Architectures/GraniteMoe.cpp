//===- GraniteMoe.cpp - model_type "granitemoe" ---------------------------===//
//
// Four scalar multipliers, softmax over the selected experts, fused expert
// tensors.
//
//===----------------------------------------------------------------------===//

#include "Architectures.h"

using namespace mlir::moe;

namespace {
double readMultiplier(Config &config, llvm::StringRef key) {
  return config.number(key, 1, -1e6, 1e6);
}
} // namespace

Decoder mlir::moe::describeGraniteMoe(Config &config) {
  CommonDefaults defaults{32000, 4096, 32, 32, 0, 2048, 1e-6, 1e4, {2}};
  CommonConfig common = readCommon(config, defaults);
  ExpertConfig experts =
      readExperts(config, {8, 2, 11008}, "intermediate_size");
  double residual = readMultiplier(config, "residual_multiplier"),
         attention = readMultiplier(config, "attention_multiplier");

  Decoder decoder =
      makeDecoder(common, readRotary(config, common.headSize, common.maxContext,
                                     defaults.rotaryBase));
  decoder.embedding.scale = readMultiplier(config, "embedding_multiplier");
  decoder.head.divisor = readMultiplier(config, "logits_scaling");
  if (decoder.head.divisor == 0)
    config.fail("'logits_scaling': expected another number than 0");
  decoder.getLayer = [=](int64_t index) {
    DecoderLayer layer =
        makeLayer(common, index, common.attentionBias, common.attentionBias);
    layer.residualScale = residual;
    layer.attention.scale = attention;
    std::string prefix = layer.prefix + "block_sparse_moe.";
    Experts block = makeExperts(prefix, common, experts);
    // As files have them, and as transformers 5 has them in memory.
    block.router.projection.weight = {
        prefix + "router.layer.weight",
        tensorNamed({prefix + "router.layer.weight", prefix + "router.weight"},
                    {experts.experts, common.hidden})};
    block.router.score = made<IdentityAttr>();
    block.router.normalization = made<SoftmaxSelectedAttr>();
    setFusedExperts(
        block, prefix + "input_linear.weight",
        {prefix + "input_linear.weight", prefix + "experts.gate_up_proj"},
        {prefix + "output_linear.weight", prefix + "experts.down_proj"});
    layer.feedForward = block;
    return layer;
  };
  return decoder;
}
