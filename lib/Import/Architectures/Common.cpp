//===- Common.cpp - What configurations say alike -------------------------===//
//
// Sizes, limits and tensor names that most decoders of the Llama family share.
//
//===----------------------------------------------------------------------===//

#include "Architectures.h"

#include "llvm/ADT/StringExtras.h"

using namespace mlir::moe;
using llvm::StringLiteral;
using llvm::StringRef;
using llvm::Twine;

Activation mlir::moe::readActivation(Config &config, StringRef key) {
  static constexpr std::pair<StringLiteral, Activation> kNames[] = {
      {"gelu", Activation::gelu},
      {"gelu_fast", Activation::geluTanh},
      {"gelu_new", Activation::geluTanh},
      {"gelu_pytorch_tanh", Activation::geluTanh},
      {"quick_gelu", Activation::quickGelu},
      {"relu", Activation::relu},
      {"sigmoid", Activation::sigmoid},
      {"silu", Activation::silu},
      {"swish", Activation::silu},
  };
  std::string name = config.text({key}, "silu");
  for (const auto &[known, activation] : kNames)
    if (name == known)
      return activation;
  config.fail("'" + key + "': expected " +
              llvm::join(llvm::make_first_range(kNames), ", ") + ", got " +
              quoted(name));
  return Activation::silu;
}

CommonConfig mlir::moe::readCommon(Config &config,
                                   const CommonDefaults &defaults) {
  CommonConfig common;
  common.vocabulary =
      config.integer({"vocab_size"}, defaults.vocabulary, 1, kMaxSize);
  common.hidden =
      config.integer({"hidden_size", "d_model"}, defaults.hidden, 1, kMaxSize);
  common.layers = config.integer({"num_hidden_layers", "n_layers"},
                                 defaults.layers, 1, kMaxLayers);
  common.heads = config.integer({"num_attention_heads", "n_heads"},
                                defaults.heads, 1, kMaxSize);
  // An absent number of key heads has its default; null means as many as heads.
  std::optional<int64_t> keyDefault;
  if (defaults.keyValueHeads)
    keyDefault = defaults.keyValueHeads;
  common.keyValueHeads =
      config.optionalInteger("num_key_value_heads", keyDefault, 1, kMaxSize)
          .value_or(common.heads);
  if (common.heads % common.keyValueHeads != 0)
    config.fail("'num_attention_heads': expected a multiple of "
                "'num_key_value_heads', " +
                Twine(common.keyValueHeads) + ", got " + Twine(common.heads));
  std::optional<int64_t> headDefault;
  if (defaults.headSize)
    headDefault = defaults.headSize;
  common.headSize = config.optionalInteger("head_dim", headDefault, 1, 1 << 16)
                        .value_or(common.hidden / common.heads);
  if (common.headSize < 2 || common.headSize % 2 != 0)
    config.fail(
        "'head_dim': expected an even number for rotary embedding, got " +
        Twine(common.headSize) +
        (config.has("head_dim") ? "" : " (hidden_size / num_attention_heads)"));
  common.maxContext = config.integer({"max_position_embeddings", "max_seq_len"},
                                     defaults.maxContext, 1, kMaxContext);
  common.epsilon = config.number("rms_norm_eps", defaults.epsilon, 0, 1);
  common.activation = readActivation(config, "hidden_act");
  common.attentionBias = config.boolean("attention_bias", false);
  common.tiedEmbeddings = config.boolean("tie_word_embeddings", false);
  std::vector<int64_t> ends =
      config.has("eos_token_id")
          ? config.integers("eos_token_id", -1, (int64_t(1) << 31) - 1)
          : defaults.endOfSequence;
  for (int64_t id : ends)
    if (id >= 0 && id < common.vocabulary) // ids beyond are never generated
      common.endOfSequence.push_back(id);
  return common;
}

ExpertConfig mlir::moe::readExperts(Config &config,
                                    const ExpertConfig &defaults,
                                    StringRef widthKey, bool mayBeNone) {
  ExpertConfig result;
  result.experts =
      config.integer({"num_experts", "num_local_experts", "n_routed_experts"},
                     defaults.experts, mayBeNone ? 0 : 1, kMaxExperts);
  StringRef slots = "num_experts_per_tok";
  if (!defaults.slots && !config.has(slots))
    config.fail("'" + slots + "': expected a number, got none");
  result.slots = config.integer({slots}, defaults.slots, 1,
                                result.experts ? result.experts : kMaxExperts);
  result.width = config.integer({widthKey}, defaults.width, 1, kMaxSize);
  result.normalize = config.boolean("norm_topk_prob", defaults.normalize);
  return result;
}

