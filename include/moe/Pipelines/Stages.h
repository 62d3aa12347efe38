//===- Stages.h - The stages as data ----------------------------*- C++ -*-===//
//
// One table: what stages there are, what each promises, how it is built. It drives moe-compile's --emit,
// --stop-after and --dump-dir, the contract check and the documentation.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_PIPELINES_STAGES_H
#define MOE_PIPELINES_STAGES_H

#include "mlir/IR/Operation.h"
#include "mlir/Pass/PassManager.h"

namespace mlir::moe {

/// What the compiler was asked for, as far as pipelines depend on it.
struct StageOptions {
  bool reference = false; ///< the plainest lowering
  std::string forceClass; ///< the one kernel class to use, or empty
  bool exact = false; ///< f32 arithmetic on a device, whatever banks are stored in
  int64_t tokenTile = 0; ///< the one tile of products on tensor cores, or 0
};

/// What is compiled for.
enum class Target { CPU, NVPTX };

/// The target that `--target` calls `name`, or nothing.
std::optional<Target> lookupTarget(StringRef name);

struct Stage {
  StringLiteral name;
  StringLiteral pipeline; ///< its name in moe-opt
  StringLiteral form;     ///< what --emit calls its result
  StringLiteral help;
  /// Dialects whose operations may stand at the end; "moe.target" style attributes are free.
  ArrayRef<StringLiteral> dialects;
  /// What is wrong with the form of an operation of these dialects; empty if nothing. May be null.
  std::string (*checkForm)(Operation *op);
  /// Adds the passes; null for import, which is done by readers.
  void (*build)(OpPassManager &pm, const StageOptions &options);
};

/// All stages of a target, in order.
ArrayRef<Stage> getStages(Target target);

/// The stage of that name, or null.
const Stage *lookupStage(StringRef name, Target target);

/// The stage at whose end recipes and places of weights are final.
const Stage *getWeightsStage(Target target);

/// The table for people, in Markdown; docs/Architecture.md has it.
void printStages(raw_ostream &os);

/// Checks the contract of `stage`; reports the first operation that breaks it.
LogicalResult verifyStage(Operation *module, const Stage &stage);

} // namespace mlir::moe

#endif // MOE_PIPELINES_STAGES_H
