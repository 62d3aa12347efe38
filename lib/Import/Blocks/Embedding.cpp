//===- Embedding.cpp - Tokens to rows and rows to logits ------------------===//
//
// Both ends of a decoder; they may share one weight.
//
//===----------------------------------------------------------------------===//

#include "Blocks.h"
#include "moe/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe;

Value mlir::moe::buildEmbedding(FunctionScope &scope, Value tokens,
                                const Embedding &embedding) {
  FunctionScope::Block block(scope, "embedding");
  ImplicitLocOpBuilder &builder = scope.builder;
  Value weight = scope.getWeight(embedding.weight,
                                 {embedding.vocabulary, embedding.hidden});
  SmallVector<OpFoldResult> sizes{
      tensor::getMixedSize(builder, builder.getLoc(), tokens, 0),
      builder.getIndexAttr(embedding.hidden)};
  Value empty = tensor::EmptyOp::create(builder, sizes, builder.getF32Type());
  Value rows = GatherOp::create(builder, empty.getType(), weight, tokens, empty)
                   .getResult();
  if (embedding.scale == 1)
    return rows;
  return buildGeneric(
      builder, ValueRange(), rows, builder.getMultiDimIdentityMap(2),
      /*reductions=*/0, [&](OpBuilder &b, Location loc, ValueRange x) -> Value {
        return arith::MulFOp::create(b, loc, x[0],
                                     buildF32(b, loc, embedding.scale));
      });
}

Value mlir::moe::buildOutputHead(FunctionScope &scope, Value rows,
                                 Value firstRow, const OutputHead &head) {
  FunctionScope::Block block(scope, "head");
  ImplicitLocOpBuilder &builder = scope.builder;
  Value tokens = tensor::DimOp::create(builder, rows, 0);
  OpFoldResult count =
      arith::SubIOp::create(builder, tokens, firstRow).getResult();
  OpFoldResult zero = builder.getIndexAttr(0), one = builder.getIndexAttr(1);
  Value last = tensor::ExtractSliceOp::create(
      builder, rows, SmallVector<OpFoldResult>{firstRow, zero},
      SmallVector<OpFoldResult>{count, builder.getIndexAttr(head.norm.size)},
      SmallVector<OpFoldResult>{one, one});
  Value logits =
      buildLinear(scope, buildRMSNorm(scope, last, head.norm), head.projection);
  if (head.divisor == 1)
    return logits;
  return buildGeneric(
      builder, ValueRange(), logits, builder.getMultiDimIdentityMap(2),
      /*reductions=*/0, [&](OpBuilder &b, Location loc, ValueRange x) -> Value {
        return arith::DivFOp::create(b, loc, x[0],
                                     buildF32(b, loc, head.divisor));
      });
}
