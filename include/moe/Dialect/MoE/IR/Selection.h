//===- Selection.h - What a selection policy is asked and given -*- C++ -*-===//
//
// Run-time parameters of policies, and the values a policy chooses from.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_IR_SELECTION_H
#define MOE_DIALECT_MOE_IR_SELECTION_H

#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Value.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"

namespace mlir::moe {

/// A tensor that a policy reads at run time: a threshold, a key, a table. An operand may have extent 1 wherever
/// `shape` says more: one value then stands for all.
struct PolicyParameter {
  /// As an extent: one entry per token of the selection.
  static constexpr int64_t kTokens = ShapedType::kDynamic;
  /// As an extent: any number.
  static constexpr int64_t kAny = ShapedType::kDynamic + 1;

  enum class Element { f32, i32, index };

  llvm::StringRef name;
  llvm::SmallVector<int64_t, 2> shape;
  Element element = Element::f32;
  bool required = true;
};

/// What a policy chooses from.
struct SelectionInput {
  /// `tensor<TxExf32>`: the scores, with the bias added where there is one.
  Value scores;
  llvm::SmallVector<std::pair<llvm::StringRef, Value>, 2> parameters;

  /// The parameter of that name, or nothing.
  Value lookup(llvm::StringRef name) const {
    for (auto [other, value] : parameters)
      if (other == name)
        return value;
    return {};
  }
};

} // namespace mlir::moe

#endif // MOE_DIALECT_MOE_IR_SELECTION_H
