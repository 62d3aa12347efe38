//===- Ring.cpp - Stages, barriers and the loop over work -----------------===//
//
// The ring has two barriers per stage. A phase of "full" ends when weights and tokens lie in the stage, a phase of
// "empty" when both consumers have read it. The producer waits for the parity before the one it is in, which a fresh
// barrier counts as ended: the first round finds all stages empty.
//
//===----------------------------------------------------------------------===//

#include "KernelParts.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::hopper;

Value KernelContext::fullBarrier(const DeviceBuilder &d, Value stage) const {
  return d.bytes(shared, d.add(d.mul(stage, 8), shape.getBarrierOffset()));
}

Value KernelContext::emptyBarrier(const DeviceBuilder &d, Value stage) const {
  return d.bytes(shared, d.add(d.mul(stage, 8), shape.getBarrierOffset() + 8 * shape.stages));
}

Value KernelContext::stageOffset(const DeviceBuilder &d, Value stage) const {
  return d.mul(stage, shape.getStageBytes());
}

void hopper::buildWait(const DeviceBuilder &d, Value barrier, Value parity) {
  // How long the hardware may sleep before it looks again, in nanoseconds.
  NVVM::MBarrierTryWaitParityOp::create(d.b, d.loc, barrier, parity, d.constant(10000000));
}

void hopper::buildArrive(const DeviceBuilder &d, Value barrier) {
  NVVM::MBarrierArriveOp::create(d.b, d.loc, d.b.getI64Type(), barrier, Value());
}

static Work buildWork(const DeviceBuilder &d, const KernelContext &kernel, Value number) {
  WorkItem item = buildWorkItem(d, kernel.shape, kernel.options.raster, number, kernel.tiles);
  if (kernel.options.dense) {
    TileRows tile = buildTileRows(d, d.constant(0), kernel.rows, item.tile, kernel.shape.tokenTile);
    return {d.constant(0), tile.first, tile.rows, item.column};
  }
  auto words = VectorType::get(4, d.b.getI32Type());
  Value entry = d.load(words, d.address(kernel.tileMap, words, d.add(item.tile, 1)), 16);
  auto word = [&](int64_t index) -> Value {
    return LLVM::ExtractElementOp::create(d.b, d.loc, entry, d.constant(index));
  };
  return {word(0), word(1), word(2), item.column};
}

SmallVector<Value> hopper::buildWorkLoop(const DeviceBuilder &d, const KernelContext &kernel, ValueRange state,
                                         WorkBody body) {
  return d.loop(kernel.block, kernel.items, kernel.blocks, state,
                [&](const DeviceBuilder &nested, Value number, ValueRange values) {
                  return body(nested, buildWork(nested, kernel, number), values);
                });
}
