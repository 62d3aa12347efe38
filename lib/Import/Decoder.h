//===- Decoder.h - A decoder as a composition of blocks ---------*- C++ -*-===//
//
// What an architecture decides: sizes, names and blocks of each layer. Building
// is the same for all.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_IMPORT_DECODER_H
#define MOE_LIB_IMPORT_DECODER_H

#include "Blocks/Blocks.h"

#include <functional>
#include <variant>

namespace mlir::moe {

struct DecoderLayer {
  std::string prefix; ///< of its tensors: "model.layers.0."
  RMSNorm attentionNorm, feedForwardNorm;
  Attention attention;
  std::optional<LatentAttention> latentAttention; ///< in place of `attention`
  std::variant<Experts, GatedMLP> feedForward;
  double residualScale = 1; ///< of what either block adds to the stream
};

struct Decoder {
  Embedding embedding;
  Rotary rotary;
  int64_t layers = 0;
  std::function<DecoderLayer(int64_t index)> getLayer;
  OutputHead head;
  int64_t maxContext = 0;
  std::vector<int32_t> endOfSequence;
};

/// Builds `@forward` and the functions of its layers. Errors are kept in the
/// model.
void buildDecoder(Model &model, const Decoder &decoder);

} // namespace mlir::moe

#endif // MOE_LIB_IMPORT_DECODER_H
