//===- moe-lsp-server.cpp - IR in editors ---------------------------------===//
//
// MLIR's language server with our dialect.
//
//===----------------------------------------------------------------------===//

#include "moe/Pipelines/Registration.h"

#include "mlir/IR/DialectRegistry.h"
#include "mlir/Tools/mlir-lsp-server/MlirLspServerMain.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  mlir::moe::registerCompilerDialects(registry);
  return mlir::failed(mlir::MlirLspServerMain(argc, argv, registry));
}
