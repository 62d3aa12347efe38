//===- Stages.cpp - The table of stages -----------------------------------===//
//
// Names, contracts and builders of the stages, and the pass that checks a contract.
//
//===----------------------------------------------------------------------===//

#include "moe/Pipelines/Stages.h"

#include "moe/Pipelines/Passes.h"
#include "moe/Pipelines/Pipelines.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MLProgram/IR/MLProgram.h"
#include "llvm/ADT/StringExtras.h"

namespace mlir::moe {
#define GEN_PASS_DEF_VERIFYSTAGEPASS
#include "moe/Pipelines/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

//===----------------------------------------------------------------------===//
// Contracts
//===----------------------------------------------------------------------===//

static constexpr StringLiteral kModelDialects[] = {"builtin", "func",   "moe",  "ml_program", "linalg",
                                                   "tensor",  "scf",    "math", "arith",      "bufferization"};
static constexpr StringLiteral kTiledDialects[] = {"builtin", "func", "ml_program", "linalg",        "tensor", "scf",
                                                   "affine",  "math", "arith",      "bufferization", "memref", "vector",
                                                   "ub"};
static constexpr StringLiteral kCPUDialects[] = {"builtin", "llvm", "omp", "ml_program"};

/// Nothing reads a global any more: weights are views of the parameters argument.
static std::string checkTiled(Operation *op) {
  if (isa<ml_program::GlobalLoadConstOp, ml_program::GlobalLoadOp>(op))
    return "weights are views of the function's parameters by then";
  return "";
}

/// Bits may not depend on what a back end finds profitable.
static std::string checkCPU(Operation *op) {
  if (isa<UnrealizedConversionCastOp>(op))
    return "what it casts from or to was not converted";
  if (isa<LLVM::FMulAddOp>(op))
    return "whether it is fused is left to the back end";
  if (auto math = dyn_cast<LLVM::FastmathFlagsInterface>(op))
    if (math.getFastmathAttr() && math.getFastmathAttr().getValue() != LLVM::FastmathFlags::none)
      return "fast-math flags allow another order of summation";
  return "";
}

//===----------------------------------------------------------------------===//
// Builders
//===----------------------------------------------------------------------===//

static void buildCPU(OpPassManager &pm, const StageOptions &options) {
  CPUOptions cpu;
  cpu.reference = options.reference;
  buildCPUPipeline(pm, cpu);
}

static void buildOptimize(OpPassManager &pm, const StageOptions &options) {
  if (!options.reference)
    buildOptimizePipeline(pm, {});
}

static void buildTile(OpPassManager &pm, const StageOptions &options) {
  if (options.reference)
    return buildReferencePipeline(pm, {});
  TileOptions tile;
  tile.forceClass = options.forceClass;
  buildTilePipeline(pm, tile);
}

//===----------------------------------------------------------------------===//
// The table
//===----------------------------------------------------------------------===//

static const Stage kStages[] = {
    {"import", "moe", "the model in the moe dialect, as written or imported", kModelDialects, nullptr, nullptr},
    {"optimize", "optimized", "fused, still in the moe dialect", kModelDialects, nullptr, buildOptimize},
    {"tile", "tiled", "loops over work lists and tiles; no moe operations", kTiledDialects, checkTiled, buildTile},
    {"cpu", "cpu", "vectors, OpenMP loops and calls in the LLVM dialect", kCPUDialects, checkCPU, buildCPU},
};

ArrayRef<Stage> moe::getStages() { return kStages; }

const Stage *moe::lookupStage(StringRef name) {
  const auto *stage = llvm::find_if(kStages, [&](const Stage &stage) { return stage.name == name; });
  return stage == std::end(kStages) ? nullptr : stage;
}

void moe::printStages(raw_ostream &os) {
  os << "| stage | pipeline | `--emit` | its result | alive at its end |\n| --- | --- | --- | --- | --- |\n";
  for (const Stage &stage : getStages()) {
    std::string pipeline = stage.build ? ("`moe-" + stage.name + "`").str() : "none";
    os << "| " << stage.name << " | " << pipeline << " | `" << stage.form << "` | " << stage.help << " | "
       << llvm::join(stage.dialects, ", ") << " |\n";
  }
}

LogicalResult moe::verifyStage(Operation *module, const Stage &stage) {
  WalkResult walk = module->walk([&](Operation *op) {
    StringRef dialect = op->getName().getDialectNamespace();
    if (!llvm::is_contained(stage.dialects, dialect)) {
      op->emitOpError("is not allowed at the end of stage '") << stage.name << "', expected operations of "
                                                             << llvm::join(stage.dialects, ", ");
      return WalkResult::interrupt();
    }
    std::string problem = stage.checkForm ? stage.checkForm(op) : "";
    if (problem.empty())
      return WalkResult::advance();
    op->emitOpError("is not allowed at the end of stage '") << stage.name << "': " << problem;
    return WalkResult::interrupt();
  });
  return failure(walk.wasInterrupted());
}

namespace {
struct VerifyStagePass : moe::impl::VerifyStagePassBase<VerifyStagePass> {
  using VerifyStagePassBase::VerifyStagePassBase;

  void runOnOperation() override {
    const Stage *known = lookupStage(stage);
    if (!known) {
      InFlightDiagnostic diagnostic = getOperation().emitError("unknown stage '") << stage << "', expected ";
      llvm::interleave(
          getStages(), [&](const Stage &entry) { diagnostic << entry.name; }, [&] { diagnostic << ", "; });
      return signalPassFailure();
    }
    if (failed(verifyStage(getOperation(), *known)))
      return signalPassFailure();
    markAllAnalysesPreserved();
  }
};
} // namespace
