//===- Elements.h - Tensors computed element by element ---------*- C++ -*-===//
//
// What the patterns of convert-moe-to-kernels build: one body for all elements of a tensor, and the group of a row.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CONVERSION_MOETOKERNELS_ELEMENTS_H
#define MOE_LIB_CONVERSION_MOETOKERNELS_ELEMENTS_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/Value.h"

namespace mlir::moe {

/// Gives an element from its indices and what `init` holds there.
using ElementBody = llvm::function_ref<Value(OpBuilder &, ValueRange indices, Value old)>;

/// `init` with every element replaced by what `body` gives: a linalg.generic, parallel in all dimensions.
Value buildElements(OpBuilder &builder, Location loc, Value init, ElementBody body);

/// An element of `tensor` as an index.
Value buildIndexAt(OpBuilder &builder, Location loc, Value tensor, ValueRange indices);

/// The group e with offsets[e] <= row < offsets[e + 1]; `groups` if `row` lies behind all. By bisection.
Value buildGroupOfRow(OpBuilder &builder, Location loc, Value offsets, int64_t groups, Value row);

using LoopBody = llvm::function_ref<Value(OpBuilder &, Value iv, Value carried)>;

/// `scf.for` over [0, count) that carries one value.
Value buildChain(OpBuilder &builder, Location loc, Value count, Value init, LoopBody body);

} // namespace mlir::moe

#endif // MOE_LIB_CONVERSION_MOETOKERNELS_ELEMENTS_H
