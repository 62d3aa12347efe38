//===- Tuples.cpp - Routings and banks as plain tensors -------------------===//
//
// make_* and *_parts vanish: their value is its parts already. Globals of banks
// are split into one per component.
//
//===----------------------------------------------------------------------===//

#include "moe/Conversion/MoEToLinalg/MoEToLinalg.h"
#include "moe/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/MLProgram/IR/MLProgram.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe;

/// `value` as `type`, which may know more or less of the shape.
static Value cast(OpBuilder &builder, Location loc, Value value, Type type) {
  return value.getType() == type
             ? value
             : tensor::CastOp::create(builder, loc, type, value);
}

/// The global that holds component `index` of bank `name`.
static StringAttr componentName(StringAttr name, unsigned index) {
  if (index == 0)
    return name;
  return StringAttr::get(name.getContext(),
                         name.getValue() + "." + Twine(index));
}

namespace {
struct LowerMakeRouting : public OpConversionPattern<MakeRoutingOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(MakeRoutingOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    RoutingType type = op.getRouting().getType();
    SmallVector<Value> parts = {
        cast(rewriter, op.getLoc(), adaptor.getIds(), type.getIdsType()),
        cast(rewriter, op.getLoc(), adaptor.getWeights(),
             type.getWeightsType())};
    rewriter.replaceOpWithMultiple(op, {ValueRange(parts)});
    return success();
  }
};

struct LowerRoutingParts : public OpConversionPattern<RoutingPartsOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(RoutingPartsOp op, OneToNOpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    rewriter.replaceOp(op, adaptor.getRouting());
    return success();
  }
};

struct LowerMakeBank : public OpConversionPattern<MakeBankOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(MakeBankOp op, OpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    rewriter.replaceOpWithMultiple(op, {adaptor.getComponents()});
    return success();
  }
};

struct LowerBankParts : public OpConversionPattern<BankPartsOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(BankPartsOp op, OneToNOpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    rewriter.replaceOp(op, adaptor.getBank());
    return success();
  }
};

struct SplitBankGlobal : public OpConversionPattern<ml_program::GlobalOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(ml_program::GlobalOp op, OpAdaptor,
                  ConversionPatternRewriter &rewriter) const override {
    auto bank = dyn_cast<BankType>(op.getType());
    auto recipe = dyn_cast_or_null<BankRecipeAttr>(op.getValueAttr());
    if (!bank)
      return rewriter.notifyMatchFailure(op, "not a bank");
    for (auto [index, type] : llvm::enumerate(bank.getComponents())) {
      Attribute value =
          recipe ? Attribute(recipe.getComponents()[index]) : op.getValueAttr();
      ml_program::GlobalOp::create(
          rewriter, op.getLoc(), componentName(op.getSymNameAttr(), index),
          type, op.getIsMutable(), value, op.getSymVisibilityAttr());
    }
    rewriter.eraseOp(op);
    return success();
  }
};

struct SplitBankLoad
    : public OpConversionPattern<ml_program::GlobalLoadConstOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(ml_program::GlobalLoadConstOp op, OpAdaptor,
                  ConversionPatternRewriter &rewriter) const override {
    auto bank = dyn_cast<BankType>(op.getResult().getType());
    if (!bank)
      return rewriter.notifyMatchFailure(op, "not a bank");
    SmallVector<Value> parts;
    for (auto [index, type] : llvm::enumerate(bank.getComponents()))
      parts.push_back(ml_program::GlobalLoadConstOp::create(
          rewriter, op.getLoc(), type,
          SymbolRefAttr::get(
              componentName(op.getGlobalAttr().getLeafReference(), index))));
    rewriter.replaceOpWithMultiple(op, {ValueRange(parts)});
    return success();
  }
};
} // namespace

void moe::populateTuplePatterns(const TypeConverter &converter,
                                RewritePatternSet &patterns) {
  patterns.add<LowerMakeRouting, LowerRoutingParts, LowerMakeBank,
               LowerBankParts, SplitBankGlobal, SplitBankLoad>(
      converter, patterns.getContext());
}
