//===- Builders.h - Small tensor programs -----------------------*- C++ -*-===//
//
// What attributes, conversions and the importer build again and again out of linalg.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_IR_BUILDERS_H
#define MOE_DIALECT_MOE_IR_BUILDERS_H

#include "moe/Dialect/MoE/IR/MoE.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/Value.h"

namespace mlir::moe {

using ScalarBody = llvm::function_ref<Value(OpBuilder &, Location, ValueRange)>;

/// An uninitialised tensor with the shape of `like` (dynamic extents are read from it) and, if given, another element
/// type.
Value buildEmptyLike(OpBuilder &builder, Location loc, Value like, Type elementType = {});

/// A tensor with the shape of `like` filled with `value`.
Value buildFilledLike(OpBuilder &builder, Location loc, Value like, TypedAttr value);

/// `body` applied to the corresponding elements of `inputs`, which have one shape; the result has the type of the first.
Value buildElementwise(OpBuilder &builder, Location loc, ValueRange inputs, ScalarBody body);

/// `tensor<MxN>` to `tensor<M>`: `body(x, accumulator)` over each row, from `init`.
Value buildRowReduction(OpBuilder &builder, Location loc, Value input, TypedAttr init, ScalarBody body);

/// Applies `body(x[m, n], row[m])` to each element of `tensor<MxN>`, `row` being `tensor<M>`.
Value buildWithRow(OpBuilder &builder, Location loc, Value input, Value row, ScalarBody body);

/// `table[index]` of a one-dimensional tensor of numbers, 0 where there is no such entry.
Value buildBoundedExtract(OpBuilder &builder, Location loc, Value table, Value index);

/// Softmax over each row of `tensor<MxNxf32>`: exp(x - max), divided by its sum.
Value buildRowSoftmax(OpBuilder &builder, Location loc, Value input);

/// The weight of each of the `rows` rows of a plan: `slots` and `weights` are `[tokens, slots]`. Rows of no pair get 0.
Value buildRowWeights(OpBuilder &builder, Location loc, Value slots, Value weights, OpFoldResult rows);

/// What the `tokens` tokens get of the rows that their experts gave, from zero: a tensor of type `result`.
Value buildCombination(OpBuilder &builder, Location loc, Value rows, Value slots, Value weights,
                       CombineAttrInterface kind, OpFoldResult tokens, RankedTensorType result);

/// Adds the name of the operation to its location: loops that it becomes are called after it, "combine".
void nameAfterOperation(Operation *op);

} // namespace mlir::moe

#endif // MOE_DIALECT_MOE_IR_BUILDERS_H
