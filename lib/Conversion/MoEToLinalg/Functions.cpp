//===- Functions.cpp - Signatures with routings and banks -----------------===//
//
// Upstream's pattern leaves the attributes of arguments and results where they
// stood; here each part gets those of its whole, under a name of its own.
//
//===----------------------------------------------------------------------===//

#include "moe/Conversion/MoEToLinalg/MoEToLinalg.h"
#include "moe/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Func/Transforms/FuncConversions.h"

using namespace mlir;
using namespace mlir::moe;

/// What the name of part `index` of a value of `type` has after the name of
/// the whole.
static std::string partSuffix(Type type, unsigned index) {
  if (isa<RoutingType>(type))
    return index == 0 ? ".ids" : ".weights";
  return index == 0 ? "" : "." + std::to_string(index);
}

/// Appends the attributes of each of the `parts` of a value of `type`.
static void appendAttributes(Type type, unsigned parts, DictionaryAttr whole,
                             SmallVectorImpl<DictionaryAttr> &attributes) {
  auto name =
      whole ? whole.getAs<StringAttr>(MoEDialect::kNameAttr) : StringAttr();
  if (!name || !isa<RoutingType, BankType>(type)) {
    attributes.append(parts, whole);
    return;
  }
  for (unsigned part = 0; part < parts; ++part) {
    NamedAttrList list(whole);
    list.set(MoEDialect::kNameAttr,
             StringAttr::get(type.getContext(),
                             name.getValue() + partSuffix(type, part)));
    attributes.push_back(list.getDictionary(type.getContext()));
  }
}

namespace {
struct ConvertFunction : public OpConversionPattern<func::FuncOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult
  matchAndRewrite(func::FuncOp op, OpAdaptor,
                  ConversionPatternRewriter &rewriter) const override {
    FunctionType type = op.getFunctionType();
    TypeConverter::SignatureConversion signature(type.getNumInputs());
    SmallVector<DictionaryAttr> argumentAttributes, resultAttributes;
    for (auto [index, input] : llvm::enumerate(type.getInputs())) {
      SmallVector<Type> parts;
      if (failed(getTypeConverter()->convertType(input, parts)))
        return rewriter.notifyMatchFailure(op, "an argument has no conversion");
      signature.addInputs(index, parts);
      appendAttributes(input, parts.size(), op.getArgAttrDict(index),
                       argumentAttributes);
    }
    SmallVector<Type> results;
    for (auto [index, result] : llvm::enumerate(type.getResults())) {
      SmallVector<Type> parts;
      if (failed(getTypeConverter()->convertType(result, parts)))
        return rewriter.notifyMatchFailure(op, "a result has no conversion");
      llvm::append_range(results, parts);
      appendAttributes(result, parts.size(), op.getResultAttrDict(index),
                       resultAttributes);
    }
    if (!op.isDeclaration() &&
        failed(rewriter.convertRegionTypes(&op.getBody(), *getTypeConverter(),
                                           &signature)))
      return rewriter.notifyMatchFailure(op, "the body has no conversion");
    rewriter.modifyOpInPlace(op, [&] {
      op.setType(
          rewriter.getFunctionType(signature.getConvertedTypes(), results));
      op.setAllArgAttrs(argumentAttributes);
      op.setAllResultAttrs(resultAttributes);
    });
    return success();
  }
};
} // namespace

void moe::populateFunctionPatterns(const TypeConverter &converter,
                                   RewritePatternSet &patterns) {
  patterns.add<ConvertFunction>(converter, patterns.getContext());
  populateCallOpTypeConversionPattern(patterns, converter);
  populateReturnOpTypeConversionPattern(patterns, converter);
}
