//===- DeviceMath.cpp - Sine and cosine without a library -----------------===//
//
// Implements moe-gpu-device-math: arguments of rotary tables are as large as positions, so the reduction is in f64.
//
//===----------------------------------------------------------------------===//

#include "moe/GPU/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::moe {
#define GEN_PASS_DEF_DEVICEMATHPASS
#include "moe/GPU/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;

namespace {
/// Builds in f64.
struct DoubleBuilder {
  ImplicitLocOpBuilder b;

  Value real(double value) { return arith::ConstantOp::create(b, b.getF64FloatAttr(value)); }
  Value integer(int64_t value) { return arith::ConstantOp::create(b, b.getI64IntegerAttr(value)); }
  Value fma(Value x, Value y, Value z) { return math::FmaOp::create(b, x, y, z); }
  Value isBitSet(Value number, int64_t bit) {
    Value own = arith::AndIOp::create(b, number, integer(bit));
    return arith::CmpIOp::create(b, arith::CmpIPredicate::ne, own, integer(0));
  }
  /// c[0] + c[1] x + ...
  Value polynomial(Value x, ArrayRef<double> coefficients) {
    Value sum = real(coefficients.back());
    for (double coefficient : llvm::reverse(coefficients.drop_back()))
      sum = fma(sum, x, real(coefficient));
    return sum;
  }
};
} // namespace

/// sin(x + turns * pi/2) for an f32.
static Value buildSine(ImplicitLocOpBuilder builder, Value x, int64_t turns) {
  DoubleBuilder d{builder};
  ImplicitLocOpBuilder &b = d.b;
  Value wide = arith::ExtFOp::create(b, b.getF64Type(), x);
  // Adding 1.5 * 2^52 rounds to an integer, in the low bits of the significand.
  Value magic = d.real(0x1.8p52);
  Value shifted = d.fma(wide, d.real(0x1.45f306dc9c883p-1), magic);
  Value count = arith::SubFOp::create(b, shifted, magic);
  // pi/2 in two words: the first product is exact inside the fma, the second corrects it.
  Value rest = d.fma(count, d.real(-0x1.921fb54442d18p0), wide);
  rest = d.fma(count, d.real(-0x1.1a62633145c07p-54), rest);
  Value quadrant = arith::BitcastOp::create(b, b.getI64Type(), shifted);
  quadrant = arith::AddIOp::create(b, quadrant, d.integer(turns));

  // Taylor series up to x^15 and x^16: below 2^-50 for |x| <= pi/4, far under half an ulp of f32.
  Value square = arith::MulFOp::create(b, rest, rest);
  Value sine = d.polynomial(square, {1.0, -1.0 / 6, 1.0 / 120, -1.0 / 5040, 1.0 / 362880, -1.0 / 39916800,
                                     1.0 / 6227020800, -1.0 / 1307674368000});
  sine = arith::MulFOp::create(b, sine, rest);
  Value cosine = d.polynomial(square, {1.0, -0.5, 1.0 / 24, -1.0 / 720, 1.0 / 40320, -1.0 / 3628800, 1.0 / 479001600,
                                       -1.0 / 87178291200, 1.0 / 20922789888000});
  Value result = arith::SelectOp::create(b, d.isBitSet(quadrant, 1), cosine, sine);
  Value negative = arith::NegFOp::create(b, result);
  result = arith::SelectOp::create(b, d.isBitSet(quadrant, 2), negative, result);
  return arith::TruncFOp::create(b, b.getF32Type(), result);
}

namespace {
struct DeviceMathPass : moe::impl::DeviceMathPassBase<DeviceMathPass> {
  void runOnOperation() override {
    SmallVector<Operation *> ops;
    getOperation().walk([&](Operation *op) {
      if (isa<math::SinOp, math::CosOp>(op) && op->getResult(0).getType().isF32())
        ops.push_back(op);
    });
    for (Operation *op : ops) {
      ImplicitLocOpBuilder builder(op->getLoc(), op);
      op->getResult(0).replaceAllUsesWith(buildSine(builder, op->getOperand(0), isa<math::CosOp>(op)));
      op->erase();
    }
  }
};
} // namespace
