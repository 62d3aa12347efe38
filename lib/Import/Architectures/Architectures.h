//===- Architectures.h - Known architectures --------------------*- C++ -*-===//
//
// One function per model_type, from configuration to description; and what
// several of them read alike.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_IMPORT_ARCHITECTURES_ARCHITECTURES_H
#define MOE_LIB_IMPORT_ARCHITECTURES_ARCHITECTURES_H

#include "../Config.h"
#include "../Decoder.h"

namespace mlir::moe {

/// Each reads its configuration; errors are kept in `config`.
Decoder describeDbrx(Config &config);
Decoder describeDeepseekV2(Config &config);
Decoder describeDeepseekV3(Config &config);
Decoder describeGlm4Moe(Config &config);
Decoder describeGptOss(Config &config);
Decoder describeGraniteMoe(Config &config);
Decoder describeLlama4Text(Config &config);
Decoder describeMixtral(Config &config);
Decoder describeOlmoe(Config &config);
Decoder describePhimoe(Config &config);
Decoder describeQwen2Moe(Config &config);
Decoder describeQwen3Moe(Config &config);

struct Architecture {
  llvm::StringRef modelType;
  Decoder (*describe)(Config &config);
};
llvm::ArrayRef<Architecture> getArchitectures();
/// For the error about an unknown model_type: which architecture's tensors the
/// checkpoint has; empty if no one's.
std::string describeNearest(const llvm::json::Object &config,
                            const Checkpoint &checkpoint, MLIRContext &context);

/// Defaults that differ between the configuration classes of transformers.
struct CommonDefaults {
  int64_t vocabulary, hidden, layers, heads;
  int64_t keyValueHeads; ///< 0: as many as heads
  int64_t maxContext;
  double epsilon, rotaryBase;
  std::vector<int64_t> endOfSequence;
  int64_t headSize = 0; ///< 0: hidden / heads
};

/// What every decoder's configuration says.
struct CommonConfig {
  int64_t vocabulary, hidden, layers, heads, keyValueHeads, headSize,
      maxContext;
  double epsilon;
  Activation activation;
  bool attentionBias, tiedEmbeddings;
  std::vector<int32_t> endOfSequence;
};
CommonConfig readCommon(Config &config, const CommonDefaults &defaults);
/// An activation by the name that transformers gives it; absent: SiLU.
Activation readActivation(Config &config, llvm::StringRef key);

/// Bounds that keep every product of two sizes within 64 bits and hostile files
/// from making us build for hours.
constexpr int64_t kMaxSize = 1 << 24;
constexpr int64_t kMaxLayers = 4096;
constexpr int64_t kMaxContext = int64_t(1) << 31;
constexpr int64_t kMaxExperts = 1 << 16;

/// Routed experts: how many, how many a token goes to, and how wide.
struct ExpertConfig {
  int64_t experts, slots, width;
  bool normalize = false; ///< scores of the chosen are divided by their sum
};
/// `widthKey` names the width. With `mayBeNone` there may be 0 experts;
/// `defaults.slots` 0: the number must be given.
ExpertConfig readExperts(Config &config, const ExpertConfig &defaults,
                         llvm::StringRef widthKey, bool mayBeNone = false);

/// The width of dense blocks.
int64_t readDenseWidth(Config &config, int64_t otherwise);
/// How many layers before the first with experts.
int64_t readLeadingDense(Config &config, int64_t otherwise);
/// `clip_qkv`: a bound above 0, or none.
std::optional<double> readClip(Config &config);
/// `sliding_window`; null or absent as `otherwise`: all positions.
std::optional<int64_t> readWindow(Config &config,
                                  std::optional<int64_t> otherwise);
/// One of `accepted` for each layer; none where the key is absent.
std::optional<std::vector<std::string>>
readLayerTypes(Config &config, int64_t layers,
               llvm::ArrayRef<llvm::StringRef> accepted);
/// Fails if `key` is there with another text than `expected`.
void checkText(Config &config, llvm::StringRef key, llvm::StringRef expected);

/// Frequencies of rotary embedding: default, linear, llama3 and yarn. With a
/// `defaultShare` only the first entries of a head may turn, that share of them
/// unless `partial_rotary_factor` is there.
Rotary readRotary(Config &config, int64_t headSize, int64_t maxContext,
                  double defaultBase,
                  std::optional<double> defaultShare = std::nullopt);

/// Which layers have experts: all but those in mlp_only_layers, every
/// decoder_sparse_step-th.
struct SparseLayers {
  std::vector<int64_t> dense;
  int64_t step = 1;
  bool hasExperts(int64_t layer) const;
};
SparseLayers readSparseLayers(Config &config, int64_t layers);

/// Embedding, norm, head and limits with the names that most checkpoints use.
Decoder makeDecoder(const CommonConfig &common, const Rotary &rotary);
/// A layer with its norms and projections named as most checkpoints name them;
/// `prefix` as "model.layers.0.".
DecoderLayer makeLayer(const CommonConfig &common, int64_t index,
                       bool projectionBias, bool outputBias);
/// Norms q_norm and k_norm of each head, before rotary embedding.
void setHeadNorms(DecoderLayer &layer, const CommonConfig &common);
/// Weights divided by their sum, to which `epsilon` is added.
AttributeMaker<NormalizationAttrInterface> sumToOne(double epsilon);
/// gate_proj, up_proj and down_proj under `prefix`.
GatedMLP makeMLP(llvm::StringRef prefix, const CommonConfig &common,
                 int64_t width, bool bias = false);

/// What an expert's matrices are called.
struct ExpertNames {
  llvm::StringRef gate = "gate_proj", up = "up_proj", down = "down_proj";
};
/// A router "gate" by softmax and experts under `prefix`, as
/// "model.layers.0.mlp.": one tensor per expert and matrix,
/// "experts.0.gate_proj.weight", or fused, "experts.gate_up_proj" and
/// "experts.down_proj".
Experts makeExperts(llvm::StringRef prefix, const CommonConfig &common,
                    const ExpertConfig &experts, const ExpertNames &names = {});
/// Also reads the names under `prefix` that transformers 5 has in memory.
void acceptFusedExperts(Experts &experts, const std::string &prefix,
                        llvm::StringRef router);
/// Makes the experts read one tensor [experts, 2 width, hidden], gate before
/// up, and one [experts, hidden, width]; of several names the first that the
/// checkpoint has counts. `name` begins those of the weights.
void setFusedExperts(Experts &experts, std::string name,
                     std::vector<std::string> gateAndUp,
                     std::vector<std::string> down);

/// Sizes of latent attention, as DeepSeek names them.
struct LatentConfig {
  int64_t plainSize, rotarySize, valueSize, latentSize;
  std::optional<int64_t> queryRank; ///< none: queries are not compressed
};
LatentConfig readLatent(Config &config, const CommonConfig &common);
LatentAttention makeLatentAttention(const DecoderLayer &layer,
                                    const CommonConfig &common,
                                    const LatentConfig &latent,
                                    const Rotary &rotary);

/// Groups of experts, and how many of them a token keeps.
struct GroupConfig {
  int64_t groups = 1, kept = 1;
};
GroupConfig readGroups(Config &config, const ExpertConfig &experts,
                       const GroupConfig &defaults);
double readRoutedScale(Config &config, double otherwise);
/// How many times the width of a routed expert shared experts have.
int64_t readSharedExperts(Config &config, int64_t otherwise);
/// The router chooses among the experts of the kept groups.
void limitToGroups(Router &router, int64_t slots, const GroupConfig &groups,
                   GroupScore judge);
/// One MLP "shared_experts" as wide as `count` experts, without a gate.
void addSharedExperts(Experts &block, llvm::StringRef prefix,
                      const CommonConfig &common, int64_t count,
                      bool bias = false);
/// Feed-forward blocks as DeepSeek-V3 and those after it have them: an MLP in the
/// first layers, then routed experts beside shared ones. Experts are chosen by
/// sigmoid scores, with a bias for the choice, of the groups with the highest sum
/// of two; weights are divided by their sum, times `scale`.
struct BiasedExpertConfig {
  int64_t denseWidth;
  ExpertConfig experts;
  GroupConfig groups;
  double scale;
  int64_t shared; ///< as readSharedExperts gives it
  int64_t dense;  ///< layers before the first with experts
};
BiasedExpertConfig readBiasedExperts(Config &config,
                                     const BiasedExpertConfig &defaults);
/// The block of layer `index`, under "mlp.".
void setBiasedExperts(DecoderLayer &layer, int64_t index,
                      const CommonConfig &common,
                      const BiasedExpertConfig &blocks);

} // namespace mlir::moe

#endif // MOE_LIB_IMPORT_ARCHITECTURES_ARCHITECTURES_H