int64_t mlir::moe::readDenseWidth(Config &config, int64_t otherwise) {
  return config.integer({"intermediate_size"}, otherwise, 1, kMaxSize);
}

int64_t mlir::moe::readLeadingDense(Config &config, int64_t otherwise) {
  return config.integer({"first_k_dense_replace"}, otherwise, 0, kMaxLayers);
}

std::optional<double> mlir::moe::readClip(Config &config) {
  std::optional<double> clip = config.optionalNumber("clip_qkv");
  if (clip && *clip <= 0)
    config.fail("'clip_qkv': expected a number above 0 or null, got " +
                Twine(std::to_string(*clip)));
  return clip;
}

std::optional<int64_t> mlir::moe::readWindow(Config &config,
                                             std::optional<int64_t> otherwise) {
  return config.optionalInteger("sliding_window", otherwise, 1, kMaxContext);
}

std::optional<std::vector<std::string>>
mlir::moe::readLayerTypes(Config &config, int64_t layers,
                          llvm::ArrayRef<StringRef> accepted) {
  std::optional<std::vector<std::string>> types = config.texts("layer_types");
  if (!types)
    return types;
  if (static_cast<int64_t>(types->size()) != layers) {
    config.fail("'layer_types': expected " + Twine(layers) +
                " entries, one a layer, got " + Twine(types->size()));
    return std::nullopt;
  }
  for (const std::string &type : *types)
    if (!llvm::is_contained(accepted, type))
      config.fail("'layer_types': expected " + llvm::join(accepted, " or ") +
                  ", got " + quoted(type));
  return types;
}

void mlir::moe::checkText(Config &config, StringRef key, StringRef expected) {
  std::string text = config.text({key}, expected);
  if (text != expected)
    config.fail("'" + key + "': expected " + quoted(expected) + ", got " +
                quoted(text));
}

bool SparseLayers::hasExperts(int64_t layer) const {
  return !llvm::is_contained(dense, layer) && (layer + 1) % step == 0;
}

SparseLayers mlir::moe::readSparseLayers(Config &config, int64_t layers) {
  SparseLayers sparse;
  sparse.dense = config.integers("mlp_only_layers", 0, layers - 1);
  sparse.step = config.integer({"decoder_sparse_step"}, 1, 1, kMaxLayers);
  return sparse;
}

Decoder mlir::moe::makeDecoder(const CommonConfig &common,
                               const Rotary &rotary) {
  Decoder decoder;
  decoder.embedding = {"model.embed_tokens.weight", common.vocabulary,
                       common.hidden};
  decoder.rotary = rotary;
  decoder.layers = common.layers;
  decoder.head.norm = {"model.norm.weight", common.hidden, common.epsilon};
  decoder.head.projection = {common.tiedEmbeddings ? "model.embed_tokens.weight"
                                                   : "lm_head.weight",
                             "", common.hidden, common.vocabulary};
  decoder.maxContext = common.maxContext;
  decoder.endOfSequence = common.endOfSequence;
  return decoder;
}

DecoderLayer mlir::moe::makeLayer(const CommonConfig &common, int64_t index,
                                  bool projectionBias, bool outputBias) {
  DecoderLayer layer;
  layer.prefix = "model.layers." + std::to_string(index) + ".";
  layer.attentionNorm = {layer.prefix + "input_layernorm.weight", common.hidden,
                         common.epsilon};
  layer.feedForwardNorm = {layer.prefix + "post_attention_layernorm.weight",
                           common.hidden, common.epsilon};

  Attention &attention = layer.attention;
  attention.heads = common.heads;
  attention.keyValueHeads = common.keyValueHeads;
  attention.headSize = common.headSize;
  int64_t queries = common.heads * common.headSize,
          keys = common.keyValueHeads * common.headSize;
  auto linear = [&](StringRef name, int64_t inputs, int64_t outputs,
                    bool bias) -> Linear {
    std::string full = (layer.prefix + "self_attn." + name).str();
    return {full + ".weight", bias ? full + ".bias" : "", inputs, outputs};
  };
  attention.query = linear("q_proj", common.hidden, queries, projectionBias);
  attention.key = linear("k_proj", common.hidden, keys, projectionBias);
  attention.value = linear("v_proj", common.hidden, keys, projectionBias);
  attention.output = linear("o_proj", queries, common.hidden, outputBias);
  return layer;
}

