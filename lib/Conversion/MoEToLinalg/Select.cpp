//===- Select.cpp - moe.select as linalg ----------------------------------===//
//
// Scores, choice, normalisation and scale: each is built by the attribute that
// names it.
//
//===----------------------------------------------------------------------===//

#include "moe/Conversion/MoEToLinalg/MoEToLinalg.h"
#include "moe/Dialect/MoE/IR/Builders.h"
#include "moe/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe;

/// `scores[t, e] + bias[e]`.
static Value addBias(OpBuilder &builder, Location loc, Value scores,
                     Value bias) {
  AffineMap full = builder.getMultiDimIdentityMap(2);
  SmallVector<utils::IteratorType> iterators(2, utils::IteratorType::parallel);
  Value empty = buildEmptyLike(builder, loc, scores);
  return linalg::GenericOp::create(
             builder, loc, empty.getType(), ValueRange{scores, bias}, empty,
             ArrayRef<AffineMap>{full, full.dropResult(0), full}, iterators,
             [](OpBuilder &b, Location loc, ValueRange x) {
               Value sum = arith::AddFOp::create(b, loc, x[0], x[1]);
               linalg::YieldOp::create(b, loc, sum);
             })
      .getResult(0);
}

/// `scores[t, ids[t, s]]`, 0 for empty slots: what the choice weighs when
/// something else decided it.
static Value scoresOfChosen(OpBuilder &builder, Location loc, Value scores,
                            Value ids) {
  AffineMap full = builder.getMultiDimIdentityMap(2);
  SmallVector<utils::IteratorType> iterators(2, utils::IteratorType::parallel);
  Value empty = buildEmptyLike(builder, loc, ids, builder.getF32Type());
  return linalg::GenericOp::create(
             builder, loc, empty.getType(), ids, empty,
             ArrayRef<AffineMap>{full, full}, iterators,
             [&](OpBuilder &b, Location loc, ValueRange x) {
               Value zero = arith::ConstantIndexOp::create(b, loc, 0);
               Value none =
                   arith::ConstantOp::create(b, loc, b.getF32FloatAttr(0.0f));
               Value token = linalg::IndexOp::create(b, loc, 0);
               Value expert =
                   arith::IndexCastOp::create(b, loc, b.getIndexType(), x[0]);
               Value empty = arith::CmpIOp::create(
                   b, loc, arith::CmpIPredicate::slt, expert, zero);
               Value inside = arith::MaxSIOp::create(b, loc, expert, zero);
               Value score = tensor::ExtractOp::create(
                   b, loc, scores, ValueRange{token, inside});
               linalg::YieldOp::create(
                   b, loc,
                   arith::SelectOp::create(b, loc, empty, none, score)
                       .getResult());
             })
      .getResult(0);
}

namespace {
struct LowerSelect : public OpConversionPattern<SelectOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(SelectOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    Value scores =
        op.getScore().buildScores(rewriter, loc, adaptor.getLogits());
    Value bias = adaptor.getBias();
    Value judged = bias ? addBias(rewriter, loc, scores, bias) : scores;
    auto [ids, weights] = op.getPolicy().buildSelection(rewriter, loc, judged);
    if (bias)
      weights = scoresOfChosen(rewriter, loc, scores, ids);
    weights = op.getNormalization().buildWeights(rewriter, loc, ids, weights);
    if (!op.getScale().isExactlyValue(1.0)) {
      FloatAttr scale = op.getScaleAttr();
      weights = buildElementwise(
          rewriter, loc, weights,
          [&](OpBuilder &b, Location loc, ValueRange x) -> Value {
            return arith::MulFOp::create(
                b, loc, x[0], arith::ConstantOp::create(b, loc, scale));
          });
    }
    SmallVector<Value> parts = {ids, weights};
    rewriter.replaceOpWithMultiple(op, {ValueRange(parts)});
    return success();
  }
};
} // namespace

void moe::populateSelectPatterns(const TypeConverter &converter,
                                 RewritePatternSet &patterns) {
  patterns.add<LowerSelect>(converter, patterns.getContext());
}
