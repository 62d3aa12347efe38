//===- Product.cpp - moe.grouped_matmul, one element at a time ------------===//
//
// Each element finds its group and runs one chain of fused multiply-adds per bank, K ascending; then the epilogue.
// fill_groups finds its group the same way.
//
//===----------------------------------------------------------------------===//

#include "Elements.h"
#include "moe/Conversion/MoEToKernels/MoEToKernels.h"
#include "moe/Conversion/MoEToLinalg/MoEToLinalg.h"
#include "moe/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe;

/// `inside` of the group that row `row` belongs to, or `old` where it belongs to none. Offsets of one group that are
/// known as values are compared with, so that no memory is read for them.
static Value buildInGroup(OpBuilder &builder, Location loc, Value offsets, Value row, Value old,
                          llvm::function_ref<Value(OpBuilder &, Value group)> inside) {
  int64_t groups = cast<RankedTensorType>(offsets.getType()).getDimSize(0) - 1;
  Value group, belongs;
  auto known = offsets.getDefiningOp<tensor::FromElementsOp>();
  using arith::CmpIPredicate;
  if (known && groups == 1) {
    group = arith::ConstantIndexOp::create(builder, loc, 0);
    Value behind = arith::CmpIOp::create(builder, loc, CmpIPredicate::sge, row, known.getElements()[0]);
    Value before = arith::CmpIOp::create(builder, loc, CmpIPredicate::slt, row, known.getElements()[1]);
    belongs = arith::AndIOp::create(builder, loc, behind, before);
  } else {
    group = buildGroupOfRow(builder, loc, offsets, groups, row);
    Value count = arith::ConstantIndexOp::create(builder, loc, groups);
    belongs = arith::CmpIOp::create(builder, loc, CmpIPredicate::slt, group, count);
  }
  return scf::IfOp::create(
             builder, loc, belongs,
             [&](OpBuilder &b, Location loc) { scf::YieldOp::create(b, loc, inside(b, group)); },
             [&](OpBuilder &b, Location loc) { scf::YieldOp::create(b, loc, old); })
      .getResult(0);
}

static Value buildWideElement(OpBuilder &builder, Location loc, Value tensor, ValueRange indices) {
  Value element = tensor::ExtractOp::create(builder, loc, tensor, indices);
  return buildWiden(builder, loc, element);
}

namespace {
struct LowerProduct : public OpConversionPattern<GroupedMatmulOp> {
  using OpConversionPattern::OpConversionPattern;

  LogicalResult matchAndRewrite(GroupedMatmulOp op, OneToNOpAdaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    SmallVector<Value> banks, vectors;
    for (ValueRange components : adaptor.getBanks()) {
      if (components.size() != 1 || cast<RankedTensorType>(components[0].getType()).getRank() != 3)
        return rewriter.notifyMatchFailure(op, "a bank has several components, or panels");
      banks.push_back(components[0]);
    }
    for (ValueRange components : adaptor.getVectors())
      vectors.push_back(components[0]);
    Location loc = op.getLoc();
    Value rows = adaptor.getRows()[0], offsets = adaptor.getOffsets()[0];
    Value indices = op.getIndices() ? adaptor.getIndices()[0] : Value();
    Value result = buildElements(
        rewriter, loc, adaptor.getInit()[0], [&](OpBuilder &b, ValueRange place, Value old) {
          Value row = place[0], column = place[1];
          return buildInGroup(b, loc, offsets, row, old, [&](OpBuilder &b, Value group) -> Value {
            Value source = row;
            if (indices)
              source = buildClampedRow(b, loc, rows, buildIndexAt(b, loc, indices, row));
            SmallVector<Value> elements = buildSums(b, loc, rows, source, banks, group, column);
            for (Value vector : vectors)
              elements.push_back(buildWideElement(b, loc, vector, {group, column}));
            return op.hasEpilogue() ? inlineEpilogue(op, rewriter, elements) : elements[0];
          });
        });
    rewriter.replaceOp(op, result);
    return success();
  }

  /// One sum per bank, all in one loop.
  static SmallVector<Value> buildSums(OpBuilder &builder, Location loc, Value rows, Value row, ValueRange banks,
                                      Value group, Value column) {
    Value zero = arith::ConstantIndexOp::create(builder, loc, 0), one = arith::ConstantIndexOp::create(builder, loc, 1);
    Value depth = tensor::DimOp::create(builder, loc, rows, 1);
    Value none = arith::ConstantOp::create(builder, loc, builder.getF32FloatAttr(0.0f));
    auto loop = scf::ForOp::create(builder, loc, zero, depth, one, SmallVector<Value>(banks.size(), none),
                                   [&](OpBuilder &b, Location loc, Value k, ValueRange sums) {
                                     Value x = buildWideElement(b, loc, rows, {row, k});
                                     SmallVector<Value> next;
                                     for (auto [bank, sum] : llvm::zip_equal(banks, sums)) {
                                       Value weight = buildWideElement(b, loc, bank, {group, column, k});
                                       next.push_back(math::FmaOp::create(b, loc, x, weight, sum));
                                     }
                                     scf::YieldOp::create(b, loc, next);
                                   });
    return SmallVector<Value>(loop.getResults());
  }

  /// The epilogue at the insertion point of `rewriter`, at the end of a block.
  static Value inlineEpilogue(GroupedMatmulOp op, ConversionPatternRewriter &rewriter, ValueRange elements) {
    Block *epilogue = &op.getEpilogue().front(), *target = rewriter.getInsertionBlock();
    auto yield = cast<YieldOp>(epilogue->getTerminator());
    rewriter.inlineBlockBefore(epilogue, target, target->end(), elements);
    rewriter.setInsertionPointToEnd(target);
    Value result = rewriter.getRemappedValue(yield.getValues()[0]);
    rewriter.eraseOp(yield);
    return result;
  }
};

struct LowerFillGroups : public OpConversionPattern<FillGroupsOp> {
  using OpConversionPattern::OpConversionPattern;

  LogicalResult matchAndRewrite(FillGroupsOp op, OneToNOpAdaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    Value vectors = adaptor.getVectors()[0], offsets = adaptor.getOffsets()[0];
    rewriter.replaceOp(op, buildElements(rewriter, loc, adaptor.getInit()[0],
                                         [&](OpBuilder &b, ValueRange place, Value old) {
                                           return buildInGroup(b, loc, offsets, place[0], old,
                                                               [&](OpBuilder &b, Value group) {
                                                                 return buildWideElement(b, loc, vectors,
                                                                                         {group, place[1]});
                                                               });
                                         }));
    return success();
  }
};
} // namespace

void moe::populateProductKernelPatterns(const TypeConverter &converter, RewritePatternSet &patterns) {
  patterns.add<LowerProduct, LowerFillGroups>(converter, patterns.getContext(), kElementBenefit);
}
