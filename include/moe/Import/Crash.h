//===- Crash.h - When the compiler itself fails -----------------*- C++ -*-===//
//
// The libraries below have bugs of their own. A user sees one line of them.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_IMPORT_CRASH_H
#define MOE_IMPORT_CRASH_H

#include "llvm/ADT/StringRef.h"
#include "llvm/ADT/Twine.h"

#include <string>

namespace mlir::moe {

/// From here on, a signal that stands for a bug, memory that cannot be had and
/// what LLVM ends programs for remove unfinished outputs, say so in one line
/// as `tool`, and exit with status 1. To be called after llvm::InitLLVM, whose
/// stack dump this replaces. `tool` must stay.
void reportCrashes(const char *tool);

/// While one lives, what reportCrashes reports is blamed on the parser and the
/// file that it reads: parsers of LLVM's operations do not stand every text.
class ParsingScope {
public:
  explicit ParsingScope(llvm::StringRef file);
  ~ParsingScope();
  ParsingScope(const ParsingScope &) = delete;
  ParsingScope &operator=(const ParsingScope &) = delete;

private:
  std::string file;
};

/// Removes unfinished outputs and ends the tool with status 1, at once: nothing
/// is destroyed. The second says first, as the tool, what is wrong.
[[noreturn]] void exitFailed();
[[noreturn]] void exitFailed(const llvm::Twine &message);

} // namespace mlir::moe

#endif // MOE_IMPORT_CRASH_H
