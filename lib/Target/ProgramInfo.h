//===- ProgramInfo.h - The description of a program -------------*- C++ -*-===//
//
// Emits the constants that include/moe/Runtime/Program.h declares.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_TARGET_PROGRAMINFO_H
#define MOE_LIB_TARGET_PROGRAMINFO_H

#include "moe/Target/Translate.h"

namespace mlir::moe {

/// Adds `moe_program` to `program`: what `module` says of its public functions, state and weights, and for each
/// function an entry point that takes an array of pointers.
LogicalResult emitProgramInfo(ModuleOp module, llvm::Module &program, const ProgramFacts &facts);

} // namespace mlir::moe

#endif // MOE_LIB_TARGET_PROGRAMINFO_H
