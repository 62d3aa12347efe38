//===- Pipelines.h - The stages of the compiler -----------------*- C++ -*-===//
//
// One options struct and one builder per stage; registration for moe-opt.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_PIPELINES_PIPELINES_H
#define MOE_PIPELINES_PIPELINES_H

#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassOptions.h"

namespace mlir::moe {

struct OptimizeOptions : PassPipelineOptions<OptimizeOptions> {};

struct TileOptions : PassPipelineOptions<TileOptions> {
  Option<std::string> forceClass{*this, "force-class",
                                 llvm::cl::desc("Run every item of grouped products in one kernel class: single, few or "
                                                "full"),
                                 llvm::cl::init("")};
  Option<bool> printDecisions{*this, "print-decisions",
                              llvm::cl::desc("Print what the cost model decided for each grouped product"),
                              llvm::cl::init(false)};
};

struct ReferenceOptions : PassPipelineOptions<ReferenceOptions> {};

struct CPUOptions : PassPipelineOptions<CPUOptions> {
  Option<bool> reference{*this, "reference", llvm::cl::desc("Plain serial loops in place of vectors and threads"),
                         llvm::cl::init(false)};
};

struct NVPTXOptions : PassPipelineOptions<NVPTXOptions> {
  Option<bool> exact{*this, "f32",
                     llvm::cl::desc("Multiply in f32 what is stored in bf16, not on tensor cores"),
                     llvm::cl::init(false)};
  Option<int64_t> tokenTile{*this, "tile-n",
                            llvm::cl::desc("Tokens per tile of products on tensor cores; 0: by the number of rows"),
                            llvm::cl::init(0)};
};

/// S1: fuses on the moe dialect.
void buildOptimizePipeline(OpPassManager &pm, const OptimizeOptions &options);
/// S2: moe operations become loops over work lists and tiles.
void buildTilePipeline(OpPassManager &pm, const TileOptions &options);
/// S1 and S2 of the reference path: moe operations become the plainest tensor programs.
void buildReferencePipeline(OpPassManager &pm, const ReferenceOptions &options);
/// S3: tensors become buffers, vectors, OpenMP loops and finally LLVM.
void buildCPUPipeline(OpPassManager &pm, const CPUOptions &options);

/// S1 for a device: the fusions that save work and memory there.
void buildNVPTXOptimizePipeline(OpPassManager &pm, const NVPTXOptions &options);
/// S2 for a device: moe operations become tensor programs whose elements are independent.
void buildNVPTXTilePipeline(OpPassManager &pm, const NVPTXOptions &options);
/// S3: tensors become buffers of the device, loops its kernels.
void buildKernelsPipeline(OpPassManager &pm, const NVPTXOptions &options);
/// S4: kernels become functions of the chip, launches calls of the runtime.
void buildNVPTXPipeline(OpPassManager &pm, const NVPTXOptions &options);

/// Registers the stages' pipelines, moe-reference and moe-verify-stage.
void registerPipelines();

} // namespace mlir::moe

#endif // MOE_PIPELINES_PIPELINES_H
