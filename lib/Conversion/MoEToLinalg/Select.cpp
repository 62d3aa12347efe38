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

/// `weights`, 0 where the slot is empty.
static Value clearEmpty(OpBuilder &builder, Location loc, Value ids, Value weights) {
  return buildElementwise(builder, loc, {weights, ids}, [](OpBuilder &b, Location loc, ValueRange x) -> Value {
    Value zero = arith::ConstantOp::create(b, loc, b.getI32IntegerAttr(0));
    Value none = arith::ConstantOp::create(b, loc, b.getF32FloatAttr(0.0f));
    Value empty = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, x[1], zero);
    return arith::SelectOp::create(b, loc, empty, none, x[0]);
  });
}

/// The raw weights normalised and scaled, 0 in empty slots.
static Value finishWeights(OpBuilder &builder, Location loc, Value ids, Value weights,
                           NormalizationAttrInterface normalization, FloatAttr scale, bool mayBeEmpty) {
  weights = normalization.buildWeights(builder, loc, ids, weights);
  if (mayBeEmpty)
    weights = clearEmpty(builder, loc, ids, weights);
  if (scale.getValue().isExactlyValue(1.0))
    return weights;
  return buildElementwise(builder, loc, weights, [&](OpBuilder &b, Location loc, ValueRange x) -> Value {
    return arith::MulFOp::create(b, loc, x[0], arith::ConstantOp::create(b, loc, scale));
  });
}

namespace {
struct LowerSelect : public OpConversionPattern<SelectOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(SelectOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    Value scores = op.getScore().buildScores(rewriter, loc, adaptor.getLogits());
    Value bias = adaptor.getBias();
    Value judged = bias ? addBias(rewriter, loc, scores, bias) : scores;
    auto [ids, weights] =
        op.getPolicy().buildSelection(rewriter, loc, op.getInput(judged, adaptor.getParameters()));
    Value source = adaptor.getWeigh() ? adaptor.getWeigh() : scores;
    if (!weights || bias || adaptor.getWeigh())
      weights = scoresOfChosen(rewriter, loc, source, ids);
    weights = finishWeights(rewriter, loc, ids, weights, op.getNormalization(), op.getScaleAttr(),
                            op.mayLeaveSlotsEmpty());
    SmallVector<Value> parts = {ids, weights};
    rewriter.replaceOpWithMultiple(op, {ValueRange(parts)});
    return success();
  }
};

struct LowerReweigh : public OpConversionPattern<ReweighOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(ReweighOp op, OneToNOpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    // Ids from outside may name experts that do not exist, and weigh slots that are empty.
    int64_t experts = op.getRouting().getType().getExperts();
    Value ids = buildElementwise(
        rewriter, loc, adaptor.getRouting()[0], [&](OpBuilder &b, Location loc, ValueRange x) -> Value {
          Value count = arith::ConstantOp::create(b, loc, b.getI32IntegerAttr(experts));
          Value known = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult, x[0], count);
          Value none = arith::ConstantOp::create(b, loc, b.getI32IntegerAttr(-1));
          return arith::SelectOp::create(b, loc, known, x[0], none);
        });
    Value weights = clearEmpty(rewriter, loc, ids, adaptor.getRouting()[1]);
    weights = finishWeights(rewriter, loc, ids, weights, op.getNormalization(), op.getScaleAttr(), /*mayBeEmpty=*/true);
    SmallVector<Value> parts = {ids, weights};
    rewriter.replaceOpWithMultiple(op, {ValueRange(parts)});
    return success();
  }
};
} // namespace

void moe::populateSelectPatterns(const TypeConverter &converter,
                                 RewritePatternSet &patterns) {
  patterns.add<LowerSelect, LowerReweigh>(converter, patterns.getContext());
}
