//===- MoETiling.cpp - TilingInterface ------------------------------------===//
//
// Tiles of gather, grouped_matmul and combine over rows (tokens) and columns. Result tiles never overlap.
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe;

/// All three iterate over the rows and the columns of their init, both parallel.
static SmallVector<Range> rowsAndColumns(OpBuilder &builder, Location loc, Value init) {
  SmallVector<Range> ranges;
  for (OpFoldResult size : tensor::getMixedSizes(builder, loc, init))
    ranges.push_back({builder.getIndexAttr(0), size, builder.getIndexAttr(1)});
  return ranges;
}

static const SmallVector<utils::IteratorType> bothParallel(2, utils::IteratorType::parallel);

static Value slice(OpBuilder &builder, Location loc, Value source, ArrayRef<OpFoldResult> offsets,
                   ArrayRef<OpFoldResult> sizes, SmallVectorImpl<Operation *> &slices) {
  SmallVector<OpFoldResult> strides(offsets.size(), builder.getIndexAttr(1));
  auto op = tensor::ExtractSliceOp::create(builder, loc, source, offsets, sizes, strides);
  slices.push_back(op);
  return op;
}

static LogicalResult positionIsTile(ArrayRef<OpFoldResult> offsets, ArrayRef<OpFoldResult> sizes,
                                    SmallVector<OpFoldResult> &resultOffsets, SmallVector<OpFoldResult> &resultSizes) {
  resultOffsets.assign(offsets.begin(), offsets.end());
  resultSizes.assign(sizes.begin(), sizes.end());
  return success();
}

//===----------------------------------------------------------------------===//
// SelectOp: over tokens, where the policy decides each token alone
//===----------------------------------------------------------------------===//

SmallVector<utils::IteratorType> SelectOp::getLoopIteratorTypes() {
  // Tokens of a policy that looks at several at once may not be told apart.
  return {getPolicy().isTokenIndependent() ? utils::IteratorType::parallel : utils::IteratorType::reduction};
}

SmallVector<Range> SelectOp::getIterationDomain(OpBuilder &builder) {
  return {{builder.getIndexAttr(0), tensor::getMixedSize(builder, getLoc(), getLogits(), 0), builder.getIndexAttr(1)}};
}

//===----------------------------------------------------------------------===//
// GatherOp
//===----------------------------------------------------------------------===//

SmallVector<utils::IteratorType> GatherOp::getLoopIteratorTypes() { return bothParallel; }

SmallVector<Range> GatherOp::getIterationDomain(OpBuilder &builder) {
  return rowsAndColumns(builder, getLoc(), getInit());
}

FailureOr<TilingResult> GatherOp::getTiledImplementation(OpBuilder &builder, ArrayRef<OpFoldResult> offsets,
                                                         ArrayRef<OpFoldResult> sizes) {
  SmallVector<Operation *> slices;
  OpFoldResult zero = builder.getIndexAttr(0);
  OpFoldResult sourceRows = tensor::getMixedSize(builder, getLoc(), getSource(), 0);
  Value source = slice(builder, getLoc(), getSource(), {zero, offsets[1]}, {sourceRows, sizes[1]}, slices);
  Value indices = slice(builder, getLoc(), getIndices(), offsets[0], sizes[0], slices);
  Value init = slice(builder, getLoc(), getInit(), offsets, sizes, slices);
  auto tiled = GatherOp::create(builder, getLoc(), init.getType(), source, indices, init);
  return TilingResult{{tiled}, {tiled.getResult()}, slices};
}

LogicalResult GatherOp::getResultTilePosition(OpBuilder &, unsigned, ArrayRef<OpFoldResult> offsets,
                                              ArrayRef<OpFoldResult> sizes, SmallVector<OpFoldResult> &resultOffsets,
                                              SmallVector<OpFoldResult> &resultSizes) {
  return positionIsTile(offsets, sizes, resultOffsets, resultSizes);
}

FailureOr<TilingResult> GatherOp::generateResultTileValue(OpBuilder &builder, unsigned, ArrayRef<OpFoldResult> offsets,
                                                          ArrayRef<OpFoldResult> sizes) {
  return getTiledImplementation(builder, offsets, sizes);
}

//===----------------------------------------------------------------------===//
// GroupedMatmulOp
//===----------------------------------------------------------------------===//

SmallVector<utils::IteratorType> GroupedMatmulOp::getLoopIteratorTypes() { return bothParallel; }

SmallVector<Range> GroupedMatmulOp::getIterationDomain(OpBuilder &builder) {
  return rowsAndColumns(builder, getLoc(), getInit());
}

/// The offsets of the groups inside the row tile [begin, begin + size): a tile may cut through groups.
static Value tileOffsets(OpBuilder &builder, Location loc, Value offsets, OpFoldResult begin, OpFoldResult size) {
  Value first = getValueOrCreateConstantIndexOp(builder, loc, begin);
  Value count = getValueOrCreateConstantIndexOp(builder, loc, size);
  auto type = cast<RankedTensorType>(offsets.getType());
  return tensor::GenerateOp::create(builder, loc, type, ValueRange{},
                                    [&](OpBuilder &b, Location loc, ValueRange index) {
                                      Value zero = arith::ConstantIndexOp::create(b, loc, 0);
                                      Value offset = tensor::ExtractOp::create(b, loc, offsets, index);
                                      Value moved = arith::SubIOp::create(b, loc, offset, first);
                                      Value low = arith::MaxSIOp::create(b, loc, moved, zero);
                                      Value clamped = arith::MinSIOp::create(b, loc, low, count);
                                      tensor::YieldOp::create(b, loc, clamped);
                                    });
}

