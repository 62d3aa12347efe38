//===- KernelNames.h - Readable names of loops ------------------*- C++ -*-===//
//
// How the functions are called that outermost loops become, on every target.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_CONVERSION_KERNELNAMES_H
#define MOE_CONVERSION_KERNELNAMES_H

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <string>

namespace mlir::moe {

/// "decoder_layer_0.attention.scores": the function, then what the location of `op` says; "loop" where it says nothing.
/// Letters, digits, dots and underscores.
std::string getKernelName(func::FuncOp function, Operation *op);

} // namespace mlir::moe

#endif // MOE_CONVERSION_KERNELNAMES_H
