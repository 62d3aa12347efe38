//===- MoEToKernels.h - The moe dialect for devices -------------*- C++ -*-===//
//
// Patterns of convert-moe-to-kernels: each turns one operation into tensor programs whose elements are computed
// independently. They take the place of the plain ones; another road for an operation is a pattern of a higher benefit.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_CONVERSION_MOETOKERNELS_MOETOKERNELS_H
#define MOE_CONVERSION_MOETOKERNELS_MOETOKERNELS_H

#include "mlir/Transforms/DialectConversion.h"

namespace mlir::moe {

/// Above the plain patterns, which have 1.
inline constexpr unsigned kElementBenefit = 2;

/// On a function: it stands for a plan until tensors are buffers. It takes ids, and what it fills and gives back:
/// offsets, tokens and slots.
inline constexpr llvm::StringLiteral kPlanAttr = "launch.plan";

// One function per file of lib/Conversion/MoEToKernels.
void populateProductKernelPatterns(const TypeConverter &converter, RewritePatternSet &patterns);
void populatePlanKernelPatterns(const TypeConverter &converter, RewritePatternSet &patterns, bool recordLoad);
void populateRowKernelPatterns(const TypeConverter &converter, RewritePatternSet &patterns);

} // namespace mlir::moe

#endif // MOE_CONVERSION_MOETOKERNELS_MOETOKERNELS_H
