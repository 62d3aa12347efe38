//===- Passes.h - passes of the CPU back end ---------------------*- C++
//-*-===//
//
// Declares the constructors and the registration of the passes in Passes.td.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_CPU_PASSES_H
#define MOE_CPU_PASSES_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/Pass.h"

namespace mlir::affine {
class AffineDialect;
} // namespace mlir::affine
namespace mlir::arith {
class ArithDialect;
} // namespace mlir::arith
namespace mlir::linalg {
class LinalgDialect;
} // namespace mlir::linalg
namespace mlir::math {
class MathDialect;
} // namespace mlir::math
namespace mlir::memref {
class MemRefDialect;
} // namespace mlir::memref
namespace mlir::scf {
class SCFDialect;
} // namespace mlir::scf
namespace mlir::vector {
class VectorDialect;
} // namespace mlir::vector

namespace mlir::moe {

#define GEN_PASS_DECL
#include "moe/CPU/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "moe/CPU/Passes.h.inc"

} // namespace mlir::moe

#endif // MOE_CPU_PASSES_H
