//===- Gather.cpp - moe.gather as a loop over rows ------------------------===//
//
// Each row is copied (and widened) by one elementwise operation on a slice.
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

Value moe::buildWiden(OpBuilder &builder, Location loc, Value value) {
  if (value.getType().isF32())
    return value;
  return arith::ExtFOp::create(builder, loc, builder.getF32Type(), value);
}

/// Row `row` of `tensor` (`tensor<RxC>`) as `tensor<C>`.
static Value sliceRow(OpBuilder &builder, Location loc, Value tensor,
                      Value row) {
  auto type = cast<RankedTensorType>(tensor.getType());
  OpFoldResult one = builder.getIndexAttr(1);
  return tensor::ExtractSliceOp::create(
      builder, loc,
      RankedTensorType::get(type.getShape().drop_front(),
                            type.getElementType()),
      tensor, ArrayRef<OpFoldResult>{row, builder.getIndexAttr(0)},
      ArrayRef<OpFoldResult>{one,
                             tensor::getMixedSize(builder, loc, tensor, 1)},
      ArrayRef<OpFoldResult>{one, one});
}

Value moe::buildClampedRow(OpBuilder &builder, Location loc, Value tensor,
                           Value row) {
  Value rows = builder.createOrFold<tensor::DimOp>(loc, tensor, 0);
  Value zero = arith::ConstantIndexOp::create(builder, loc, 0);
  Value one = arith::ConstantIndexOp::create(builder, loc, 1);
  Value last = builder.createOrFold<arith::SubIOp>(loc, rows, one);
  Value upper = arith::MinSIOp::create(builder, loc, row, last);
  return arith::MaxSIOp::create(builder, loc, upper, zero);
}

namespace {
struct LowerGather : public OpConversionPattern<GatherOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(GatherOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    Value zero = arith::ConstantIndexOp::create(rewriter, loc, 0);
    Value one = arith::ConstantIndexOp::create(rewriter, loc, 1);
    Value count = tensor::DimOp::create(rewriter, loc, adaptor.getIndices(), 0);
    auto loop = scf::ForOp::create(
        rewriter, loc, zero, count, one, adaptor.getInit(),
        [&](OpBuilder &b, Location loc, Value r, ValueRange state) {
          Value index =
              tensor::ExtractOp::create(b, loc, adaptor.getIndices(), r);
          if (!index.getType().isIndex())
            index = arith::IndexCastOp::create(b, loc, b.getIndexType(), index);
          index = buildClampedRow(b, loc, adaptor.getSource(), index);
          Value source = sliceRow(b, loc, adaptor.getSource(), index);
          Value target = sliceRow(b, loc, state[0], r);
          SmallVector<AffineMap> maps(2, b.getMultiDimIdentityMap(1));
          Value row = linalg::GenericOp::create(
                          b, loc, target.getType(), source, target, maps,
                          utils::IteratorType::parallel,
                          [](OpBuilder &b, Location loc, ValueRange x) {
                            Value element = x[0];
                            if (element.getType() != x[1].getType())
                              element = buildWiden(b, loc, element);
                            linalg::YieldOp::create(b, loc, element);
                          })
                          .getResult(0);
          OpFoldResult unit = b.getIndexAttr(1);
          Value next = tensor::InsertSliceOp::create(
              b, loc, row, state[0],
              ArrayRef<OpFoldResult>{r, b.getIndexAttr(0)},
              ArrayRef<OpFoldResult>{unit,
                                     tensor::getMixedSize(b, loc, state[0], 1)},
              ArrayRef<OpFoldResult>{unit, unit});
          scf::YieldOp::create(b, loc, next);
        });
    rewriter.replaceOp(op, loop.getResults());
    return success();
  }
};
} // namespace

void moe::populateGatherPatterns(const TypeConverter &converter,
                                 RewritePatternSet &patterns) {
  patterns.add<LowerGather>(converter, patterns.getContext());
}
