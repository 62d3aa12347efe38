//===- PackWeights.h - Writes the weights file of a program -----*- C++ -*-===//
//
// Executes the recipes of a module's globals, tensor by tensor, into the file
// that the program maps.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_IMPORT_PACKWEIGHTS_H
#define MOE_IMPORT_PACKWEIGHTS_H

#include "moe/Dialect/MoE/IR/TensorReader.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/STLFunctionalExtras.h"

#include <array>
#include <string>
#include <vector>

namespace mlir::moe {

class RecipeAttrInterface;

/// One tensor of the weights file.
struct Parameter {
  std::string name; ///< of the global; components of a bank with more than one
                    ///< are numbered: "experts.0"
  Attribute recipe; ///< a RecipeAttrInterface
  RankedTensorType type;
  uint64_t offset = 0; ///< bytes from the start of the file
  uint64_t size = 0;   ///< bytes
};

/// Bytes that the global value `recipe` (a recipe, or a bank's recipes) takes
/// in the file: its components follow each other, each at a multiple of 64.
uint64_t getParameterBytes(Attribute recipe);

/// The tensors of all globals that have a `moe.offset`, in order of offset.
/// Fails if they overlap, are not aligned or have types that are not those of
/// their recipes.
llvm::Expected<std::vector<Parameter>> getParameters(ModuleOp module);

struct PackedWeights {
  uint64_t fileSize = 0;
  uint64_t dataChecksum = 0;
  std::array<uint8_t, 16> buildId{};
};

/// Writes the weights file of `module` to `path`, which is replaced. The build
/// id is a hash of `identity` (compiler, options, program text), of the table
/// of tensors and of their data; the program must be given the same. On failure
/// nothing is left at `path`. `progress` is told the bytes written so far and
/// in all.
llvm::Expected<PackedWeights>
writeWeights(ModuleOp module, TensorReader &reader, llvm::StringRef path,
             llvm::StringRef identity,
             llvm::function_ref<void(uint64_t done, uint64_t total)> progress);

/// Build id of a program without weights.
std::array<uint8_t, 16> getBuildId(llvm::StringRef identity);

/// A line on standard error that shows how far packing is, if that is a
/// terminal.
class ProgressBar {
public:
  explicit ProgressBar(llvm::StringRef label);
  ~ProgressBar();
  void update(uint64_t done, uint64_t total);

private:
  std::string label;
  bool visible;
  int shown = -1; ///< per mille
};

} // namespace mlir::moe

#endif // MOE_IMPORT_PACKWEIGHTS_H
