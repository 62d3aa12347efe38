//===- Crash.h - When the compiler itself fails -----------------*- C++ -*-===//
//
// The libraries below have bugs of their own. A user sees one line of them.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_IMPORT_CRASH_H
#define MOE_IMPORT_CRASH_H

namespace mlir::moe {

/// From here on, a signal that stands for a bug removes unfinished outputs,
/// says so in one line as `tool`, and exits with status 1. To be called after
/// llvm::InitLLVM, whose stack dump this replaces. `tool` must stay.
void reportCrashes(const char *tool);

} // namespace mlir::moe

#endif // MOE_IMPORT_CRASH_H
