//===- DeviceBuffers.cpp - Buffers of kernels -----------------------------===//
//
// Implements moe-gpu-device-buffers: allocations leave kernels, for a register or for a buffer with room for every
// iteration.
//
//===----------------------------------------------------------------------===//

#include "HostBound.h"
#include "moe/Conversion/LoopBuffers.h"
#include "moe/GPU/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

namespace mlir::moe {
#define GEN_PASS_DEF_DEVICEBUFFERSPASS
#include "moe/GPU/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

/// Buffers of iterations start on lines of their own.
constexpr int64_t kAlignment = 128;

/// Whether nobody asks how large the buffer is: its users cut from it what they need.
static bool isOnlyCut(memref::AllocOp alloc) {
  return llvm::all_of(alloc->getUsers(), llvm::IsaPred<memref::SubViewOp, memref::DeallocOp>);
}

/// Bytes of `alloc` with the sizes `limits`, rounded up to whole lines; null, with an error, where one is missing.
static Value buildBytes(OpBuilder &builder, memref::AllocOp alloc, ValueRange limits) {
  if (llvm::all_of(limits, [](Value limit) { return static_cast<bool>(limit); }))
    return buildBufferBytes(builder, alloc.getLoc(), alloc.getType(), limits, kAlignment);
  alloc.emitError("expected the size of a buffer to have a bound that the host knows");
  return {};
}

/// An allocation of the host whose size is known on the device only: the host takes the most it can be.
static LogicalResult boundOnHost(memref::AllocOp alloc, const HostValues &values) {
  if (llvm::all_of(alloc.getDynamicSizes(), [&](Value size) { return values.isKnown(size); }))
    return success();
  OpBuilder builder(alloc);
  HostBound bound(alloc, values);
  Value bytes = buildBytes(builder, alloc, llvm::map_to_vector(alloc.getDynamicSizes(), [&](Value size) {
                             return bound.build(builder, size);
                           }));
  if (!bytes)
    return failure();
  Value zero = arith::ConstantIndexOp::create(builder, alloc.getLoc(), 0);
  Value view = memref::ViewOp::create(builder, alloc.getLoc(), alloc.getType(),
                                      buildByteBuffer(builder, alloc.getLoc(), bytes, kAlignment), zero,
                                      alloc.getDynamicSizes());
  alloc.replaceAllUsesWith(view);
  alloc.erase();
  return success();
}

namespace {
/// Moves the buffers of one kernel.
class Mover {
public:
  Mover(scf::ParallelOp kernel, const HostValues &values)
      : kernel(kernel), bound(kernel, values), values(values), builder(kernel) {}

  LogicalResult move(memref::AllocOp alloc);

private:
  Value index(Location loc, int64_t value) { return arith::ConstantIndexOp::create(builder, loc, value); }
  Value buildIterations(Location loc);
  Value buildNumber(Location loc);
  LogicalResult moveToBuffer(memref::AllocOp alloc);

  scf::ParallelOp kernel;
  HostBound bound;
  const HostValues &values;
  OpBuilder builder;
};
} // namespace

/// How many iterations the kernel has.
Value Mover::buildIterations(Location loc) {
  Value all = index(loc, 1);
  for (unsigned dim = 0; dim < kernel.getNumLoops(); ++dim)
    all = builder.createOrFold<arith::MulIOp>(loc, all, buildTrips(builder, loc, kernel, dim));
  return all;
}

/// The number of the current iteration, inside the kernel.
Value Mover::buildNumber(Location loc) {
  Value number = index(loc, 0);
  for (unsigned dim = 0; dim < kernel.getNumLoops(); ++dim) {
    Value from = builder.createOrFold<arith::SubIOp>(loc, kernel.getInductionVars()[dim], kernel.getLowerBound()[dim]);
    Value own = builder.createOrFold<arith::DivSIOp>(loc, from, kernel.getStep()[dim]);
    number = builder.createOrFold<arith::MulIOp>(loc, number, buildTrips(builder, loc, kernel, dim));
    number = builder.createOrFold<arith::AddIOp>(loc, number, own);
  }
  return number;
}

LogicalResult Mover::moveToBuffer(memref::AllocOp alloc) {
  Location loc = alloc.getLoc();
  MemRefType type = alloc.getType();
  builder.setInsertionPoint(kernel);
  SmallVector<Value> limits, sizes;
  for (Value size : alloc.getDynamicSizes()) {
    limits.push_back(bound.build(builder, size));
    bool outside = size.getParentRegion()->isProperAncestor(&kernel.getRegion());
    // The host must not need the exact number.
    sizes.push_back(outside && !values.isKnown(size) && isOnlyCut(alloc) ? limits.back() : size);
  }
  Value bytes = buildBytes(builder, alloc, limits);
  if (!bytes)
    return failure();
  Value all = builder.createOrFold<arith::MulIOp>(loc, bytes, buildIterations(loc));
  Value buffer = buildByteBuffer(builder, loc, all, kAlignment);
  builder.setInsertionPoint(alloc);
  Value offset = builder.createOrFold<arith::MulIOp>(loc, buildNumber(loc), bytes);
  Value view = memref::ViewOp::create(builder, loc, type, buffer, offset, sizes);
  alloc.replaceAllUsesWith(view);
  alloc.erase();
  return success();
}

LogicalResult Mover::move(memref::AllocOp alloc) {
  MemRefType type = alloc.getType();
  if (!type.getLayout().isIdentity() || getElementBytes(type) == 0)
    return alloc.emitError("expected a buffer in a kernel to be contiguous numbers, got ") << type;
  // Single numbers become registers. An array would become local memory, which is set aside for every thread that the
  // device can hold, and not only for those that need it.
  if (!type.hasStaticShape() || type.getNumElements() > 1)
    return moveToBuffer(alloc);
  // At the start of the iteration: what is of the thread is not of a round of an inner loop.
  builder.setInsertionPointToStart(kernel.getBody());
  Value buffer = memref::AllocaOp::create(builder, alloc.getLoc(), type);
  alloc.replaceAllUsesWith(buffer);
  alloc.erase();
  return success();
}

namespace {
struct DeviceBuffersPass : moe::impl::DeviceBuffersPassBase<DeviceBuffersPass> {
  void runOnOperation() override {
    func::FuncOp function = getOperation();
    if (function.isExternal())
      return;
    HostValues values(function);
    SmallVector<memref::AllocOp> ofHost;
    function.walk([&](memref::AllocOp alloc) {
      if (!getKernelOf(alloc))
        ofHost.push_back(alloc);
    });
    for (memref::AllocOp alloc : ofHost)
      if (failed(boundOnHost(alloc, values)))
        return signalPassFailure();
    for (scf::ParallelOp kernel : getKernels(function)) {
      SmallVector<memref::AllocOp> allocs;
      kernel.walk([&](memref::AllocOp alloc) { allocs.push_back(alloc); });
      Mover mover(kernel, values);
      for (memref::AllocOp alloc : allocs)
        if (failed(mover.move(alloc)))
          return signalPassFailure();
      kernel.walk([](memref::DeallocOp op) { op.erase(); });
    }
  }
};
} // namespace
