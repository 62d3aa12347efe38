//===- KernelParts.h - The parts of the product kernel ----------*- C++ -*-===//
//
// What producer, consumers and epilogue share: parameters, the ring of stages and its barriers, the loop over work.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_GPU_HOPPER_KERNELPARTS_H
#define MOE_GPU_HOPPER_KERNELPARTS_H

#include "IndexFunctions.h"

namespace mlir::moe::hopper {

/// Parameters of the kernel and what every thread knows.
struct KernelContext {
  explicit KernelContext(const GroupedMatmulKernelOptions &options)
      : options(options), shape(KernelShape::of(options)) {}

  const GroupedMatmulKernelOptions &options;
  KernelShape shape;
  SmallVector<Value> bankMaps;
  /// Gathered: pointers. Otherwise only the map of the tokens.
  Value tokens, indices, tokenMap;
  /// One of them: the tile map, or the number of rows where they are dense.
  Value tileMap, rows;
  Value out;
  SmallVector<Value> vectors;
  /// Shared memory, as a pointer and as the 32-bit address that descriptors hold.
  Value shared, sharedAddress;
  /// The thread's number in its warpgroup; the consumer's number (of consumers only).
  Value thread, consumer;
  /// The first work item of this block, the number of blocks, the numbers of tiles and of work items.
  Value block, blocks, tiles, items;

  Value fullBarrier(const DeviceBuilder &d, Value stage) const;
  Value emptyBarrier(const DeviceBuilder &d, Value stage) const;
  Value stageOffset(const DeviceBuilder &d, Value stage) const;
  /// Threads whose arrival completes a phase of a "full" barrier; the other barriers wait for eight consumer warps.
  int64_t fullArrivals() const { return options.gathered ? kWarpgroup + 1 : 1; }
};

/// A tile of tokens of one expert times a tile of columns.
struct Work {
  Value expert, first, rows, column;
};

void buildWait(const DeviceBuilder &d, Value barrier, Value parity);
void buildArrive(const DeviceBuilder &d, Value barrier);

/// Tells the language's types of pointers apart: 0 anywhere, 1 device memory, 3 shared memory.
inline LLVM::LLVMPointerType getPointer(MLIRContext *context, unsigned space) {
  return LLVM::LLVMPointerType::get(context, space);
}

/// Dynamic shared memory: all kernels of a module share the one symbol.
LLVM::GlobalOp getSharedMemory(OpBuilder &builder, gpu::GPUModuleOp module);
/// A kernel with `parameters`, of which the first `maps` are tensor maps by value.
LLVM::LLVMFuncOp buildKernelFunction(OpBuilder &builder, gpu::GPUModuleOp module, StringRef name,
                                     ArrayRef<Type> parameters, int64_t maps, int64_t threads);

using WorkBody = llvm::function_ref<SmallVector<Value>(const DeviceBuilder &, const Work &, ValueRange)>;
/// The items of this block, one after the other; `state` passes through.
SmallVector<Value> buildWorkLoop(const DeviceBuilder &d, const KernelContext &kernel, ValueRange state, WorkBody body);

/// The producer warpgroup and one consumer warpgroup, from the first item to the last.
void buildProducer(const DeviceBuilder &d, const KernelContext &kernel);
LogicalResult buildConsumer(const DeviceBuilder &d, const KernelContext &kernel);
/// Writes the sums of one item, `sums` being a thread's registers.
LogicalResult buildResults(const DeviceBuilder &d, const KernelContext &kernel, const Work &work,
                           ArrayRef<Value> sums);

} // namespace mlir::moe::hopper

#endif // MOE_GPU_HOPPER_KERNELPARTS_H
