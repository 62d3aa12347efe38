//===- DeviceBuffers.cpp - Buffers of kernels -----------------------------===//
//
// Implements moe-gpu-device-buffers: allocations leave kernels, for a thread's own memory or for a buffer with room for
// every iteration.
//
//===----------------------------------------------------------------------===//

#include "HostBound.h"
#include "moe/GPU/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

namespace mlir::moe {
#define GEN_PASS_DEF_DEVICEBUFFERSPASS
#include "moe/GPU/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

/// Buffers of iterations start on lines of their own.
constexpr int64_t kAlignment = 128;

static int64_t getElementBytes(MemRefType type) {
  Type element = type.getElementType();
  int64_t bits = element.isIndex() ? 64 : isa<IntegerType, FloatType>(element) ? element.getIntOrFloatBitWidth() : 0;
  return llvm::divideCeil(bits, 8);
}

/// Whether nobody asks how large the buffer is: its users cut from it what they need.
static bool isOnlyCut(memref::AllocOp alloc) {
  return llvm::all_of(alloc->getUsers(), llvm::IsaPred<memref::SubViewOp, memref::DeallocOp>);
}

namespace {
/// Moves the buffers of one kernel.
class Mover {
public:
  Mover(scf::ParallelOp kernel, const HostValues &values, uint64_t maxLocalBytes)
      : kernel(kernel), bound(kernel, values), values(values), maxLocalBytes(maxLocalBytes), builder(kernel) {}

  LogicalResult move(memref::AllocOp alloc);

private:
  Value index(Location loc, int64_t value) { return arith::ConstantIndexOp::create(builder, loc, value); }
  Value buildIterations(Location loc);
  Value buildNumber(Location loc);
  LogicalResult moveToBuffer(memref::AllocOp alloc);

  scf::ParallelOp kernel;
  HostBound bound;
  const HostValues &values;
  uint64_t maxLocalBytes;
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
  int64_t fixed = getElementBytes(type);
  for (int64_t extent : type.getShape())
    if (!ShapedType::isDynamic(extent))
      fixed *= extent;
  Value bytes = index(loc, fixed);
  SmallVector<Value> sizes;
  for (Value size : alloc.getDynamicSizes()) {
    Value limit = bound.build(builder, size);
    if (!limit)
      return alloc.emitError("expected the size of a buffer in a kernel to have a bound that the host knows");
    bytes = builder.createOrFold<arith::MulIOp>(loc, bytes, limit);
    bool outside = size.getParentRegion()->isProperAncestor(&kernel.getRegion());
    // The host must not need the exact number.
    sizes.push_back(outside && !values.isKnown(size) && isOnlyCut(alloc) ? limit : size);
  }
  bytes = builder.createOrFold<arith::AddIOp>(loc, bytes, index(loc, kAlignment - 1));
  bytes = builder.createOrFold<arith::AndIOp>(loc, bytes, index(loc, -kAlignment));
  Value all = builder.createOrFold<arith::MulIOp>(loc, bytes, buildIterations(loc));
  Value buffer = memref::AllocOp::create(builder, loc, MemRefType::get({ShapedType::kDynamic}, builder.getI8Type()),
                                         ValueRange(all), builder.getI64IntegerAttr(kAlignment));
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
  if (!type.hasStaticShape() || static_cast<uint64_t>(type.getNumElements() * getElementBytes(type)) > maxLocalBytes)
    return moveToBuffer(alloc);
  // At the start of the iteration: local memory is of the thread, not of a round of an inner loop.
  builder.setInsertionPointToStart(kernel.getBody());
  Value buffer = memref::AllocaOp::create(builder, alloc.getLoc(), type);
  alloc.replaceAllUsesWith(buffer);
  alloc.erase();
  return success();
}

namespace {
struct DeviceBuffersPass : moe::impl::DeviceBuffersPassBase<DeviceBuffersPass> {
  using DeviceBuffersPassBase::DeviceBuffersPassBase;

  void runOnOperation() override {
    func::FuncOp function = getOperation();
    if (function.isExternal())
      return;
    HostValues values(function);
    for (scf::ParallelOp kernel : getKernels(function)) {
      SmallVector<memref::AllocOp> allocs;
      kernel.walk([&](memref::AllocOp alloc) { allocs.push_back(alloc); });
      Mover mover(kernel, values, maxLocalBytes);
      for (memref::AllocOp alloc : allocs)
        if (failed(mover.move(alloc)))
          return signalPassFailure();
      kernel.walk([](memref::DeallocOp op) { op.erase(); });
    }
  }
};
} // namespace
