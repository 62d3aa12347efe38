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

namespace mlir::affine {
class AffineDialect;
} // namespace mlir::affine
namespace mlir::arith {
class ArithDialect;
} // namespace mlir::arith
namespace mlir::LLVM {
class LLVMDialect;
} // namespace mlir::LLVM
namespace mlir::memref {
class MemRefDialect;
} // namespace mlir::memref
namespace mlir::scf {
class SCFDialect;
} // namespace mlir::scf

namespace mlir::moe {

#define GEN_PASS_DECL
#include "moe/CPU/Lowering/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "moe/CPU/Lowering/Passes.h.inc"

} // namespace mlir::moe

#endif // MOE_CPU_LOWERING_PASSES_H
