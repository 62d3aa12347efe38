//===- MoEWeightings.cpp - Normalisations and combinations ----------------===//
//
// What happens to the weights of the selected experts, and how expert outputs become one row.
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/MoE/IR/Builders.h"
#include "moe/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace mlir::moe;

Value KeepAttr::buildWeights(OpBuilder &, Location, Value, Value weights) const { return weights; }

LogicalResult
SumToOneAttr::verify(llvm::function_ref<InFlightDiagnostic()> emitError,
                     FloatAttr epsilon) {
  if (epsilon && (!epsilon.getType().isF32() || !epsilon.getValue().isFinite() ||
                  epsilon.getValue().isNegative()))
    return emitError()
           << "expected 'epsilon' to be a finite f32, 0 or more, got "
           << epsilon;
  return success();
}

Value SumToOneAttr::buildWeights(OpBuilder &builder, Location loc, Value, Value weights) const {
  Value sum = buildRowReduction(builder, loc, weights, builder.getF32FloatAttr(0.0f),
                                [](OpBuilder &b, Location loc, ValueRange x) -> Value {
                                  return arith::AddFOp::create(b, loc, x[0], x[1]);
                                });
  FloatAttr epsilon = getEpsilon();
  return buildWithRow(builder, loc, weights, sum, [epsilon](OpBuilder &b, Location loc, ValueRange x) -> Value {
    Value divisor = x[1];
    if (epsilon)
      divisor = arith::AddFOp::create(b, loc, divisor,
                                      arith::ConstantOp::create(b, loc, b.getF32FloatAttr(epsilon.getValueAsDouble())));
    return arith::DivFOp::create(b, loc, x[0], divisor);
  });
}

Value SoftmaxSelectedAttr::buildWeights(OpBuilder &builder, Location loc, Value ids, Value weights) const {
  // Empty slots take part as -inf, which leaves them at exactly 0.
  Value idsAsWeights = buildElementwise(builder, loc, {weights, ids}, [](OpBuilder &b, Location loc, ValueRange x) -> Value {
    Value zero = arith::ConstantOp::create(b, loc, b.getI32IntegerAttr(0));
    Value empty = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, x[1], zero);
    Value lowest = arith::ConstantOp::create(b, loc, b.getF32FloatAttr(-std::numeric_limits<float>::infinity()));
    return arith::SelectOp::create(b, loc, empty, lowest, x[0]);
  });
  return buildRowSoftmax(builder, loc, idsAsWeights);
}

Value WeightedSumAttr::buildAccumulate(OpBuilder &builder, Location loc, Value accumulator, Value value,
                                       Value weight) const {
  return math::FmaOp::create(builder, loc, weight, value, accumulator);
}

Value SumAttr::buildAccumulate(OpBuilder &builder, Location loc, Value accumulator, Value value, Value) const {
  return arith::AddFOp::create(builder, loc, accumulator, value);
}

Value ConcatSlotsAttr::buildAccumulate(OpBuilder &builder, Location loc, Value accumulator, Value value, Value) const {
  return arith::AddFOp::create(builder, loc, accumulator, value);
}

bool ConcatSlotsAttr::keepsSlotsApart() const { return true; }
