//===- Launch.h - From loops to a kernel ------------------------*- C++ -*-===//
//
// What makes a function of the device out of parallel loops: what it gets from the host, what it makes anew, and the
// iteration that a number stands for.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_GPU_LAUNCH_H
#define MOE_LIB_GPU_LAUNCH_H

#include "HostValues.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/SetVector.h"

namespace mlir::moe {

/// The iterations of a loop.
struct Iterations {
  Iterations(OpBuilder &host, scf::ParallelOp loop);

  /// The loop's body at the insertion point, for iteration `number` of those whose first dimension begins at `first`
  /// (null: 0). `mapping` says what the kernel has for the host's values.
  void buildBody(OpBuilder &builder, Value number, Value first, IRMapping mapping);

  scf::ParallelOp loop;
  SmallVector<Value> trips; ///< of each dimension, on the host
};

/// The values of the host that a kernel uses.
class Captures {
public:
  void require(Value value);
  /// What the loop needs; `first` is what its first dimension is known by.
  void require(const Iterations &iterations, Value first);

  /// Makes the parameters of `kernel` and, in it, what it makes itself.
  IRMapping buildInside(OpBuilder &builder, gpu::GPUFuncOp kernel) const;

  ArrayRef<Value> getArguments() const { return arguments.getArrayRef(); }

private:
  SetVector<Value> arguments;
  SetVector<Operation *> remade; ///< in an order in which they can be made
};

/// Several loops in one kernel, phases of one launch.
class PhasedLaunch {
public:
  /// `ticket` declares the function that gives the word in which blocks count themselves.
  PhasedLaunch(ArrayRef<scf::ParallelOp> loops, func::FuncOp ticket);

  ArrayRef<Value> getArguments() const { return captures.getArguments(); }
  /// Fills `kernel`, which takes the arguments, and puts its launch in the place of the loops.
  void build(gpu::GPUFuncOp kernel);

  /// Threads of a block.
  static constexpr int64_t kThreads = 512;

private:
  void buildPhase(OpBuilder &builder, Iterations &phase, const IRMapping &mapping);
  Value buildIsLast(OpBuilder &builder, const IRMapping &mapping);

  OpBuilder host;
  Location loc;
  SmallVector<Iterations, 0> phases;
  Captures captures;
  Value blocks, ticket;
  Value block, thread, threads; ///< in the kernel
};

} // namespace mlir::moe

#endif // MOE_LIB_GPU_LAUNCH_H
