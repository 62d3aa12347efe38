//===- Import.h - From files to a program -----------------------*- C++ -*-===//
//
// Reads a Hugging Face checkpoint folder, or IR with an optional safetensors
// file of weights.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_IMPORT_IMPORT_H
#define MOE_IMPORT_IMPORT_H

#include "moe/Dialect/MoE/IR/TensorReader.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

#include <memory>

namespace mlir::moe {

/// A program and what its recipes read; `weights` is null if nothing was given
/// to read.
struct ImportedProgram {
  OwningOpRef<ModuleOp> module;
  std::unique_ptr<TensorReader> weights;
};

/// Loads the dialects that imported programs consist of.
void loadImportDialects(MLIRContext &context);

/// Reads a checkpoint folder: config.json with model.safetensors or a sharded
/// index. Errors are one line.
llvm::Expected<ImportedProgram> importCheckpoint(llvm::StringRef folder,
                                                 MLIRContext &context);

/// Reads a .mlir or .mlirbc file; `weights` names a safetensors file or is
/// empty. Errors are one line. An error of the parser is said and ends the tool
/// at once (see parseGuarded).
llvm::Expected<ImportedProgram>
importIR(llvm::StringRef path, llvm::StringRef weights, MLIRContext &context);

/// Either of them: a folder is a checkpoint, anything else IR.
llvm::Expected<ImportedProgram> importProgram(llvm::StringRef path,
                                              llvm::StringRef weights,
                                              MLIRContext &context);

} // namespace mlir::moe

#endif // MOE_IMPORT_IMPORT_H
