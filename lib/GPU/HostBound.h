//===- HostBound.h - Bounds that the host knows -----------------*- C++ -*-===//
//
// Finds a number for the host that a number of the device never exceeds.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_GPU_HOSTBOUND_H
#define MOE_LIB_GPU_HOSTBOUND_H

#include "HostValues.h"

#include "mlir/IR/Builders.h"

namespace mlir::moe {

/// Builds bounds in front of one operation of the host, a kernel or an allocation. Operands of minima, ends of loops and
/// the extents of buffers are followed.
class HostBound {
public:
  HostBound(Operation *anchor, const HostValues &values) : anchor(anchor), values(values) {}

  /// A value in front of the operation that `value`, an index, is at most; null if none is found.
  Value build(OpBuilder &builder, Value value);

private:
  Value buildExact(OpBuilder &builder, Value value);
  Value buildOfOperation(OpBuilder &builder, Operation *op);

  Operation *anchor;
  const HostValues &values;
};

} // namespace mlir::moe

#endif // MOE_LIB_GPU_HOSTBOUND_H
