//===- moe-lsp-server.cpp - IR in editors ---------------------------------===//
//
// MLIR's language server with our dialect, behind a guard against documents that would overflow its stack.
//
//===----------------------------------------------------------------------===//

#include "Guard.h"

#include "moe/Pipelines/Registration.h"

#include "mlir/IR/DialectRegistry.h"
#include "mlir/Tools/mlir-lsp-server/MlirLspServerMain.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/raw_ostream.h"

int main(int argc, char **argv) {
  bool delimited = llvm::any_of(llvm::ArrayRef(argv, argc), [](llvm::StringRef flag) {
    return flag == "--lit-test" || flag == "-lit-test" || flag.ends_with("input-style=delimited");
  });
  if (llvm::Error error = guardStandardInput(delimited)) {
    llvm::errs() << "moe-lsp-server: error: " << llvm::toString(std::move(error)) << '\n';
    return 1;
  }
  mlir::DialectRegistry registry;
  mlir::moe::registerCompilerDialects(registry);
  return mlir::failed(mlir::MlirLspServerMain(argc, argv, registry));
}
