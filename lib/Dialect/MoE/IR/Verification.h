//===- Verification.h - What verifiers share --------------------*- C++ -*-===//
//
// Extents that may be unknown, and errors with a note at the value that disagrees.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_IR_VERIFICATION_H
#define MOE_DIALECT_MOE_IR_VERIFICATION_H

#include "moe/Dialect/MoE/IR/MoE.h"

#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Operation.h"

namespace mlir::moe {

/// Whether two extents can be the same: `?` is compatible with everything.
inline bool compatible(int64_t a, int64_t b) {
  return ShapedType::isDynamic(a) || ShapedType::isDynamic(b) || a == b;
}

/// An extent as it is written.
inline std::string extent(int64_t size) {
  return ShapedType::isDynamic(size) ? "?" : std::to_string(size);
}

/// Reports `what` on `op`, with a note at the definition of `other`.
inline InFlightDiagnostic emitWithNote(Operation *op, const Twine &what, Value other, const Twine &note) {
  InFlightDiagnostic diagnostic = op->emitOpError(what);
  diagnostic.attachNote(other.getLoc()) << note;
  return diagnostic;
}

/// Reports a routing that has no decision for each token where one is needed.
inline LogicalResult verifyTokenScope(Operation *op, Value routing) {
  Scope scope = cast<RoutingType>(routing.getType()).getScope();
  if (scope == Scope::token)
    return success();
  InFlightDiagnostic diagnostic = emitWithNote(
      op, "expected a routing with one decision per token, got one per " + Twine(stringifyScope(scope)), routing,
      "it is decided here");
  diagnostic.attachNote(op->getLoc()) << "give each token the decision of its " << stringifyScope(scope)
                                      << " first (moe.spread)";
  return diagnostic;
}

} // namespace mlir::moe

#endif // MOE_DIALECT_MOE_IR_VERIFICATION_H
