//===- ExpandMath.cpp - Polynomials for elementary functions --------------===//
//
// One implementation of exp, tanh, erf ... for vectors and scalars, so that no
// vector library is needed and a value is the same in every lane and tail.
//
//===----------------------------------------------------------------------===//

#include "moe/CPU/Passes.h"
#include "moe/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace mlir::moe {
#define GEN_PASS_DEF_EXPANDMATHPASS
#include "moe/CPU/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;

namespace {
/// exp(x) = 2^n * exp(r), n = round(x / ln 2), |r| <= ln 2 / 2. The power of
/// two is applied in two factors, so that results near the ends of the range
/// are not lost early.
struct ExpandExp : public OpRewritePattern<math::ExpOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(math::ExpOp op,
                                PatternRewriter &rewriter) const override {
    Type type = op.getType();
    if (!getElementTypeOrSelf(type).isF32())
      return rewriter.notifyMatchFailure(op, "expected f32");
    Location loc = op.getLoc();
    Type integers = rewriter.getI32Type();
    if (auto vector = dyn_cast<VectorType>(type))
      integers = vector.clone(integers);
    auto splat = [&](Type of, TypedAttr element) -> Value {
      if (auto vector = dyn_cast<VectorType>(of))
        element = DenseElementsAttr::get(vector, Attribute(element));
      return arith::ConstantOp::create(rewriter, loc, element);
    };
    auto real = [&](float value) {
      return splat(type, rewriter.getF32FloatAttr(value));
    };
    auto integer = [&](int32_t value) {
      return splat(integers, rewriter.getI32IntegerAttr(value));
    };
    auto fma = [&](Value a, Value b, Value c) -> Value {
      return math::FmaOp::create(rewriter, loc, a, b, c);
    };

    // Outside of these bounds the result is 0 or infinity all the same. Both
    // are compared as "keep x", which keeps NaN.
    Value x = op.getOperand();
    auto clamp = [&](arith::CmpFPredicate outside, float bound) {
      Value limit = real(bound);
      Value beyond = arith::CmpFOp::create(rewriter, loc, outside, x, limit);
      x = arith::SelectOp::create(rewriter, loc, beyond, limit, x);
    };
    clamp(arith::CmpFPredicate::OGT, 89.0f);
    clamp(arith::CmpFPredicate::OLT, -104.0f);

    // Adding 1.5 * 2^23 rounds to an integer in the low bits of the
    // significand.
    Value magic = real(12582912.0f);
    Value shifted = fma(x, real(0x1.715476p+0f), magic);
    Value n = arith::SubFOp::create(rewriter, loc, shifted, magic);
    Value r = fma(n, real(-0x1.62e4p-1f), x);
    r = fma(n, real(-0x1.7f7d1cp-20f), r);
    Value p = real(0x1.6850e4p-10f);
    for (float coefficient : {0x1.123bccp-7f, 0x1.555b98p-5f, 0x1.55548ep-3f,
                              0x1.fffff8p-2f, 1.0f, 1.0f})
      p = fma(p, r, real(coefficient));

    Value bits = arith::BitcastOp::create(rewriter, loc, integers, shifted);
    Value exponent =
        arith::SubIOp::create(rewriter, loc, bits, integer(0x4B400000));
    Value half = arith::ShRSIOp::create(rewriter, loc, exponent, integer(1));
    Value rest = arith::SubIOp::create(rewriter, loc, exponent, half);
    Value result = p;
    for (Value part : {half, rest}) {
      Value biased = arith::AddIOp::create(rewriter, loc, part, integer(127));
      Value power = arith::ShLIOp::create(rewriter, loc, biased, integer(23));
      power = arith::BitcastOp::create(rewriter, loc, type, power);
      result = arith::MulFOp::create(rewriter, loc, result, power);
    }
    rewriter.replaceOp(op, result);
    return success();
  }
};

/// Calls the C library lane by lane.
template <typename OpTy>
struct UnrollToScalars : public OpRewritePattern<OpTy> {
  using OpRewritePattern<OpTy>::OpRewritePattern;

  LogicalResult matchAndRewrite(OpTy op,
                                PatternRewriter &rewriter) const override {
    auto type = dyn_cast<VectorType>(op.getType());
    if (!type || type.getRank() != 1 || type.isScalable())
      return rewriter.notifyMatchFailure(op, "expected a vector of rank 1");
    SmallVector<Value> elements;
    for (int64_t lane = 0; lane < type.getNumElements(); ++lane) {
      Value element = vector::ExtractOp::create(rewriter, op.getLoc(),
                                                op.getOperand(), lane);
      elements.push_back(
          OpTy::create(rewriter, op.getLoc(), element, op.getFastmathAttr()));
    }
    rewriter.replaceOpWithNewOp<vector::FromElementsOp>(op, type, elements);
    return success();
  }
};

struct ExpandMathPass
    : public mlir::moe::impl::ExpandMathPassBase<ExpandMathPass> {
  void runOnOperation() override {
    if (getOperation()->hasAttr(mlir::moe::MoEDialect::kKeepMathAttr))
      return;
    RewritePatternSet patterns(&getContext());
    patterns.add<ExpandExp>(&getContext(), /*benefit=*/2);
    patterns.add<UnrollToScalars<math::SinOp>, UnrollToScalars<math::CosOp>>(
        &getContext());
    auto isExpanded = [](StringRef name) {
      return llvm::is_contained(
          {math::TanhOp::getOperationName(), math::ErfOp::getOperationName(),
           math::LogOp::getOperationName(), math::Log1pOp::getOperationName(),
           math::Log2Op::getOperationName(), math::ExpM1Op::getOperationName()},
          name);
    };
    populateMathPolynomialApproximationPatterns(patterns, isExpanded);
    // In 16 bits all of them go by way of f32, exp among them.
    populateMathF32ExpansionPatterns(patterns, [&](StringRef name) {
      return isExpanded(name) || name == math::ExpOp::getOperationName();
    });
    arith::populateExpandBFloat16Patterns(patterns);
    // Divisions that round up or down, which LLVM has none of.
    arith::populateCeilFloorDivExpandOpsPatterns(patterns);
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};
} // namespace
