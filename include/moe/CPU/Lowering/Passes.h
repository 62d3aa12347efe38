//===- Passes.h - Passes between tensors and LLVM ---------------*- C++ -*-===//
//
// Declares the constructors and the registration of the passes in Passes.td.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_CPU_LOWERING_PASSES_H
#define MOE_CPU_LOWERING_PASSES_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace mlir::moe {

#define GEN_PASS_DECL
#include "moe/CPU/Lowering/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "moe/CPU/Lowering/Passes.h.inc"

} // namespace mlir::moe

#endif // MOE_CPU_LOWERING_PASSES_H
