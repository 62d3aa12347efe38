//===- Link.h - From object files to programs -------------------*- C++ -*-===//
//
// Links a program's object file with the runtime, by the system's compiler driver.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TARGET_LINK_H
#define MOE_TARGET_LINK_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <string>

namespace mlir::moe {

struct LinkOptions {
  std::string object;  ///< path of the object file
  std::string output;  ///< path of the program or library, written in place
  std::string libraries; ///< folder with libMoERuntime.a, libMoERuntimeMain.a and MoERuntime.exports
  std::string scratch; ///< path of a file for messages of the linker
  bool shared = false; ///< a shared library in place of an executable
};

/// Runs the linker; its first line of complaint becomes the error.
llvm::Error linkProgram(const LinkOptions &options);

/// Makes a shared library of the object file alone: the image of kernels for the host that stands in for a device.
llvm::Error linkImage(const LinkOptions &options);

} // namespace mlir::moe

#endif // MOE_TARGET_LINK_H
