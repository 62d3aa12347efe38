//===- Passes.h - Passes of the GPU back end --------------------*- C++ -*-===//
//
// Declares the constructors and the registration of the passes in Passes.td.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_GPU_PASSES_H
#define MOE_GPU_PASSES_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace mlir::affine {
class AffineDialect;
} // namespace mlir::affine
namespace mlir::arith {
class ArithDialect;
} // namespace mlir::arith
namespace mlir::LLVM {
class LLVMDialect;
} // namespace mlir::LLVM
namespace mlir::math {
class MathDialect;
} // namespace mlir::math
namespace mlir::memref {
class MemRefDialect;
} // namespace mlir::memref
namespace mlir::NVVM {
class NVVMDialect;
} // namespace mlir::NVVM
namespace mlir::scf {
class SCFDialect;
} // namespace mlir::scf

namespace mlir::moe {

#define GEN_PASS_DECL
#include "moe/GPU/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "moe/GPU/Passes.h.inc"

} // namespace mlir::moe

#endif // MOE_GPU_PASSES_H
