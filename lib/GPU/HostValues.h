//===- HostValues.h - What the host knows -----------------------*- C++ -*-===//
//
// Tells the numbers that the host computes from sizes and arguments from those that come from the device's memory.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_GPU_HOSTVALUES_H
#define MOE_LIB_GPU_HOSTVALUES_H

#include "moe/Conversion/LoopBuffers.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/DenseSet.h"

namespace mlir::moe {

/// The outermost parallel loop around `op`, `op` included, or null.
scf::ParallelOp getKernelOf(Operation *op);

/// The kernels of a function, in order.
inline SmallVector<scf::ParallelOp> getKernels(func::FuncOp function) { return getOutermostLoops(function); }

/// What `memref` is a view of, where that is memory of its own: an allocation, a constant, or an argument of the
/// function, which bufferization lets no other argument overlap if it is written to. Else null.
Value findBuffer(Value memref);

/// How many iterations `kernel` has in a dimension.
Value buildTrips(OpBuilder &builder, Location loc, scf::ParallelOp kernel, unsigned dim);

/// Whether `op` itself, apart from its regions, reads or writes memory. Allocating is not touching.
bool touchesMemory(Operation *op);

/// Which values of a function outside of kernels depend on the device's memory. A buffer does if its place does.
class HostValues {
public:
  explicit HostValues(func::FuncOp function);

  /// Whether the host knows `value`, which stands outside of kernels.
  bool isKnown(Value value) const { return !onDevice.contains(value); }

private:
  bool visit(Operation *op);
  bool mark(Value value) { return onDevice.insert(value).second; }

  llvm::DenseSet<Value> onDevice;
};

} // namespace mlir::moe

#endif // MOE_LIB_GPU_HOSTVALUES_H
