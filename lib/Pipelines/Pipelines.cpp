//===- Pipelines.cpp - The lowering, top to bottom ------------------------===//
//
// One pass a line; above it why it stands there; above each block the dialects alive.
//
//===----------------------------------------------------------------------===//

#include "moe/Pipelines/Pipelines.h"

#include "moe/CPU/Lowering/Passes.h"
#include "moe/CPU/Passes.h"
#include "moe/Conversion/Passes.h"
#include "moe/Dialect/MoE/Transforms/Passes.h"
#include "moe/GPU/Hopper/Passes.h"
#include "moe/GPU/Passes.h"
#include "moe/Pipelines/Passes.h"

#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Affine/Transforms/Passes.h"
#include "mlir/Dialect/Bufferization/Transforms/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/Passes.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Dialect/SCF/Transforms/Passes.h"
#include "mlir/Dialect/Vector/Transforms/Passes.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace mlir::moe;

static std::unique_ptr<Pass> verifyStage(StringRef stage) { return createVerifyStagePass({stage.str()}); }

//===----------------------------------------------------------------------===//
// S1: optimise
//===----------------------------------------------------------------------===//

/// The beginning of S1 on every target: one form of arithmetic and of products, and the fusions that help everywhere.
static void addFusions(OpPassManager &pm) {
  // func moe ml_program linalg tensor scf arith math
  // First, while routings and what they are made from stand as they were written.
  pm.addPass(createVerifyIndependencePass());
  // Arithmetic on whole tensors gets the form of all other elementwise operations.
  pm.addNestedPass<func::FuncOp>(createConvertElementwisePass());
  // Before all fusions, since bodies of experts hide the products that all others work on.
  pm.addNestedPass<func::FuncOp>(createDecomposeExpertsPass());
  pm.addPass(createGroupDensePass());

  // func moe ml_program linalg tensor scf arith math; no moe.experts but those that run one by one
  // Products over equal rows and offsets are seen to be so.
  pm.addPass(createCSEPass());
  pm.addNestedPass<func::FuncOp>(createFuseGatherPass());
  // After gathers are folded, gate and up read the same rows at the same indices.
  pm.addNestedPass<func::FuncOp>(createFuseGateUpPass());
}

void moe::buildOptimizePipeline(OpPassManager &pm, const OptimizeOptions &options) {
  addFusions(pm);
  pm.addNestedPass<func::FuncOp>(createFuseCombinePass());
  // Last, since it puts the router's product into a loop, where nothing else would find it.
  pm.addNestedPass<func::FuncOp>(createFuseGatingPass());
  // What fusions left without a reader.
  pm.addPass(createCanonicalizerPass());
  pm.addPass(verifyStage("optimize"));
}

//===----------------------------------------------------------------------===//
// S2: group and tile
//===----------------------------------------------------------------------===//

void moe::buildTilePipeline(OpPassManager &pm, const TileOptions &options) {
  // func moe ml_program linalg tensor scf arith math
  // First, while globals and products are still visibly one and the same bank.
  pm.addPass(createPackWeightsPass());
  TileGroupedMatmulPassOptions tiling;
  tiling.forceClass = options.forceClass;
  tiling.printDecisions = options.printDecisions;
  pm.addNestedPass<func::FuncOp>(createTileGroupedMatmulPass(tiling));
  pm.addNestedPass<func::FuncOp>(createTileRowsPass());

  // func moe ml_program linalg tensor scf arith math affine bufferization
  // The plain lowering of all that has no faster one: plan, select, what is left of experts and products.
  pm.addPass(createConvertMoEToLinalgPass({/*recordLoad=*/true}));
  // After banks became their components: every global is one tensor of the weights file now.
  pm.addPass(createParametersPass());
  pm.addPass(verifyStage("tile"));
}

void moe::buildReferencePipeline(OpPassManager &pm, const ReferenceOptions &options) {
  // func moe ml_program linalg tensor scf arith math
  pm.addPass(createVerifyIndependencePass());
  // Arithmetic on whole tensors has no form on buffers.
  pm.addNestedPass<func::FuncOp>(createConvertElementwisePass());
  pm.addPass(createConvertMoEToLinalgPass({/*recordLoad=*/true}));
  // After banks became their components: every global is one tensor of the weights file now.
  pm.addPass(createParametersPass());
  pm.addPass(verifyStage("tile"));
}

//===----------------------------------------------------------------------===//
// S3: cpu
//===----------------------------------------------------------------------===//

static std::unique_ptr<Pass> bufferize() {
  bufferization::OneShotBufferizePassOptions options;
  options.bufferizeFunctionBoundaries = true;
  // Identity layouts, since vector loads need a unit stride in the last dimension.
  options.functionBoundaryTypeConversion = bufferization::LayoutMapOption::IdentityLayoutMap;
  // Loops may carry a tensor that is another one each round; its memory is kept until the function ends.
  options.allowReturnAllocsFromLoops = true;
  return bufferization::createOneShotBufferizePass(options);
}

