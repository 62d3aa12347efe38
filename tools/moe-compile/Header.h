//===- Header.h - The C header of a shared library --------------*- C++ -*-===//
//
// Writes the header that goes with --emit=shared.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TOOLS_MOE_COMPILE_HEADER_H
#define MOE_TOOLS_MOE_COMPILE_HEADER_H

#include "moe/Target/OutputFiles.h"
#include "moe/Target/Translate.h"

/// Writes `FILE.h` beside the library `FILE.so`: the functions of the program, then the interface of the runtime.
llvm::Error writeHeader(mlir::moe::OutputFiles &outputs, llvm::StringRef library, mlir::ModuleOp module,
                        const mlir::moe::ProgramFacts &facts);

#endif // MOE_TOOLS_MOE_COMPILE_HEADER_H
