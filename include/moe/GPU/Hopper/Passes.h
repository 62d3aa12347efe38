//===- Passes.h - Passes for Hopper -----------------------------*- C++ -*-===//
//
// Declares the constructors and the registration of the passes in Passes.td.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_GPU_HOPPER_PASSES_H
#define MOE_GPU_HOPPER_PASSES_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace mlir::moe {

#define GEN_PASS_DECL
#include "moe/GPU/Hopper/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "moe/GPU/Hopper/Passes.h.inc"

} // namespace mlir::moe

#endif // MOE_GPU_HOPPER_PASSES_H
