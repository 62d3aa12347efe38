//===- Rows.cpp - moe.gather and moe.combine, one element at a time -------===//
//
// A gathered element is read from its row; a combined one takes up its slots, ascending, empty ones skipped.
//
//===----------------------------------------------------------------------===//

#include "Elements.h"
#include "moe/Conversion/MoEToKernels/MoEToKernels.h"
#include "moe/Conversion/MoEToLinalg/MoEToLinalg.h"
#include "moe/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe;

namespace {
struct LowerGather : public OpConversionPattern<GatherOp> {
  using OpConversionPattern::OpConversionPattern;

  LogicalResult matchAndRewrite(GatherOp op, OpAdaptor adaptor, ConversionPatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    Value source = adaptor.getSource(), indices = adaptor.getIndices();
    rewriter.replaceOp(
        op, buildElements(rewriter, loc, adaptor.getInit(), [&](OpBuilder &b, ValueRange place, Value old) -> Value {
          Value row = buildClampedRow(b, loc, source, buildIndexAt(b, loc, indices, place[0]));
          Value element = tensor::ExtractOp::create(b, loc, source, ValueRange{row, place[1]});
          return element.getType() == old.getType() ? element : buildWiden(b, loc, element);
        }));
    return success();
  }
};

struct LowerCombine : public OpConversionPattern<CombineOp> {
  using OpConversionPattern::OpConversionPattern;

  LogicalResult matchAndRewrite(CombineOp op, OpAdaptor adaptor, ConversionPatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    Value rows = adaptor.getRows(), slots = adaptor.getSlots(), weights = adaptor.getWeights();
    auto addSlot = [&](OpBuilder &b, Value token, Value column, Value slot, Value sum) {
      Value row = tensor::ExtractOp::create(b, loc, slots, ValueRange{token, slot});
      Value rowCount = tensor::DimOp::create(b, loc, rows, 0);
      // Unsigned, so that an empty slot lies beyond all rows.
      Value taken = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult, row, rowCount);
      return scf::IfOp::create(
                 b, loc, taken,
                 [&](OpBuilder &b, Location loc) {
                   Value weight = tensor::ExtractOp::create(b, loc, weights, ValueRange{token, slot});
                   Value element = tensor::ExtractOp::create(b, loc, rows, ValueRange{row, column});
                   scf::YieldOp::create(b, loc, op.getKind().buildAccumulate(b, loc, sum, element, weight));
                 },
                 [&](OpBuilder &b, Location loc) { scf::YieldOp::create(b, loc, sum); })
          .getResult(0);
    };
    rewriter.replaceOp(op, buildElements(rewriter, loc, adaptor.getInit(),
                                         [&](OpBuilder &b, ValueRange place, Value old) {
                                           Value slotCount = tensor::DimOp::create(b, loc, slots, 1);
                                           return buildChain(b, loc, slotCount, old,
                                                             [&](OpBuilder &b, Value slot, Value sum) {
                                                               return addSlot(b, place[0], place[1], slot, sum);
                                                             });
                                         }));
    return success();
  }
};
} // namespace

void moe::populateRowKernelPatterns(const TypeConverter &converter, RewritePatternSet &patterns) {
  patterns.add<LowerGather, LowerCombine>(converter, patterns.getContext(), kElementBenefit);
}
