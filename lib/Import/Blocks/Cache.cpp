//===- Cache.cpp - Keys and values of earlier positions -------------------===//
//
// Writes the rows of a batch to the caches, in order, before anything reads
// them.
//
//===----------------------------------------------------------------------===//

#include "Blocks.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe;

void mlir::moe::buildCacheUpdate(FunctionScope &scope, Value rows,
                                 AttentionState &state, unsigned cache) {
  ImplicitLocOpBuilder &builder = scope.builder;
  auto type = cast<RankedTensorType>(rows.getType());
  OpFoldResult zeroAttr = builder.getIndexAttr(0),
               oneAttr = builder.getIndexAttr(1);
  OpFoldResult heads = builder.getIndexAttr(type.getDimSize(1)),
               size = builder.getIndexAttr(type.getDimSize(2));
  SmallVector<OpFoldResult> rowSizes{oneAttr, heads, size},
      cacheSizes{oneAttr, oneAttr, heads, size};
  SmallVector<OpFoldResult> rowStrides(3, oneAttr), cacheStrides(4, oneAttr);
  auto rowType = RankedTensorType::get(type.getShape().drop_front(),
                                       type.getElementType());

  Value zero = arith::ConstantIndexOp::create(builder, 0),
        one = arith::ConstantIndexOp::create(builder, 1);
  Value tokens = tensor::DimOp::create(builder, state.positions, 0);
  auto loop = scf::ForOp::create(
      builder, zero, tokens, one, ValueRange{state.caches[cache]},
      [&](OpBuilder &b, Location loc, Value token, ValueRange carried) {
        auto toIndex = [&](Value list) -> Value {
          Value value = tensor::ExtractOp::create(b, loc, list, token);
          return arith::IndexCastOp::create(b, loc, b.getIndexType(), value);
        };
        Value sequence = toIndex(state.sequences),
              position = toIndex(state.positions);
        Value row = tensor::ExtractSliceOp::create(
            b, loc, rowType, rows,
            SmallVector<OpFoldResult>{token, zeroAttr, zeroAttr}, rowSizes,
            rowStrides);
        Value updated = tensor::InsertSliceOp::create(
            b, loc, row, carried[0],
            SmallVector<OpFoldResult>{sequence, position, zeroAttr, zeroAttr},
            cacheSizes, cacheStrides);
        scf::YieldOp::create(b, loc, updated);
      });
  state.caches[cache] = loop.getResult(0);
}
