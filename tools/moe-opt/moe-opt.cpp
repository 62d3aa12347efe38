//===- moe-opt.cpp - The pass driver --------------------------------------===//
//
// mlir-opt with our dialect: every pass and every stage runs alone.
//
//===----------------------------------------------------------------------===//

#include "moe/CPU/Lowering/Passes.h"
#include "moe/CPU/Passes.h"
#include "moe/Conversion/Passes.h"
#include "moe/Dialect/MoE/Transforms/Passes.h"
#include "moe/GPU/Hopper/Passes.h"
#include "moe/GPU/Passes.h"
#include "moe/Import/Crash.h"
#include "moe/Import/Nesting.h"
#include "moe/Pipelines/Pipelines.h"
#include "moe/Pipelines/Registration.h"

#include "mlir/Dialect/Linalg/TransformOps/DialectExtension.h"
#include "mlir/Dialect/Transform/IR/TransformDialect.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Support/FileUtilities.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/ToolOutputFile.h"

using namespace mlir;

/// Reads the input and refuses what is nested so deep that parser or passes would overflow the stack; then runs the passes.
static LogicalResult run(StringRef inputFile, StringRef outputFile, DialectRegistry &registry) {
  std::string error;
  std::unique_ptr<llvm::MemoryBuffer> input = openInputFile(inputFile, &error);
  std::unique_ptr<llvm::ToolOutputFile> output = input ? openOutputFile(outputFile, &error) : nullptr;
  MLIRContext scratch(registry);
  scratch.allowUnregisteredDialects();
  if (input)
    if (llvm::Error nesting = moe::guardNesting(*input, scratch))
      error = (inputFile + ": " + llvm::toString(std::move(nesting))).str();
  if (!error.empty()) {
    llvm::errs() << "moe-opt: error: " << error << '\n';
    return failure();
  }
  if (failed(MlirOptMain(output->os(), std::move(input), registry, MlirOptMainConfig::createFromCLOptions())))
    return failure();
  output->keep();
  return success();
}

int main(int argc, char **argv) {
  registerAllPasses();
  moe::registerMoECPUPasses();
  moe::registerMoETransformsPasses();
  moe::registerMoEConversionPasses();
  moe::registerMoECPULoweringPasses();
  moe::registerMoEGPUPasses();
  moe::registerMoEGPUHopperPasses();
  moe::registerPipelines();
  DialectRegistry registry;
  // The very dialects and interfaces of moe-compile, so that a stage does the same here.
  moe::registerCompilerDialects(registry);
  // Besides, tiling is tested through the transform dialect.
  registry.insert<transform::TransformDialect>();
  linalg::registerTransformDialectExtension(registry);
  llvm::InitLLVM init(argc, argv);
  moe::reportCrashes("moe-opt");
  auto [input, output] = registerAndParseCLIOptions(argc, argv, "MoE compiler: passes and stages\n", registry);
  MlirOptMainConfig config = MlirOptMainConfig::createFromCLOptions();
  if (config.shouldShowDialects() || config.shouldListPasses())
    return asMainReturnCode(MlirOptMain(argc, argv, input, output, registry));
  return asMainReturnCode(run(input, output, registry));
}
