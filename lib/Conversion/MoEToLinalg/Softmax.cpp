//===- Softmax.cpp - linalg.softmax ---------------------------------------===//
//
// The one operation of linalg that is no loop by itself: maximum, exponentials,
// sum and quotient, each a loop.
//
//===----------------------------------------------------------------------===//

#include "moe/Conversion/MoEToLinalg/MoEToLinalg.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Transforms/DialectConversion.h"

using namespace mlir;

namespace {
struct ConvertSoftmax : OpConversionPattern<linalg::SoftmaxOp> {
  using OpConversionPattern::OpConversionPattern;

  LogicalResult
  matchAndRewrite(linalg::SoftmaxOp op, OpAdaptor,
                  ConversionPatternRewriter &rewriter) const override {
    if (!op.hasPureTensorSemantics())
      return rewriter.notifyMatchFailure(op, "it works on buffers");
    FailureOr<SmallVector<Value>> results = op.decomposeOperation(rewriter);
    if (failed(results))
      return failure();
    rewriter.replaceOp(op, *results);
    return success();
  }
};
} // namespace

void moe::populateSoftmaxPatterns(RewritePatternSet &patterns) {
  patterns.add<ConvertSoftmax>(patterns.getContext());
}
