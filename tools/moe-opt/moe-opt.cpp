//===- moe-opt.cpp - The pass driver --------------------------------------===//
//
// mlir-opt with our dialect: every pass and every stage runs alone.
//
//===----------------------------------------------------------------------===//

#include "moe/CPU/Lowering/Passes.h"
#include "moe/CPU/Passes.h"
#include "moe/Conversion/Passes.h"
#include "moe/Dialect/MoE/Transforms/Passes.h"
#include "moe/Pipelines/Pipelines.h"
#include "moe/Pipelines/Registration.h"

#include "mlir/IR/DialectRegistry.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"

int main(int argc, char **argv) {
  mlir::registerAllPasses();
  mlir::moe::registerMoECPUPasses();
  mlir::moe::registerMoETransformsPasses();
  mlir::moe::registerMoEConversionPasses();
  mlir::moe::registerMoECPULoweringPasses();
  mlir::moe::registerPipelines();
  mlir::DialectRegistry registry;
  // The very dialects and interfaces of moe-compile, so that a stage does the same here.
  mlir::moe::registerCompilerDialects(registry);
  return mlir::asMainReturnCode(mlir::MlirOptMain(argc, argv, "MoE compiler: passes and stages\n", registry));
}
