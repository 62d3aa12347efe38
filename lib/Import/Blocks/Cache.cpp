//===- Cache.cpp - Keys and values of earlier positions -------------------===//
//
// Writes the rows of a batch to the caches, in order, before anything reads
// them. A cache with a window is a ring with its beginning repeated at its end,
// so that what a token sees is one run of rows.
//
//===----------------------------------------------------------------------===//

#include "Blocks.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe;

/// Rows that a ring repeats: moe_ring_mirror in the runtime.
static int64_t getMirror(int64_t window) {
  return llvm::alignTo(window + 15, 16);
}

Value mlir::moe::buildRingSize(ImplicitLocOpBuilder &builder, Value cache,
                               int64_t window) {
  Value mirror = arith::ConstantIndexOp::create(builder, getMirror(window));
  return arith::SubIOp::create(
      builder, tensor::DimOp::create(builder, cache, 1), mirror);
}

/// The rows of `position` in a ring: the one, and the other, which is the same
/// where there is none.
static std::pair<Value, Value> buildRingRows(ImplicitLocOpBuilder &b,
                                             Value position, Value size,
                                             int64_t window) {
  using arith::CmpIPredicate;
  Value row = arith::RemUIOp::create(b, position, size);
  Value mirror = arith::ConstantIndexOp::create(b, getMirror(window));
  // Only positions after a full turn are read across the end.
  Value turned = arith::CmpIOp::create(b, CmpIPredicate::uge, position, size),
        repeated = arith::CmpIOp::create(b, CmpIPredicate::ult, row, mirror);
  Value other =
      arith::SelectOp::create(b, arith::AndIOp::create(b, turned, repeated),
                              arith::AddIOp::create(b, row, size), row);
  return {row, other};
}

void mlir::moe::buildCacheUpdate(FunctionScope &scope, Value rows,
                                 AttentionState &state, unsigned cache,
                                 std::optional<int64_t> window) {
  FunctionScope::Block block(scope, "cache");
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

  OpFoldResult tokens =
      tensor::getMixedSize(builder, builder.getLoc(), state.positions, 0);
  Value ring =
      window ? buildRingSize(builder, state.caches[cache], *window) : Value();
  // Tokens of a batch have different places: pairs of sequence and position
  // differ, and a ring has room for all that enter at once.
  auto loop = scf::ForallOp::create(
      builder, tokens, ValueRange{state.caches[cache]},
      /*mapping=*/std::nullopt,
      [&](OpBuilder &inner, Location loc, ValueRange arguments) {
        ImplicitLocOpBuilder b(loc, inner);
        Value token = arguments[0];
        auto toIndex = [&](Value list) -> Value {
          Value value = tensor::ExtractOp::create(b, list, token);
          return arith::IndexCastOp::create(b, b.getIndexType(), value);
        };
        Value sequence = toIndex(state.sequences),
              position = toIndex(state.positions);
        Value row = tensor::ExtractSliceOp::create(
            b, rowType, rows,
            SmallVector<OpFoldResult>{token, zeroAttr, zeroAttr}, rowSizes,
            rowStrides);
        SmallVector<Value> places{position};
        if (ring) {
          auto [first, second] = buildRingRows(b, position, ring, *window);
          places = {first, second};
        }
        auto terminator = scf::InParallelOp::create(b);
        b.setInsertionPointToStart(terminator.getBody());
        for (Value place : places)
          tensor::ParallelInsertSliceOp::create(
              b, row, arguments[1],
              SmallVector<OpFoldResult>{sequence, place, zeroAttr, zeroAttr},
              cacheSizes, cacheStrides);
      });
  state.caches[cache] = loop.getResult(0);
}