void mlir::moe::setHeadNorms(DecoderLayer &layer, const CommonConfig &common) {
  Attention &attention = layer.attention;
  attention.queryKeyNorm = Attention::QueryKeyNorm::perHead;
  attention.queryNorm = {layer.prefix + "self_attn.q_norm.weight",
                         common.headSize, common.epsilon};
  attention.keyNorm = {layer.prefix + "self_attn.k_norm.weight",
                       common.headSize, common.epsilon};
}

GatedMLP mlir::moe::makeMLP(StringRef prefix, const CommonConfig &common,
                            int64_t width, bool bias) {
  auto linear = [&](StringRef name, int64_t inputs, int64_t outputs) -> Linear {
    std::string full = (prefix + name).str();
    return {full + ".weight", bias ? full + ".bias" : "", inputs, outputs};
  };
  return {linear("gate_proj", common.hidden, width),
          linear("up_proj", common.hidden, width),
          linear("down_proj", width, common.hidden),
          {common.activation}};
}

AttributeMaker<NormalizationAttrInterface> mlir::moe::sumToOne(double epsilon) {
  return [=](mlir::MLIRContext *context) {
    auto type = mlir::Float32Type::get(context);
    return SumToOneAttr::get(context, epsilon
                                          ? mlir::FloatAttr::get(type, epsilon)
                                          : mlir::FloatAttr());
  };
}

Experts mlir::moe::makeExperts(StringRef prefix, const CommonConfig &common,
                               const ExpertConfig &experts,
                               const ExpertNames &names) {
  std::string name = prefix.str();
  Experts result;
  result.router.projection = {name + "gate.weight", "", common.hidden,
                              experts.experts};
  result.router.policy = [=](mlir::MLIRContext *context) {
    return TopKAttr::get(context, experts.slots);
  };
  if (experts.normalize)
    result.router.normalization = sumToOne(0);
  result.experts = experts.experts;
  result.hidden = common.hidden;
  result.width = experts.width;
  result.gating.activation = common.activation;
  auto separate = [&](StringRef matrix, int64_t rows,
                      int64_t columns) -> Weight {
    std::vector<std::string> tensors;
    for (int64_t expert = 0; expert < experts.experts; ++expert)
      tensors.push_back(
          (name + "experts." + Twine(expert) + "." + matrix + ".weight").str());
    return {(name + "experts." + matrix + ".weight").str(),
            stackOf(tensors, {rows, columns})};
  };
  result.gate = separate(names.gate, experts.width, common.hidden);
  result.up = separate(names.up, experts.width, common.hidden);
  result.down = separate(names.down, common.hidden, experts.width);
  acceptFusedExperts(result, name, "gate");
  return result;
}

void mlir::moe::acceptFusedExperts(Experts &experts, const std::string &prefix,
                                   StringRef router) {
  std::string both = prefix + "experts.gate_up_proj";
  Experts fused = experts;
  setFusedExperts(fused, both, {both}, {prefix + "experts.down_proj"});
  for (Weight Experts::*bank : {&Experts::gate, &Experts::up, &Experts::down})
    (experts.*bank).recipe =
        whereStored(both, (fused.*bank).recipe, (experts.*bank).recipe);
  Linear &projection = experts.router.projection;
  std::string name = (prefix + router + ".weight").str();
  if (projection.weight.name != name)
    projection.weight.recipe =
        tensorNamed({projection.weight.name, name},
                    {projection.outputs, projection.inputs});
}

void mlir::moe::setFusedExperts(Experts &experts, std::string name,
                                std::vector<std::string> gateAndUp,
                                std::vector<std::string> down) {
  int64_t count = experts.experts, hidden = experts.hidden,
          width = experts.width;
  Recipe both = tensorNamed(gateAndUp, {count, 2 * width, hidden});
  experts.gate = {name + ".gate", sliceOf(both, /*dim=*/1, 0, width)};
  experts.up = {name + ".up", sliceOf(both, /*dim=*/1, width, width)};
  experts.down = {down.front(), tensorNamed(down, {count, hidden, width})};
}

llvm::ArrayRef<Architecture> mlir::moe::getArchitectures() {
  static constexpr Architecture kArchitectures[] = {
      {"dbrx", describeDbrx},
      {"deepseek_v2", describeDeepseekV2},
      {"deepseek_v3", describeDeepseekV3},
      {"glm4_moe", describeGlm4Moe},
      {"gpt_oss", describeGptOss},
      {"granitemoe", describeGraniteMoe},
      {"llama4_text", describeLlama4Text},
      {"mixtral", describeMixtral},
      {"olmoe", describeOlmoe},
      {"phimoe", describePhimoe},
      {"qwen2_moe", describeQwen2Moe},
      {"qwen3_moe", describeQwen3Moe},
  };
  return kArchitectures;
}
