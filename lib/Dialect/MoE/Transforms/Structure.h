//===- Structure.h - Recognising shapes of linalg operations ----*- C++ -*-===//
//
// The questions that several passes ask: is this a product with weights, is it elementwise, is it zero.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_TRANSFORMS_STRUCTURE_H
#define MOE_DIALECT_MOE_TRANSFORMS_STRUCTURE_H

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/PatternMatch.h"

namespace mlir::moe {

/// `init[m, n] + sum over k of rows[m, k] * weight[n, k]` in f32; the weight may be stored narrower. Named operation
/// or generic form.
struct Contraction {
  OpOperand *rows;
  OpOperand *weight;
  OpOperand *init;
};
std::optional<Contraction> matchContraction(linalg::LinalgOp op);

/// The value that `value` widens to f32 element by element (linalg or arith), or null.
Value getWidened(Value value);

/// Whether every element of `value` is zero, whatever its size.
bool isZeroTensor(Value value);

/// Whether nobody may rely on the elements of `value`: an empty tensor or a slice of one.
bool isUndefinedTensor(Value value);

/// Whether result element i depends on element i of each input alone, nothing is broadcast, and what the result starts
/// from is not read. One result.
bool isElementwise(linalg::LinalgOp op);

/// The operands of an elementwise addition of two tensors of one type, in their order, or nothing.
std::optional<std::pair<OpOperand *, OpOperand *>> matchAddition(Operation *op);

/// Whether nothing but `readers` uses `value`; asking for its size does not count.
bool isReadOnlyBy(Value value, llvm::function_ref<bool(Operation *)> readers);

/// Makes all that asks for the size of `value` ask for the size of `like`, which has the same shape.
void redirectSizes(RewriterBase &rewriter, Value value, Value like);

} // namespace mlir::moe

#endif // MOE_DIALECT_MOE_TRANSFORMS_STRUCTURE_H
