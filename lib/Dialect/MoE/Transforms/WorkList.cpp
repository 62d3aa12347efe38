//===- WorkList.cpp - The run-time list of work of a grouped product ------===//
//
// A counting sort of the groups by the magnitude of their row count, each split into pieces of similar size. Cheap
// enough for one token: two passes over the groups and one over the 65 magnitudes.
//
//===----------------------------------------------------------------------===//

#include "WorkList.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace mlir::moe;

/// Leading zeros of a 64-bit row count: 0 for the heaviest groups, 64 for empty ones.
static constexpr int64_t kMagnitudes = 65;

Value moe::buildKernelClass(const IndexBuilder &builder, Value rows, const ProductTiling &tiling) {
  auto constant = [&](KernelClass kernel) { return builder.constant(int64_t(kernel)); };
  if (tiling.forced)
    return constant(*tiling.forced);
  auto atMost = [&](int64_t limit) -> Value {
    return arith::CmpIOp::create(builder.b, builder.loc, arith::CmpIPredicate::sle, rows, builder.constant(limit));
  };
  Value several = arith::SelectOp::create(builder.b, builder.loc, atMost(tiling.fewRows),
                                          constant(KernelClass::few), constant(KernelClass::full));
  return arith::SelectOp::create(builder.b, builder.loc, atMost(1), constant(KernelClass::single), several);
}

/// Most rows of one item. With few rows over all, smaller items give every thread something to do.
static Value buildRowLimit(const IndexBuilder &builder, Value offsets, const ProductShape &shape,
                           const ProductTiling &tiling) {
  if (tiling.minItemRows == tiling.maxItemRows)
    return builder.constant(tiling.maxItemRows);
  Value total = builder.extract(offsets, builder.constant(shape.groups));
  Value even = builder.ceilDiv(builder.mul(total, tiling.getChunks(shape)), builder.constant(tiling.wantedTasks));
  Value aligned = builder.alignUp(even, tiling.tileRows.front());
  return builder.min(builder.max(aligned, builder.constant(tiling.minItemRows)), builder.constant(tiling.maxItemRows));
}

namespace {
/// Reads the groups and appends their items.
struct ListBuilder {
  Value offsets, limit;
  const ProductTiling &tiling;

  struct Group {
    Value index, begin, rows, pieces, magnitude;
  };

  Group read(const IndexBuilder &builder, Value index) const {
    Group group;
    group.index = index;
    group.begin = builder.extract(offsets, index);
    Value end = builder.extract(offsets, builder.add(index, builder.constant(1)));
    group.rows = builder.sub(end, group.begin);
    group.pieces = builder.ceilDiv(group.rows, limit);
    Type i64 = builder.b.getI64Type();
    Value wide = arith::IndexCastOp::create(builder.b, builder.loc, i64, group.rows);
    Value zeros = math::CountLeadingZerosOp::create(builder.b, builder.loc, wide);
    group.magnitude = arith::IndexCastOp::create(builder.b, builder.loc, builder.b.getIndexType(), zeros);
    return group;
  }

  /// The items of `group` from `position` of `list` on: pieces of equal size, in whole tiles, but for the last.
  Value append(const IndexBuilder &builder, const Group &group, Value list, Value position) const {
    Value parts = builder.max(group.pieces, builder.constant(1));
    Value even = builder.ceilDiv(group.rows, parts);
    bool whole = !tiling.forced || *tiling.forced == KernelClass::full;
    Value size = whole ? builder.alignUp(even, tiling.tileRows.back()) : even;
    return builder.loop(builder.constant(0), group.pieces, 1, list,
                        [&](const IndexBuilder &nested, Value piece, ValueRange values) -> SmallVector<Value> {
                          Value done = arith::MulIOp::create(nested.b, nested.loc, piece, size);
                          Value rows = nested.min(size, nested.sub(group.rows, done));
                          std::pair<WorkItemField, Value> fields[] = {
                              {kGroup, group.index},
                              {kBegin, nested.add(group.begin, done)},
                              {kRows, rows},
                              {kClass, buildKernelClass(nested, rows, tiling)}};
                          Value row = nested.add(position, piece), next = values[0];
                          for (auto [field, value] : fields)
                            next = nested.insert(value, next, {row, nested.constant(field)});
                          return {next};
                        })[0];
  }
};
} // namespace

static Value buildEmptyList(const IndexBuilder &builder, Value count) {
  return tensor::EmptyOp::create(builder.b, builder.loc,
                                 ArrayRef<OpFoldResult>{count, builder.attr(kWorkItemFields)},
                                 builder.b.getIndexType());
}

WorkList moe::buildWorkList(const IndexBuilder &builder, Value offsets, const ProductShape &shape,
                            const ProductTiling &tiling) {
  ListBuilder lister{offsets, buildRowLimit(builder, offsets, shape, tiling), tiling};
  Value zero = builder.constant(0);
  if (shape.groups == 1) {
    ListBuilder::Group group = lister.read(builder, zero);
    return {lister.append(builder, group, buildEmptyList(builder, group.pieces), zero), group.pieces};
  }

  // How many items there are of each magnitude.
  Value groups = builder.constant(shape.groups);
  Value table = tensor::EmptyOp::create(builder.b, builder.loc, ArrayRef<int64_t>{kMagnitudes},
                                        builder.b.getIndexType());
  table = linalg::FillOp::create(builder.b, builder.loc, zero, table).getResult(0);
  table = builder.loop(zero, groups, 1, table,
                       [&](const IndexBuilder &nested, Value index, ValueRange values) -> SmallVector<Value> {
                         ListBuilder::Group group = lister.read(nested, index);
                         Value count = nested.extract(values[0], group.magnitude);
                         return {nested.insert(nested.add(count, group.pieces), values[0], group.magnitude)};
                       })[0];
  // Where the items of each magnitude begin.
  SmallVector<Value> sums =
      builder.loop(zero, builder.constant(kMagnitudes), 1, {table, zero},
                   [&](const IndexBuilder &nested, Value magnitude, ValueRange values) -> SmallVector<Value> {
                     Value count = nested.extract(values[0], magnitude);
                     return {nested.insert(values[1], values[0], magnitude), nested.add(values[1], count)};
                   });
  Value list = buildEmptyList(builder, sums[1]);
  list = builder.loop(zero, groups, 1, {list, sums[0]},
                      [&](const IndexBuilder &nested, Value index, ValueRange values) -> SmallVector<Value> {
                        ListBuilder::Group group = lister.read(nested, index);
                        Value position = nested.extract(values[1], group.magnitude);
                        Value next = lister.append(nested, group, values[0], position);
                        Value end = nested.add(position, group.pieces);
                        return {next, nested.insert(end, values[1], group.magnitude)};
                      })[0];
  return {list, sums[1]};
}
