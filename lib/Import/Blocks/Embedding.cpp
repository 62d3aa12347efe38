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
  return GatherOp::create(builder, empty.getType(), weight, tokens, empty)
      .getResult();
}

Value mlir::moe::buildOutputHead(FunctionScope &scope, Value rows,
                                 Value firstRow, const RMSNorm &norm,
                                 const Linear &head) {
  FunctionScope::Block block(scope, "head");
  ImplicitLocOpBuilder &builder = scope.builder;
  Value tokens = tensor::DimOp::create(builder, rows, 0);
  OpFoldResult count =
      arith::SubIOp::create(builder, tokens, firstRow).getResult();
  OpFoldResult zero = builder.getIndexAttr(0), one = builder.getIndexAttr(1);
  Value last = tensor::ExtractSliceOp::create(
      builder, rows, SmallVector<OpFoldResult>{firstRow, zero},
      SmallVector<OpFoldResult>{count, builder.getIndexAttr(norm.size)},
      SmallVector<OpFoldResult>{one, one});
  return buildLinear(scope, buildRMSNorm(scope, last, norm), head);
}
