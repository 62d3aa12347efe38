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
};

struct Stage {
  StringLiteral name;
  StringLiteral form; ///< what --emit calls its result
  StringLiteral help;
  /// Dialects whose operations may stand at the end; "moe.target" style attributes are free.
  ArrayRef<StringLiteral> dialects;
  /// What is wrong with the form of an operation of these dialects; empty if nothing. May be null.
  std::string (*checkForm)(Operation *op);
  /// Adds the passes; null for import, which is done by readers.
  void (*build)(OpPassManager &pm, const StageOptions &options);
};

/// All stages, in order.
ArrayRef<Stage> getStages();

/// The stage of that name, or null.
const Stage *lookupStage(StringRef name);

/// The table for people, in Markdown; docs/Architecture.md has it.
void printStages(raw_ostream &os);

/// Checks the contract of `stage`; reports the first operation that breaks it.
LogicalResult verifyStage(Operation *module, const Stage &stage);

} // namespace mlir::moe

#endif // MOE_PIPELINES_STAGES_H
