//===- Consumer.cpp - The warpgroups that multiply ------------------------===//
//
// Weights are wgmma's A (64 rows per consumer), tokens its B. One step is four wgmmas of 16 elements of K. The step
// before is known to be done once at most one group is pending; then its stage is given back, by each of the eight
// warps. A tile's last stage is given back when nothing is pending.
//
//===----------------------------------------------------------------------===//

#include "KernelParts.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::hopper;

static Type getSumsType(const KernelContext &kernel, MLIRContext *context) {
  SmallVector<Type> sums(kernel.shape.tokenTile / 2, Float32Type::get(context));
  return LLVM::LLVMStructType::getLiteral(context, sums);
}

static Value buildDescriptor(const DeviceBuilder &d, Value low, int64_t high) {
  Value word = LLVM::ConstantOp::create(d.b, d.loc, d.b.getI64Type(), high << 32);
  return d.b.createOrFold<arith::OrIOp>(d.loc, d.widen(low), word);
}

/// Four wgmmas on the stage, as one group.
static Value buildStep(const DeviceBuilder &d, const KernelContext &kernel, Value stage, Value sums) {
  Value address = d.add(kernel.sharedAddress, kernel.stageOffset(d, stage));
  auto shape = NVVM::MMAShapeAttr::get(d.b.getContext(), 64, kernel.shape.tokenTile, 16);
  NVVM::WgmmaFenceAlignedOp::create(d.b, d.loc);
  for (int64_t step = 0; step < kBlockDepth / 16; ++step) {
    Value weights = buildDescriptor(d, buildWeightDescriptor(d, kernel.shape, address, kernel.consumer, step),
                                    getWeightDescriptorHigh(kernel.shape));
    Value tokens = buildDescriptor(d, buildTokenDescriptor(d, kernel.shape, address, step), getTokenDescriptorHigh());
    // "row" of A and "col" of B both mean: K innermost.
    sums = NVVM::WgmmaMmaAsyncOp::create(d.b, d.loc, sums.getType(), sums, weights, tokens, shape,
                                         NVVM::WGMMATypes::bf16, NVVM::WGMMATypes::bf16, NVVM::WGMMATypes::f32,
                                         NVVM::WGMMAScaleOut::one, NVVM::WGMMAScaleIn::one, NVVM::WGMMAScaleIn::one,
                                         NVVM::MMALayout::row, NVVM::MMALayout::col, /*satfinite=*/nullptr);
  }
  NVVM::WgmmaGroupSyncAlignedOp::create(d.b, d.loc);
  return sums;
}

static void buildRelease(const DeviceBuilder &d, const KernelContext &kernel, Value stage) {
  d.when(d.equal(d.bitAnd(kernel.thread, 31), 0),
         [&](const DeviceBuilder &nested) { buildArrive(nested, kernel.emptyBarrier(nested, stage)); });
}

/// One block of K. `ring`: stage, parity, the stage before, sums.
static SmallVector<Value> buildBlock(const DeviceBuilder &d, const KernelContext &kernel, Value block,
                                     ValueRange ring) {
  buildWait(d, kernel.fullBarrier(d, ring[0]), ring[1]);
  Value sums = buildStep(d, kernel, ring[0], ring[3]);
  NVVM::WgmmaWaitGroupSyncOp::create(d.b, d.loc, 1);
  // A tile's first block follows none.
  d.when(d.less(d.constant(0), block),
         [&](const DeviceBuilder &nested) { buildRelease(nested, kernel, ring[2]); });
  RingState next = buildAdvance(d, kernel.shape, {ring[0], ring[1]});
  return {next.stage, next.parity, ring[0], sums};
}

LogicalResult hopper::buildConsumer(const DeviceBuilder &d, const KernelContext &kernel) {
  LogicalResult result = success();
  Value zero = d.constant(0), one = d.constant(1);
  Value depth = d.constant(kernel.shape.getDepthBlocks());
  buildWorkLoop(d, kernel, {zero, zero}, [&](const DeviceBuilder &item, const Work &work, ValueRange state) {
    Value zeros = LLVM::ZeroOp::create(item.b, item.loc, getSumsType(kernel, item.b.getContext()));
    SmallVector<Value> ring =
        item.loop(zero, depth, one, {state[0], state[1], state[0], zeros},
                  [&](const DeviceBuilder &step, Value block, ValueRange ring) {
                    return buildBlock(step, kernel, block, ring);
                  });
    NVVM::WgmmaWaitGroupSyncOp::create(item.b, item.loc, 0);
    // Nothing but order tells LLVM that sums are complete only now. The branch in here also keeps their uses in another
    // basic block than the wait, which LLVM does not move arithmetic across.
    buildRelease(item, kernel, ring[2]);
    SmallVector<Value> sums;
    for (int64_t index = 0; index < kernel.shape.tokenTile / 2; ++index)
      sums.push_back(LLVM::ExtractValueOp::create(item.b, item.loc, ring[3], index));
    if (failed(buildResults(item, kernel, work, sums)))
      result = failure();
    return SmallVector<Value>{ring[0], ring[1]};
  });
  return result;
}