FailureOr<TilingResult> GroupedMatmulOp::getTiledImplementation(OpBuilder &builder, ArrayRef<OpFoldResult> offsets,
                                                                ArrayRef<OpFoldResult> sizes) {
  Location loc = getLoc();
  SmallVector<Operation *> slices;
  OpFoldResult zero = builder.getIndexAttr(0);
  int64_t columns = getInit().getType().getDimSize(1);
  bool allColumns = isConstantIntValue(offsets[1], 0) && isConstantIntValue(sizes[1], columns);
  // Banks have static shapes, so a column tile must be static, and packed panels are not cut.
  SmallVector<Value> banks(getBanks()), vectors(getVectors());
  std::optional<int64_t> width = getConstantIntValue(sizes[1]);
  if (!allColumns) {
    if (!width || llvm::any_of(banks, [](Value bank) { return cast<BankType>(bank.getType()).isPacked(); }))
      return failure();
    for (Value &bank : banks) {
      auto type = cast<BankType>(bank.getType());
      if (type.getComponents().size() != 1)
        return failure();
      Value data = BankPartsOp::create(builder, loc, bank).getComponents()[0];
      int64_t experts = type.getExperts(), inner = type.getData().getDimSize(2);
      Value part = slice(builder, loc, data, {zero, offsets[1], zero},
                         {builder.getIndexAttr(experts), sizes[1], builder.getIndexAttr(inner)}, slices);
      bank = MakeBankOp::create(builder, loc, part);
    }
    for (Value &vector : vectors) {
      Value data = BankPartsOp::create(builder, loc, vector).getComponents()[0];
      Value part = slice(builder, loc, data, {zero, offsets[1]}, {builder.getIndexAttr(getGroups()), sizes[1]}, slices);
      vector = MakeBankOp::create(builder, loc, part);
    }
  }
  Value rows = getRows(), indices = getIndices();
  if (indices)
    indices = slice(builder, loc, indices, offsets[0], sizes[0], slices);
  else
    rows = slice(builder, loc, rows, {offsets[0], zero},
                 {sizes[0], builder.getIndexAttr(getRows().getType().getDimSize(1))}, slices);
  Value groups = tileOffsets(builder, loc, getOffsets(), offsets[0], sizes[0]);
  Value init = slice(builder, loc, getInit(), offsets, sizes, slices);
  auto tiled = GroupedMatmulOp::create(builder, loc, init.getType(), rows, indices, banks, vectors, groups, init);
  IRMapping mapping;
  getEpilogue().cloneInto(&tiled.getEpilogue(), mapping);
  return TilingResult{{tiled}, {tiled.getResult()}, slices};
}

LogicalResult GroupedMatmulOp::getResultTilePosition(OpBuilder &, unsigned, ArrayRef<OpFoldResult> offsets,
                                                     ArrayRef<OpFoldResult> sizes,
                                                     SmallVector<OpFoldResult> &resultOffsets,
                                                     SmallVector<OpFoldResult> &resultSizes) {
  return positionIsTile(offsets, sizes, resultOffsets, resultSizes);
}

FailureOr<TilingResult> GroupedMatmulOp::generateResultTileValue(OpBuilder &builder, unsigned,
                                                                 ArrayRef<OpFoldResult> offsets,
                                                                 ArrayRef<OpFoldResult> sizes) {
  return getTiledImplementation(builder, offsets, sizes);
}

//===----------------------------------------------------------------------===//
// CombineOp
//===----------------------------------------------------------------------===//

SmallVector<utils::IteratorType> CombineOp::getLoopIteratorTypes() { return bothParallel; }

SmallVector<Range> CombineOp::getIterationDomain(OpBuilder &builder) {
  return rowsAndColumns(builder, getLoc(), getInit());
}

FailureOr<TilingResult> CombineOp::getTiledImplementation(OpBuilder &builder, ArrayRef<OpFoldResult> offsets,
                                                          ArrayRef<OpFoldResult> sizes) {
  Location loc = getLoc();
  SmallVector<Operation *> slices;
  OpFoldResult zero = builder.getIndexAttr(0);
  OpFoldResult allRows = tensor::getMixedSize(builder, loc, getRows(), 0);
  OpFoldResult slotCount = tensor::getMixedSize(builder, loc, getSlots(), 1);
  Value rows = slice(builder, loc, getRows(), {zero, offsets[1]}, {allRows, sizes[1]}, slices);
  Value slots = slice(builder, loc, getSlots(), {offsets[0], zero}, {sizes[0], slotCount}, slices);
  Value weights = slice(builder, loc, getWeights(), {offsets[0], zero}, {sizes[0], slotCount}, slices);
  Value init = slice(builder, loc, getInit(), offsets, sizes, slices);
  auto tiled = CombineOp::create(builder, loc, init.getType(), rows, slots, weights, getKind(), init);
  return TilingResult{{tiled}, {tiled.getResult()}, slices};
}

LogicalResult CombineOp::getResultTilePosition(OpBuilder &, unsigned, ArrayRef<OpFoldResult> offsets,
                                               ArrayRef<OpFoldResult> sizes, SmallVector<OpFoldResult> &resultOffsets,
                                               SmallVector<OpFoldResult> &resultSizes) {
  return positionIsTile(offsets, sizes, resultOffsets, resultSizes);
}

FailureOr<TilingResult> CombineOp::generateResultTileValue(OpBuilder &builder, unsigned, ArrayRef<OpFoldResult> offsets,
                                                           ArrayRef<OpFoldResult> sizes) {
  return getTiledImplementation(builder, offsets, sizes);
}
