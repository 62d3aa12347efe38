//===- RunTool.h - Other programs -------------------------------*- C++ -*-===//
//
// How the linker and the assembler are run.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_TARGET_RUNTOOL_H
#define MOE_LIB_TARGET_RUNTOOL_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/Error.h"

namespace mlir::moe {

/// Runs `tool`, which writes to the file `messages` what it has to say. The first line of that becomes the error, after
/// `doing`, the tool's name and "failed".
llvm::Error runTool(llvm::StringRef tool, llvm::ArrayRef<llvm::StringRef> arguments, llvm::StringRef messages,
                    const llvm::Twine &doing = "");

} // namespace mlir::moe

#endif // MOE_LIB_TARGET_RUNTOOL_H
