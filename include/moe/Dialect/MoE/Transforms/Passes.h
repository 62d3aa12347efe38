//===- Passes.h - Passes on the moe dialect ---------------------*- C++ -*-===//
//
// Declares the constructors and the registration of the passes in Passes.td.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_TRANSFORMS_PASSES_H
#define MOE_DIALECT_MOE_TRANSFORMS_PASSES_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/Pass.h"

namespace mlir::affine {
class AffineDialect;
} // namespace mlir::affine
namespace mlir::arith {
class ArithDialect;
} // namespace mlir::arith
namespace mlir::bufferization {
class BufferizationDialect;
} // namespace mlir::bufferization
namespace mlir::linalg {
class LinalgDialect;
} // namespace mlir::linalg
namespace mlir::math {
class MathDialect;
} // namespace mlir::math
namespace mlir::ml_program {
class MLProgramDialect;
} // namespace mlir::ml_program
namespace mlir::scf {
class SCFDialect;
} // namespace mlir::scf
namespace mlir::tensor {
class TensorDialect;
} // namespace mlir::tensor

namespace mlir::moe {

class MoEDialect;

/// What `force-class` of moe-tile-grouped-matmul takes, in the order of KernelClass.
ArrayRef<StringLiteral> getKernelClasses();

#define GEN_PASS_DECL
#include "moe/Dialect/MoE/Transforms/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "moe/Dialect/MoE/Transforms/Passes.h.inc"

} // namespace mlir::moe

#endif // MOE_DIALECT_MOE_TRANSFORMS_PASSES_H
