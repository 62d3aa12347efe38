//===- BankRows.h - Rows of banks at multiples of 16 bytes ------*- C++ -*-===//
//
// TMA and 16-byte copies reach only rows that begin at multiples of 16 bytes: recipes are rewritten so that others get
// zeros at their ends.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_GPU_HOPPER_BANKROWS_H
#define MOE_GPU_HOPPER_BANKROWS_H

#include "moe/Dialect/MoE/Transforms/WeightFlow.h"

#include "llvm/Support/MathExtras.h"

namespace mlir::moe::hopper {

/// Elements of bf16 from a row of `elements` to the next.
inline int64_t getRowPitch(int64_t elements) { return llvm::alignTo<8>(elements); }

/// Whether `type` is a bank of bf16 [experts, columns, K] whose rows lie closer.
bool needsPadding(Type type);

/// The bank with rows at that distance.
WeightFlow::Change getPadding();

} // namespace mlir::moe::hopper

#endif // MOE_GPU_HOPPER_BANKROWS_H
