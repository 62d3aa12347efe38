//===- Link.cpp - From object files to programs ---------------------------===//
//
// Finds a compiler driver and runs it as a linker.
//
//===----------------------------------------------------------------------===//

#include "moe/Target/Link.h"

#include "RunTool.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Program.h"

using namespace mlir::moe;

static llvm::Expected<std::string> findDriver() {
  for (const char *name : {"clang-22", "clang", "cc", "gcc"})
    if (auto path = llvm::sys::findProgramByName(name))
      return *path;
  return llvm::createStringError("no compiler driver to link with: expected clang-22, clang, cc or gcc on PATH");
}

/// LLVM's OpenMP runtime: the one of our LLVM, or what the linker finds under its name.
static std::string findOpenMP() {
  std::string ours = MOE_LLVM_LIBRARY_DIR "/libomp.so";
  return llvm::sys::fs::exists(ours) ? ours : "-lomp";
}

llvm::Error mlir::moe::linkProgram(const LinkOptions &options) {
  llvm::Expected<std::string> driver = findDriver();
  if (!driver)
    return driver.takeError();
  std::string runtime = options.libraries + "/libMoERuntime.a", main = options.libraries + "/libMoERuntimeMain.a";
  for (const std::string &library : {runtime, main})
    if (!llvm::sys::fs::exists(library))
      return llvm::createStringError("cannot link: expected the runtime library at '" + library + "'");

  std::string openMP = findOpenMP(), exports = "-Wl,--version-script=" + options.libraries + "/MoERuntime.exports";
  llvm::SmallVector<llvm::StringRef> arguments{*driver, "-o", options.output, options.object};
  if (options.shared) {
    // The caller is not known yet, so the whole C interface goes in.
    arguments.append({"-shared", "-Wl,--whole-archive", runtime, "-Wl,--no-whole-archive", exports});
  } else {
    arguments.append({"-pie", main, runtime});
  }
  arguments.append({"-Wl,--gc-sections", "-Wl,--as-needed", openMP, "-lstdc++", "-lm", "-lpthread"});
  if (llvm::StringRef sanitize = MOE_SANITIZE_FLAGS; !sanitize.empty())
    arguments.push_back(sanitize);
  return runTool(*driver, arguments, options.scratch, "linking with ");
}

llvm::Error mlir::moe::linkImage(const LinkOptions &options) {
  llvm::Expected<std::string> driver = findDriver();
  if (!driver)
    return driver.takeError();
  return runTool(*driver, {*driver, "-shared", "-o", options.output, options.object, "-lm"}, options.scratch,
                 "linking with ");
}
