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
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/IR/Verifier.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Support/FileUtilities.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/ToolOutputFile.h"

using namespace mlir;

/// Refuses what parser, verifier or folds do not stand; says so.
static LogicalResult guard(const llvm::MemoryBuffer &input, StringRef inputFile, DialectRegistry &registry,
                           const MlirOptMainConfig &config) {
  MLIRContext scratch(registry);
  scratch.allowUnregisteredDialects();
  auto sources = std::make_shared<llvm::SourceMgr>();
  sources->AddNewSourceBuffer(llvm::MemoryBuffer::getMemBuffer(input, /*RequiresNullTerminator=*/false), llvm::SMLoc());
  SourceMgrDiagnosticHandler printer(*sources, &scratch);
  // Tests expect errors, or have them in one part of many.
  bool isTest = config.shouldVerifyDiagnostics() || !config.inputSplitMarker().empty();
  llvm::Expected<OwningOpRef<ModuleOp>> module = moe::parseGuarded(sources, scratch, [&](Diagnostic &diagnostic) {
    if (isTest)
      return;
    printer.emitDiagnostic(diagnostic.getLocation(), diagnostic.str(), diagnostic.getSeverity());
    for (Diagnostic &note : diagnostic.getNotes())
      printer.emitDiagnostic(note.getLocation(), note.str(), note.getSeverity());
    moe::exitFailed();
  });
  if (!module) {
    llvm::errs() << "moe-opt: error: " << inputFile << ": " << llvm::toString(module.takeError()) << '\n';
    return failure();
  }
  if (isTest || !*module)
    return success();
  bool isValid;
  {
    // MlirOptMain verifies as well, and tells.
    ScopedDiagnosticHandler quiet(&scratch, [](Diagnostic &) { return success(); });
    isValid = succeeded(verify(**module));
  }
  return success(!isValid || succeeded(moe::checkDimIndices(**module)));
}

/// Reads the input, and runs the passes on what may be handed to them.
static LogicalResult run(StringRef inputFile, StringRef outputFile, DialectRegistry &registry) {
  std::string error;
  std::unique_ptr<llvm::MemoryBuffer> input = openInputFile(inputFile, &error);
  std::unique_ptr<llvm::ToolOutputFile> output = input ? openOutputFile(outputFile, &error) : nullptr;
  if (!output) {
    llvm::errs() << "moe-opt: error: " << error << '\n';
    return failure();
  }
  MlirOptMainConfig config = MlirOptMainConfig::createFromCLOptions();
  if (failed(guard(*input, inputFile, registry, config)) ||
      failed(MlirOptMain(output->os(), std::move(input), registry, config)))
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