static std::unique_ptr<Pass> convertMemRef() {
  FinalizeMemRefToLLVMConversionPassOptions options;
  // Allocations are calls of the session's workspace and not of malloc.
  options.useGenericFunctions = true;
  return createFinalizeMemRefToLLVMConversionPass(options);
}

/// The beginning of S3 on every target: tensors become buffers, and what is parallel a loop.
static void addBuffersAndLoops(OpPassManager &pm) {
  // func scf linalg tensor arith math, bufferization.to_tensor of views of the weights
  // Signatures of public functions, which the emitter needs, are gone once types are those of LLVM.
  pm.addPass(createEntryPointsPass());
  // Values computed straight into the slice they are inserted in save the copy.
  pm.addPass(bufferization::createEmptyTensorEliminationPass());
  pm.addPass(bufferize());

  // func scf linalg memref arith math
  // Results that are arguments, updated in place, need not be returned by our own functions.
  pm.addPass(bufferization::createDropEquivalentBufferResultsPass());
  // Loops that carry a buffer from round to round only to change it no longer do: sizes are known before them.
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createRecordLoadPass());
  pm.addNestedPass<func::FuncOp>(createExpandCopyPass());
  pm.addNestedPass<func::FuncOp>(createForallToParallelLoopPass());
}

void moe::buildCPUPipeline(OpPassManager &pm, const CPUOptions &options) {
  // func scf linalg tensor arith math, bufferization.to_tensor of views of the weights
  addBuffersAndLoops(pm);

  // func scf linalg memref arith math
  // Before code moves: sizes of buffers are still visibly those of tensors.
  pm.addNestedPass<func::FuncOp>(createSerializeNestedLoopsPass({options.reference}));
  pm.addPass(createPrivateBuffersPass());
  pm.addPass(createWorkspacePass());
  if (options.reference) {
    pm.addNestedPass<func::FuncOp>(createConvertLinalgToLoopsPass());
  } else {
    // With loops and buffers in place it is known which operations run inside threads already.
    pm.addNestedPass<func::FuncOp>(createVectorizePass());
  }
  // One implementation of exp and its like on both paths.
  pm.addNestedPass<func::FuncOp>(createExpandMathPass());
  // Once every loop is there: a kernel is an outermost loop.
  pm.addPass(createProfilePass());

  // func scf memref vector arith math affine
  // Subviews become offsets and strides; what is left are affine maps over them.
  pm.addPass(memref::createExpandStridedMetadataPass());
  pm.addPass(createLowerAffinePass());
  pm.addPass(createConvertSCFToOpenMPPass());
  pm.addPass(createDynamicSchedulePass());

  // func scf omp memref vector arith math cf ub llvm
  // Before control flow: an alloca's scope may have one block only until then.
  pm.addPass(convertMemRef());
  pm.addPass(createSCFToControlFlowPass());
  pm.addPass(createConvertVectorToLLVMPass());
  pm.addPass(createConvertMathToLLVMPass());
  // Functions, branches and arithmetic as well.
  pm.addPass(createConvertOpenMPToLLVMPass());
  pm.addPass(createUBToLLVMConversionPass());
  pm.addPass(createReconcileUnrealizedCastsPass());
  // What the conversions left: repeated constants and descriptors.
  pm.addPass(createCSEPass());
  pm.addPass(verifyStage("cpu"));
}

//===----------------------------------------------------------------------===//
// S1 to S4 for NVIDIA's chips
//===----------------------------------------------------------------------===//

void moe::buildNVPTXOptimizePipeline(OpPassManager &pm, const NVPTXOptions &) {
  // Gating and combination stay apart: what saves caches of a CPU would cost threads here.
  addFusions(pm);
  pm.addPass(createCanonicalizerPass());
  pm.addPass(verifyStage("optimize"));
}

void moe::buildNVPTXTilePipeline(OpPassManager &pm, const NVPTXOptions &options) {
  // func moe ml_program linalg tensor scf arith math
  // While products are still one operation each.
  if (!options.exact)
    pm.addPass(createCallHopperProductsPass());
  // While selections are still one operation: their plain lowering goes through the tokens one after the other.
  pm.addNestedPass<func::FuncOp>(createTileSelectPass());
  pm.addPass(createConvertMoEToKernelsPass({/*recordLoad=*/true}));
  // Before weights are arguments, which it then gets as every function does.
  pm.addPass(createDecodeStepPass());
  // After banks became their components: every global is one tensor of the weights file now.
  pm.addPass(createParametersPass());
  pm.addPass(verifyStage("tile"));
}

