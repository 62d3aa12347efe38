//===- ExpertBody.h - What an expert's program does to rows -----*- C++ -*-===//
//
// The analysis behind moe-decompose-experts: which values of a body are rows, weights or the same for all experts, and
// which operations can run on the rows of all experts at once.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_TRANSFORMS_EXPERTBODY_H
#define MOE_DIALECT_MOE_TRANSFORMS_EXPERTBODY_H

#include "moe/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"

namespace mlir::moe {

/// What a value of the body is, seen over all experts.
enum class BodyValue {
  /// The same for every expert and every row: shared operands, constants and what is computed from them.
  Uniform,
  /// A tensor whose first dimension is the expert's rows; each row depends on that row alone.
  Rows,
  /// The number of rows of this expert; good for sizes only.
  Count,
  /// A component of a bank, possibly widened.
  Weight,
};

/// What becomes of an operation of the body.
enum class BodyOp {
  /// Computed once, outside.
  Hoist,
  /// Its result only says how many rows there are, or names a weight.
  Drop,
  /// A product of rows and a weight: moe.grouped_matmul.
  Product,
  /// Runs on all rows at once.
  Lift,
};

/// Which component of which bank a weight of the body is.
struct BankComponent {
  unsigned bank;
  unsigned component;
};

class ExpertBody {
public:
  /// Analyses the body of one class of `experts`. On failure says what stands in the way, and where.
  static FailureOr<ExpertBody> analyse(ExpertsOp experts, unsigned bodyClass,
                                       llvm::function_ref<void(Operation *, const Twine &)> whyNot);

  BodyValue kindOf(Value value) const { return values.lookup(value); }
  BodyOp kindOf(Operation *op) const { return operations.lookup(op); }
  /// The weight that `value` names; only for kind Weight.
  BankComponent componentOf(Value value) const { return components.lookup(value); }

private:
  using Failure = std::optional<std::string>;

  ExpertBody(ExpertsOp experts, unsigned bodyClass);
  Failure visit(Operation *op);
  Failure visitLinalg(linalg::LinalgOp op);
  Failure visitSlice(Operation *op);
  void set(Operation *op, BodyOp what, BodyValue result);
  bool isCount(OpFoldResult size) const;
  bool all(ValueRange range, BodyValue kind) const;

  llvm::DenseMap<Value, BodyValue> values;
  llvm::DenseMap<Operation *, BodyOp> operations;
  llvm::DenseMap<Value, BankComponent> components;
};

} // namespace mlir::moe

#endif // MOE_DIALECT_MOE_TRANSFORMS_EXPERTBODY_H
