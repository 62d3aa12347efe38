//===- Options.h - The command line of moe-compile --------------*- C++ -*-===//
//
// What may be asked for, checked as far as it can be without reading the input.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TOOLS_MOE_COMPILE_OPTIONS_H
#define MOE_TOOLS_MOE_COMPILE_OPTIONS_H

#include "moe/Pipelines/Stages.h"

#include <string>

struct CompileOptions {
  std::string input;
  std::string output;
  std::string weights; ///< safetensors file of a .mlir input, or empty
  mlir::moe::Target target = mlir::moe::Target::CPU;
  std::string cpu;
  std::string chip;      ///< of the device, where the target has one
  int64_t maxTokens = 0; ///< of one call
  bool exact = false;    ///< f32 arithmetic on a device, whatever banks are stored in
  bool sayProducts = false; ///< which products are on tensor cores
  int64_t tokenTile = 0; ///< the one tile of products on tensor cores, or 0
  std::string emit; ///< "exe", "shared", "obj", "asm", "llvm", "ptx", "cubin", or empty where IR of a stage is written
  const mlir::moe::Stage *lastStage = nullptr;
  std::string dumpFolder;
  std::string forceClass; ///< the one kernel class to use, or empty
  bool reference = false;
  bool verbose = false;

  bool isProgram() const { return emit == "exe" || emit == "shared"; }
  bool isDeviceOnly() const { return emit == "ptx" || emit == "cubin"; }
  /// Whether the output needs its weights file written beside it.
  bool needsWeights() const { return isProgram() || emit == "obj"; }
};

/// "moe-compile 0.1.0 (LLVM 22.1.8)".
std::string getCompilerVersion();

/// Reads the command line; ends the process for --help, --version and what makes no sense.
CompileOptions parseCommandLine(int argc, char **argv);

#endif // MOE_TOOLS_MOE_COMPILE_OPTIONS_H
