//===- EpilogueMath.cpp - Scalar functions between sum and store ----------===//
//
// Makes an epilogue of a function's body. Divisions and functions become the device's approximations, which need no
// call and stay far below the rounding of bf16 (docs/GPU.md has their errors); a call between wgmmas would make the
// assembler run them one by one.
//
//===----------------------------------------------------------------------===//

#include "moe/GPU/Hopper/GroupedMatmul.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::hopper;

namespace {
/// Writes f32 arithmetic.
struct FloatBuilder {
  OpBuilder &b;
  Location loc;

  Value constant(float value) const { return arith::ConstantOp::create(b, loc, b.getF32FloatAttr(value)); }
  Value add(Value x, Value y) const { return arith::AddFOp::create(b, loc, x, y); }
  Value sub(Value x, Value y) const { return arith::SubFOp::create(b, loc, x, y); }
  Value mul(Value x, Value y) const { return arith::MulFOp::create(b, loc, x, y); }
  Value mulAdd(Value x, Value y, Value z) const { return LLVM::FMAOp::create(b, loc, x, y, z); }
  Value intrinsic(StringRef name, ValueRange arguments) const {
    return LLVM::CallIntrinsicOp::create(b, loc, b.getF32Type(), b.getStringAttr(name), arguments).getResult(0);
  }
  /// Two units in the last place over the full range.
  Value div(Value x, Value y) const { return intrinsic("llvm.nvvm.div.full", {x, y}); }
  Value exp2(Value x) const { return intrinsic("llvm.nvvm.ex2.approx", x); }
  Value exp(Value x) const { return exp2(mul(x, constant(1.44269504f))); }
  Value abs(Value x) const { return LLVM::FAbsOp::create(b, loc, x); }
  Value copySign(Value x, Value sign) const { return LLVM::CopySignOp::create(b, loc, x, sign); }
  Value tanh(Value x) const;
  Value erf(Value x) const;
};
} // namespace

/// 1 - 2 / (exp(2 |x|) + 1) with the sign of x: within 1.2e-7 of tanh; near 0, where that is much of the value, the
/// first three terms of the series: x^7 * 17/315 is below 2e-8 of x for |x| < 1/12.
Value FloatBuilder::tanh(Value x) const {
  Value magnitude = abs(x);
  Value large = sub(constant(1), div(constant(2), add(exp(mul(magnitude, constant(2))), constant(1))));
  Value square = mul(x, x);
  Value factor = mulAdd(square, mulAdd(square, constant(2.0f / 15), constant(-1.0f / 3)), constant(1));
  Value small =
      arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OLT, magnitude, constant(1.0f / 12));
  return arith::SelectOp::create(b, loc, small, mul(x, factor), copySign(large, x));
}

/// Abramowitz and Stegun 7.1.26: within 1.5e-7 of erf, and a few roundings.
Value FloatBuilder::erf(Value x) const {
  Value magnitude = abs(x);
  Value t = div(constant(1), mulAdd(magnitude, constant(0.3275911f), constant(1)));
  Value sum = constant(1.061405429f);
  for (float coefficient : {-1.453152027f, 1.421413741f, -0.284496736f, 0.254829592f})
    sum = mulAdd(sum, t, constant(coefficient));
  Value square = mul(magnitude, magnitude);
  Value tail = mul(mul(sum, t), exp(sub(constant(0), square)));
  return copySign(sub(constant(1), tail), x);
}

/// What `op` computes on the device, or null if it is to be copied as it is.
static Value buildFast(const FloatBuilder &f, Operation *op, ValueRange operands) {
  return llvm::TypeSwitch<Operation *, Value>(op)
      .Case([&](arith::DivFOp) { return f.div(operands[0], operands[1]); })
      .Case([&](math::ExpOp) { return f.exp(operands[0]); })
      .Case([&](math::Exp2Op) { return f.exp2(operands[0]); })
      .Case([&](math::TanhOp) { return f.tanh(operands[0]); })
      .Case([&](math::ErfOp) { return f.erf(operands[0]); })
      .Case([&](math::AbsFOp) { return f.abs(operands[0]); })
      .Case([&](math::CopySignOp) { return f.copySign(operands[0], operands[1]); })
      .Case([&](math::FmaOp) { return f.mulAdd(operands[0], operands[1], operands[2]); })
      .Case([&](math::SqrtOp) { return f.intrinsic("llvm.nvvm.sqrt.approx.f", operands); })
      .Case([&](math::RsqrtOp) { return f.intrinsic("llvm.nvvm.rsqrt.approx.f", operands); })
      .Default([](Operation *) { return Value(); });
}

/// Whether `op` is one that buildFast knows, or arithmetic that the device has.
bool hopper::isInEpilogue(Operation *op) {
  if (!llvm::all_of(op->getResultTypes(), [](Type type) { return type.isF32() || type.isInteger(1); }) ||
      op->getNumRegions() != 0)
    return false;
  return isa<arith::ConstantOp, arith::AddFOp, arith::SubFOp, arith::MulFOp, arith::DivFOp, arith::NegFOp,
             arith::CmpFOp, arith::SelectOp, arith::MaximumFOp, arith::MinimumFOp, arith::MaxNumFOp, arith::MinNumFOp,
             arith::AndIOp, arith::OrIOp, arith::XOrIOp, math::ExpOp, math::Exp2Op, math::TanhOp, math::ErfOp,
             math::AbsFOp, math::CopySignOp, math::FmaOp, math::SqrtOp, math::RsqrtOp>(op);
}

FailureOr<Epilogue> hopper::makeEpilogue(FunctionOpInterface function, int64_t inputs) {
  if (function.isExternal() || int64_t(function.getNumArguments()) != inputs || !llvm::hasSingleElement(function.getFunctionBody()) ||
      !llvm::all_of(function.getArgumentTypes(), [](Type type) { return type.isF32(); }) ||
      function.getResultTypes() != ArrayRef<Type>{Float32Type::get(function.getContext())})
    return function.emitError() << "expected an epilogue of one block from " << inputs << " f32 values to one";
  Block &body = function.getFunctionBody().front();
  for (Operation &op : body.without_terminator())
    if (!isInEpilogue(&op))
      return op.emitOpError("has no form in an epilogue on tensor cores");
  return Epilogue([&body](OpBuilder &b, Location loc, ValueRange products, ValueRange vectors) -> FailureOr<Value> {
    IRMapping mapping;
    mapping.map(body.getArguments().take_front(products.size()), products);
    mapping.map(body.getArguments().drop_front(products.size()), vectors);
    for (Operation &op : body.without_terminator()) {
      SmallVector<Value> operands =
          llvm::map_to_vector(op.getOperands(), [&](Value operand) { return mapping.lookup(operand); });
      if (Value fast = buildFast(FloatBuilder{b, loc}, &op, operands))
        mapping.map(op.getResult(0), fast);
      else
        b.clone(op, mapping);
    }
    return mapping.lookup(body.getTerminator()->getOperand(0));
  });
}