void moe::buildKernelsPipeline(OpPassManager &pm, const NVPTXOptions &options) {
  // func scf linalg tensor arith math, bufferization.to_tensor of views of the weights
  addBuffersAndLoops(pm);
  pm.addNestedPass<func::FuncOp>(createLinalgToThreadsPass());

  // func scf memref arith math affine
  // Neighbours over the same elements are one launch, if their bounds are visibly the same.
  pm.addPass(createCSEPass());
  pm.addNestedPass<func::FuncOp>(createParallelLoopFusionPass());
  pm.addNestedPass<func::FuncOp>(createFlattenLoopsPass());
  // Once nothing fuses loops any more, which would not know of phases.
  pm.addPass(createLowerPlansPass());
  MapHopperTilesPassOptions tiles;
  tiles.tokenTile = options.tokenTile;
  pm.addPass(createMapHopperTilesPass(tiles));
  pm.addNestedPass<func::FuncOp>(createBoundLoopsPass());
  // With all kernels in place, the rest is what the host may not do.
  pm.addNestedPass<func::FuncOp>(createSingleThreadsPass());
  pm.addNestedPass<func::FuncOp>(createSerializeNestedLoopsPass({/*all=*/false}));
  // While buffers of iterations stand in them; which memory these get depends on the launch.
  pm.addNestedPass<func::FuncOp>(createJoinLaunchesPass());
  // Bounds of buffers are seen in the arithmetic of the host, before it moves.
  pm.addNestedPass<func::FuncOp>(createDeviceBuffersPass());
  pm.addNestedPass<func::FuncOp>(createSinkLoadsPass());
  // Sine and cosine first: the other pass leaves them to the C library.
  pm.addNestedPass<func::FuncOp>(createDeviceMathPass());
  pm.addNestedPass<func::FuncOp>(createExpandMathPass());
  pm.addPass(createWorkspacePass());
  // Views become numbers, so that kernels take addresses only.
  pm.addPass(memref::createExpandStridedMetadataPass());
  pm.addPass(createLowerAffinePass());
  pm.addPass(createCSEPass());
  pm.addPass(createOutlineKernelsPass());
  // What kernels make anew and do not need.
  pm.addPass(createCanonicalizerPass());
  // With all launches and buffers in place.
  pm.addPass(createCheckTokensPass());
  pm.addPass(verifyStage("kernels"));
}

void moe::buildNVPTXPipeline(OpPassManager &pm, const NVPTXOptions &options) {
  // func gpu scf memref arith math ub llvm
  pm.addPass(createKernelParametersPass());
  pm.addPass(createLowerLaunchesPass());
  // So late, since math in epilogues has other forms there; once launches are numbered, their kernels come behind.
  LowerGroupedMatmulHopperPassOptions products;
  products.tokenTile = options.tokenTile;
  pm.addPass(createLowerGroupedMatmulHopperPass(products));
  pm.addPass(createJoinHopperKernelsPass());
  // Once launches are numbered by the kernels' order.
  pm.addPass(createLowerKernelsPass());
  // The device's functions are converted with the host's: no operation of theirs differs any more.
  pm.addPass(convertMemRef());
  pm.addPass(createSCFToControlFlowPass());
  pm.addPass(createConvertMathToLLVMPass());
  // Instructions of the chip that LLVM has no intrinsic for.
  pm.addPass(createConvertNVVMToLLVMPass());
  pm.addPass(createArithToLLVMConversionPass());
  pm.addPass(createConvertControlFlowToLLVMPass());
  pm.addPass(createConvertFuncToLLVMPass());
  pm.addPass(createUBToLLVMConversionPass());
  pm.addPass(createReconcileUnrealizedCastsPass());
  pm.addPass(createCSEPass());
  pm.addPass(verifyStage("nvptx"));
}

void moe::registerPipelines() {
  registerMoEPipelinesPasses();
  PassPipelineRegistration<OptimizeOptions>("moe-optimize", "S1: fuses in the moe dialect", buildOptimizePipeline);
  PassPipelineRegistration<TileOptions>("moe-tile", "S2: moe operations become loops over work lists and tiles",
                                        buildTilePipeline);
  PassPipelineRegistration<ReferenceOptions>(
      "moe-reference", "S1 and S2 of the reference path: the plainest tensor programs", buildReferencePipeline);
  PassPipelineRegistration<NVPTXOptions>("moe-nvptx-optimize", "S1 for NVIDIA's chips: fuses in the moe dialect",
                                         buildNVPTXOptimizePipeline);
  PassPipelineRegistration<NVPTXOptions>("moe-nvptx-tile", "S2 for NVIDIA's chips: moe operations become elements",
                                         buildNVPTXTilePipeline);
  PassPipelineRegistration<NVPTXOptions>("moe-nvptx-kernels", "S3 for NVIDIA's chips: buffers, kernels and launches",
                                         buildKernelsPipeline);
  PassPipelineRegistration<NVPTXOptions>("moe-nvptx", "S4 for NVIDIA's chips: kernels and host in LLVM",
                                         buildNVPTXPipeline);
  PassPipelineRegistration<CPUOptions>("moe-cpu", "S3: tensors become buffers, vectors, OpenMP loops and LLVM",
                                       buildCPUPipeline);
}
