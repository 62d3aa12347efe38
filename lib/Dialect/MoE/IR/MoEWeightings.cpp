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

/// 1 where a slot holds an expert, 0 where it is empty; the type of `weights`.
static Value buildFilled(OpBuilder &builder, Location loc, Value ids, Value weights) {
  return buildElementwise(builder, loc, {weights, ids}, [](OpBuilder &b, Location loc, ValueRange x) -> Value {
    Value zero = arith::ConstantOp::create(b, loc, b.getI32IntegerAttr(0));
    Value filled = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::sge, x[1], zero);
    return arith::UIToFPOp::create(b, loc, b.getF32Type(), filled);
  });
}

static Value buildRowSum(OpBuilder &builder, Location loc, Value weights) {
  return buildRowReduction(builder, loc, weights, builder.getF32FloatAttr(0.0f),
                           [](OpBuilder &b, Location loc, ValueRange x) -> Value {
                             return arith::AddFOp::create(b, loc, x[0], x[1]);
                           });
}

Value KeepAttr::buildWeights(OpBuilder &, Location, Value, Value weights) const { return weights; }
bool KeepAttr::isOverSelected() const { return false; }

Value OneAttr::buildWeights(OpBuilder &builder, Location loc, Value ids, Value weights) const {
  return buildFilled(builder, loc, ids, weights);
}
bool OneAttr::isOverSelected() const { return false; }

Value UniformAttr::buildWeights(OpBuilder &builder, Location loc, Value ids, Value weights) const {
  Value filled = buildFilled(builder, loc, ids, weights);
  Value count = buildRowSum(builder, loc, filled);
  return buildWithRow(builder, loc, filled, count, [](OpBuilder &b, Location loc, ValueRange x) -> Value {
    return arith::DivFOp::create(b, loc, x[0], x[1]);
  });
}

static LogicalResult verifyPositive(llvm::function_ref<InFlightDiagnostic()> emitError, StringRef name,
                                    FloatAttr value) {
  if (value && (!value.getType().isF32() || !value.getValue().isFinite() || value.getValue().isNegative()))
    return emitError() << "expected '" << name << "' to be a finite f32, 0 or more, got " << value;
  return success();
}

LogicalResult SumToOneAttr::verify(llvm::function_ref<InFlightDiagnostic()> emitError, FloatAttr epsilon,
                                   FloatAttr floor) {
  return success(succeeded(verifyPositive(emitError, "epsilon", epsilon)) &&
                 succeeded(verifyPositive(emitError, "floor", floor)));
}

Value SumToOneAttr::buildWeights(OpBuilder &builder, Location loc, Value, Value weights) const {
  Value sum = buildRowSum(builder, loc, weights);
  FloatAttr epsilon = getEpsilon(), floor = getFloor();
  return buildWithRow(builder, loc, weights, sum, [=](OpBuilder &b, Location loc, ValueRange x) -> Value {
    Value divisor = x[1];
    if (epsilon)
      divisor = arith::AddFOp::create(b, loc, divisor, arith::ConstantOp::create(b, loc, epsilon));
    if (floor)
      divisor = arith::MaximumFOp::create(b, loc, divisor, arith::ConstantOp::create(b, loc, floor));
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
