//===- Combine.cpp - moe.combine as loops over tokens and slots -----------===//
//
// Each token's row takes up the rows of its slots, ascending; empty slots are
// skipped, not multiplied by zero.
//
//===----------------------------------------------------------------------===//

#include "moe/Conversion/MoEToLinalg/MoEToLinalg.h"
#include "moe/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe;

namespace {
struct LowerCombine : public OpConversionPattern<CombineOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(CombineOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    Value slots = adaptor.getSlots();
    Value zero = arith::ConstantIndexOp::create(rewriter, loc, 0);
    Value one = arith::ConstantIndexOp::create(rewriter, loc, 1);
    Value tokenCount = tensor::DimOp::create(rewriter, loc, slots, 0);
    Value slotCount = tensor::DimOp::create(rewriter, loc, slots, 1);
    Value rowCount = tensor::DimOp::create(rewriter, loc, adaptor.getRows(), 0);
    auto type = cast<RankedTensorType>(adaptor.getInit().getType());
    auto rowType = RankedTensorType::get(type.getShape().drop_front(),
                                         type.getElementType());
    OpFoldResult first = rewriter.getIndexAttr(0),
                 unit = rewriter.getIndexAttr(1);
    OpFoldResult width =
        tensor::getMixedSize(rewriter, loc, adaptor.getInit(), 1);
    SmallVector<OpFoldResult> sizes = {unit, width}, strides = {unit, unit};

    auto overTokens = scf::ForOp::create(
        rewriter, loc, zero, tokenCount, one, adaptor.getInit(),
        [&](OpBuilder &b, Location loc, Value t, ValueRange outer) {
          SmallVector<OpFoldResult> place = {t, first};
          Value sum = tensor::ExtractSliceOp::create(b, loc, rowType, outer[0],
                                                     place, sizes, strides);
          auto overSlots = scf::ForOp::create(
              b, loc, zero, slotCount, one, sum,
              [&](OpBuilder &b, Location loc, Value s, ValueRange inner) {
                Value row =
                    tensor::ExtractOp::create(b, loc, slots, ValueRange{t, s});
                // Unsigned, so that an empty slot lies beyond all rows.
                Value taken = arith::CmpIOp::create(
                    b, loc, arith::CmpIPredicate::ult, row, rowCount);
                auto add = scf::IfOp::create(
                    b, loc, taken,
                    [&](OpBuilder &b, Location loc) {
                      Value weight = tensor::ExtractOp::create(
                          b, loc, adaptor.getWeights(), ValueRange{t, s});
                      Value values = tensor::ExtractSliceOp::create(
                          b, loc, rowType, adaptor.getRows(),
                          SmallVector<OpFoldResult>{row, first}, sizes,
                          strides);
                      SmallVector<AffineMap> maps(2,
                                                  b.getMultiDimIdentityMap(1));
                      auto added = linalg::GenericOp::create(
                          b, loc, rowType, values, inner[0], maps,
                          utils::IteratorType::parallel,
                          [&](OpBuilder &b, Location loc, ValueRange x) {
                            linalg::YieldOp::create(
                                b, loc,
                                op.getKind().buildAccumulate(b, loc, x[1], x[0],
                                                             weight));
                          });
                      scf::YieldOp::create(b, loc, added.getResults());
                    },
                    [&](OpBuilder &b, Location loc) {
                      scf::YieldOp::create(b, loc, inner);
                    });
                scf::YieldOp::create(b, loc, add.getResults());
              });
          Value next = tensor::InsertSliceOp::create(
              b, loc, overSlots.getResult(0), outer[0], place, sizes, strides);
          scf::YieldOp::create(b, loc, next);
        });
    rewriter.replaceOp(op, overTokens.getResults());
    return success();
  }
};
} // namespace

void moe::populateCombinePatterns(const TypeConverter &converter,
                                  RewritePatternSet &patterns) {
  patterns.add<LowerCombine>(converter, patterns.getContext());
}
