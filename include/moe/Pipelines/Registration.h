//===- Registration.h - What the compiler's dialects are --------*- C++ -*-===//
//
// Dialects of all stages, with the interfaces that tiling, bufferisation and translation need.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_PIPELINES_REGISTRATION_H
#define MOE_PIPELINES_REGISTRATION_H

namespace mlir {
class DialectRegistry;
} // namespace mlir

namespace mlir::moe {

/// Adds the dialects that occur in any stage, and the interfaces that their operations get from elsewhere.
void registerCompilerDialects(DialectRegistry &registry);

} // namespace mlir::moe

#endif // MOE_PIPELINES_REGISTRATION_H
