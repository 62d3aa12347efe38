//===- LoopBuffers.h - Buffers of parallel loops ----------------*- C++ -*-===//
//
// What moving buffers out of parallel loops takes, on every target: the loops, and the bytes of a buffer.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_CONVERSION_LOOPBUFFERS_H
#define MOE_CONVERSION_LOOPBUFFERS_H

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

namespace mlir::moe {

/// The parallel loops in `op` that lie in no other, in order.
SmallVector<scf::ParallelOp> getOutermostLoops(Operation *op);

/// Bytes of an element in memory; 0 if it is no number.
int64_t getElementBytes(MemRefType type);

/// Bytes of a buffer of `type` with these dynamic extents, rounded up to a multiple of `alignment`, a power of two.
Value buildBufferBytes(OpBuilder &builder, Location loc, MemRefType type, ValueRange extents, int64_t alignment);

/// Allocates `bytes`.
Value buildByteBuffer(OpBuilder &builder, Location loc, Value bytes, int64_t alignment);

} // namespace mlir::moe

#endif // MOE_CONVERSION_LOOPBUFFERS_H
