//===- CPU.h - Facts about the CPU compiled for -----------------*- C++ -*-===//
//
// Resolves a name of a CPU once, to the attribute that every later stage reads.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TARGET_CPU_H
#define MOE_TARGET_CPU_H

#include "moe/Dialect/MoE/IR/MoE.h"
#include "llvm/Support/Error.h"

namespace mlir::moe {

/// The facts of `name`, a CPU that LLVM knows for x86-64, or of the machine this runs on if it is "native". CPUs
/// without AVX2 and FMA are refused.
llvm::Expected<CPUTargetAttr> resolveCPUTarget(MLIRContext *context, llvm::StringRef name);

} // namespace mlir::moe

#endif // MOE_TARGET_CPU_H
