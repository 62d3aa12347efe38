//===- LatentConfig.cpp - Sizes and names of latent attention -------------===//
//
// What the configurations of DeepSeek and its descendants say alike, and the
// names of the tensors.
//
//===----------------------------------------------------------------------===//

#include "Architectures.h"

#include <cmath>

using namespace mlir::moe;

LatentConfig mlir::moe::readLatent(Config &config, const CommonConfig &common) {
  LatentConfig latent;
  latent.plainSize = config.integer({"qk_nope_head_dim"}, 128, 1, kMaxSize);
  latent.rotarySize = config.integer({"qk_rope_head_dim"}, 64, 2, kMaxSize);
  latent.valueSize = config.integer({"v_head_dim"}, 128, 1, kMaxSize);
  latent.latentSize = config.integer({"kv_lora_rank"}, 512, 1, kMaxSize);
  latent.queryRank = config.optionalInteger("q_lora_rank", 1536, 1, kMaxSize);
  if (common.keyValueHeads != common.heads)
    config.fail("'num_key_value_heads': expected as many as "
                "'num_attention_heads', " +
                llvm::Twine(common.heads) + ", got " +
                llvm::Twine(common.keyValueHeads) +
                "; all heads share the latent");
  return latent;
}

LatentAttention mlir::moe::makeLatentAttention(const DecoderLayer &layer,
                                               const CommonConfig &common,
                                               const LatentConfig &latent,
                                               const Rotary &rotary) {
  // The class of these norms is made with its default, whatever the file says.
  constexpr double kEpsilon = 1e-6;
  std::string prefix = layer.prefix + "self_attn.";
  int64_t querySize = latent.plainSize + latent.rotarySize,
          queries = common.heads * querySize;
  auto linear = [&](llvm::StringRef name, int64_t inputs, int64_t outputs,
                    bool bias) -> Linear {
    std::string full = (prefix + name).str();
    return {full + ".weight", bias ? full + ".bias" : "", inputs, outputs};
  };

  LatentAttention attention;
  attention.heads = common.heads;
  attention.plainSize = latent.plainSize;
  attention.rotarySize = latent.rotarySize;
  attention.valueSize = latent.valueSize;
  attention.latentSize = latent.latentSize;
  if (latent.queryRank) {
    int64_t rank = *latent.queryRank;
    attention.queryDown =
        linear("q_a_proj", common.hidden, rank, common.attentionBias);
    attention.queryNorm = {prefix + "q_a_layernorm.weight", rank, kEpsilon};
    attention.query = linear("q_b_proj", rank, queries, /*bias=*/false);
  } else {
    attention.query = linear("q_proj", common.hidden, queries, /*bias=*/false);
  }
  attention.latent =
      linear("kv_a_proj_with_mqa", common.hidden,
             latent.latentSize + latent.rotarySize, common.attentionBias);
  attention.latentNorm = {prefix + "kv_a_layernorm.weight", latent.latentSize,
                          kEpsilon};
  attention.expansion = prefix + "kv_b_proj.weight";
  attention.output = linear("o_proj", common.heads * latent.valueSize,
                            common.hidden, common.attentionBias);
  attention.scale =
      rotary.scoreScale / std::sqrt(static_cast<double>(querySize));
  return attention;
}
