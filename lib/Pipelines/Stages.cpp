//===- Stages.cpp - The table of stages -----------------------------------===//
//
// Names, contracts and builders of the stages, and the pass that checks a contract.
//
//===----------------------------------------------------------------------===//

#include "moe/Pipelines/Stages.h"

#include "moe/Pipelines/Passes.h"
#include "moe/Pipelines/Pipelines.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MLProgram/IR/MLProgram.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
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

static constexpr StringLiteral kKernelDialects[] = {"builtin", "func", "gpu",   "ml_program", "scf",
                                                    "memref",  "math", "arith", "llvm",       "ub"};
static constexpr StringLiteral kNVPTXDialects[] = {"builtin", "gpu", "llvm", "nvvm", "ml_program"};

/// Nothing reads a global any more: weights are views of the parameters argument.
static std::string checkTiled(Operation *op) {
  if (isa<ml_program::GlobalLoadConstOp, ml_program::GlobalLoadOp>(op))
    return "weights are views of the function's parameters by then";
  return "";
}

/// Bits may not depend on what a back end finds profitable.
static std::string checkArithmetic(Operation *op) {
  if (isa<LLVM::FMulAddOp>(op))
    return "whether it is fused is left to the back end";
  if (auto math = dyn_cast<LLVM::FastmathFlagsInterface>(op))
    if (math.getFastmathAttr() && math.getFastmathAttr().getValue() != LLVM::FastmathFlags::none)
      return "fast-math flags allow another order of summation";
  return "";
}

static std::string checkLLVM(Operation *op) {
  return isa<UnrealizedConversionCastOp>(op) ? "what it casts from or to was not converted" : checkArithmetic(op);
}

/// The host computes sizes and launches; memory is the device's, which allocates none itself.
static std::string checkKernels(Operation *op) {
  bool onDevice = op->getParentOfType<gpu::GPUModuleOp>() != nullptr;
  if (onDevice && isa<memref::AllocOp, memref::DeallocOp>(op))
    return "the device does not allocate";
  if (onDevice && isa<CallOpInterface>(op))
    return "kernels call no functions";
  if (isa<scf::ParallelOp, scf::ForallOp>(op))
    return "what is parallel is a kernel by then";
  if (!onDevice && isa<memref::LoadOp, memref::StoreOp, memref::CopyOp>(op))
    return "the host does not touch the device's memory";
  return checkArithmetic(op);
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

template <void (*buildPipeline)(OpPassManager &, const NVPTXOptions &)>
static void buildForNVPTX(OpPassManager &pm, const StageOptions &options) {
  NVPTXOptions nvptx;
  nvptx.exact = options.exact;
  nvptx.tokenTile = options.tokenTile;
  buildPipeline(pm, nvptx);
}

//===----------------------------------------------------------------------===//
// The tables
//===----------------------------------------------------------------------===//

static const Stage kCPUStages[] = {
    {"import", "", "moe", "the model in the moe dialect, as written or imported", kModelDialects, nullptr, nullptr},
    {"optimize", "moe-optimize", "optimized", "fused, still in the moe dialect", kModelDialects, nullptr,
     buildOptimize},
    {"tile", "moe-tile", "tiled", "loops over work lists and tiles; no moe operations", kTiledDialects, checkTiled,
     buildTile},
    {"cpu", "moe-cpu", "cpu", "vectors, OpenMP loops and calls in the LLVM dialect", kCPUDialects, checkLLVM, buildCPU},
};

static const Stage kNVPTXStages[] = {
    {"import", "", "moe", "the model in the moe dialect, as written or imported", kModelDialects, nullptr, nullptr},
    {"optimize", "moe-nvptx-optimize", "optimized", "fused, still in the moe dialect", kModelDialects, nullptr,
     buildForNVPTX<buildNVPTXOptimizePipeline>},
    {"tile", "moe-nvptx-tile", "tiled", "tensor programs whose elements are independent; no moe operations",
     kTiledDialects, checkTiled, buildForNVPTX<buildNVPTXTilePipeline>},
    {"kernels", "moe-nvptx-kernels", "kernels", "a module of kernels, and a host that computes sizes and launches",
     kKernelDialects, checkKernels, buildForNVPTX<buildKernelsPipeline>},
    {"nvptx", "moe-nvptx", "nvptx", "kernels and calls of the runtime in the LLVM dialect", kNVPTXDialects, checkLLVM,
     buildForNVPTX<buildNVPTXPipeline>},
};

std::optional<Target> moe::lookupTarget(StringRef name) {
  if (name == "cpu")
    return Target::CPU;
  if (name == "nvptx")
    return Target::NVPTX;
  return std::nullopt;
}

ArrayRef<Stage> moe::getStages(Target target) {
  return target == Target::CPU ? ArrayRef<Stage>(kCPUStages) : ArrayRef<Stage>(kNVPTXStages);
}

const Stage *moe::lookupStage(StringRef name, Target target) {
  ArrayRef<Stage> stages = getStages(target);
  const auto *stage = llvm::find_if(stages, [&](const Stage &stage) { return stage.name == name; });
  return stage == stages.end() ? nullptr : stage;
}

const Stage *moe::getWeightsStage(Target target) { return lookupStage("tile", target); }

static void printTable(raw_ostream &os, Target target) {
  os << "| stage | pipeline | `--emit` | its result | alive at its end |\n| --- | --- | --- | --- | --- |\n";
  for (const Stage &stage : getStages(target)) {
    std::string pipeline = stage.build ? ("`" + stage.pipeline + "`").str() : "none";
    os << "| " << stage.name << " | " << pipeline << " | `" << stage.form << "` | " << stage.help << " | "
       << llvm::join(stage.dialects, ", ") << " |\n";
  }
}

void moe::printStages(raw_ostream &os) {
  os << "`--target=cpu`:\n\n";
  printTable(os, Target::CPU);
  os << "\n`--target=nvptx`:\n\n";
  printTable(os, Target::NVPTX);
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
    const Stage *known = lookupStage(stage, Target::CPU);
    // Stages that two targets share promise the same.
    if (!known)
      known = lookupStage(stage, Target::NVPTX);
    if (!known) {
      getOperation().emitError("unknown stage '")
          << stage << "', expected import, optimize, tile, cpu, kernels, nvptx";
      return signalPassFailure();
    }
    if (failed(verifyStage(getOperation(), *known)))
      return signalPassFailure();
    markAllAnalysesPreserved();
  }
};
} // namespace
