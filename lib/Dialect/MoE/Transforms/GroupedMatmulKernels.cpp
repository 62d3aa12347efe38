//===- GroupedMatmulKernels.cpp - One item of a grouped product -----------===//
//
// A single row runs over panels as they lie in memory. Several rows are copied to a local block, padded to whole
// tiles, and multiplied tile by tile into local sums. The epilogue then writes the valid rows and columns. In all
// classes an output is one chain of multiply-adds with K ascending.
//
//===----------------------------------------------------------------------===//

#include "GroupedMatmulKernels.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace mlir::moe;

/// Rows of the local copy are this much further apart than they are long: with a power of two between them, the rows
/// of a tile would compete for the same few lines of the first level cache.
static constexpr int64_t kRowPadding = 16;

/// Local memory of one task: static, so that it ends on the stack.
static Value buildLocal(const IndexBuilder &builder, ArrayRef<int64_t> shape) {
  auto type = RankedTensorType::get(shape, builder.b.getF32Type());
  return bufferization::AllocTensorOp::create(builder.b, builder.loc, type, ValueRange{});
}

static Value buildZeros(const IndexBuilder &builder, Value tensor) {
  Value zero = arith::ConstantOp::create(builder.b, builder.loc, builder.b.getF32FloatAttr(0.0f));
  return linalg::FillOp::create(builder.b, builder.loc, zero, tensor).getResult(0);
}

/// sums += rows * weights, the maps saying along which dimensions; the last dimension is reduced.
static Value buildContraction(const IndexBuilder &builder, Value rows, Value weights, Value sums,
                              ArrayRef<AffineMap> maps) {
  SmallVector<utils::IteratorType> iterators(maps[0].getNumDims(), utils::IteratorType::parallel);
  iterators.back() = utils::IteratorType::reduction;
  auto body = [](OpBuilder &b, Location loc, ValueRange arguments) {
    Value weight = arguments[1];
    if (weight.getType() != arguments[0].getType())
      weight = arith::ExtFOp::create(b, loc, arguments[0].getType(), weight);
    Value product = arith::MulFOp::create(b, loc, arguments[0], weight);
    Value sum = arith::AddFOp::create(b, loc, arguments[2], product);
    linalg::YieldOp::create(b, loc, sum);
  };
  return linalg::GenericOp::create(builder.b, builder.loc, TypeRange{sums.getType()}, ValueRange{rows, weights},
                                   ValueRange{sums}, maps, iterators, body)
      .getResult(0);
}

/// Maps over dimensions (d0, d1, ..., dn) that pick the given ones.
static AffineMap pick(MLIRContext *context, unsigned dims, ArrayRef<unsigned> picked) {
  return AffineMap::getMultiDimMapWithTargets(dims, picked, context);
}

GroupedMatmulKernels::GroupedMatmulKernels(const IndexBuilder &builder, GroupedMatmulOp op,
                                           const ProductTiling &tiling)
    : op(op), tiling(tiling), shape(ProductShape::of(op)) {
  auto data = [&](Value bank) {
    SmallVector<Value> parts;
    builder.b.createOrFold<BankPartsOp>(parts, builder.loc, bank);
    return parts.front();
  };
  llvm::append_range(banks, llvm::map_range(op.getBanks(), data));
  llvm::append_range(vectors, llvm::map_range(op.getVectors(), data));
}

/// The row of the source that is row `row` of the groups. Indices that no plan made may come from outside: the nearest
/// row counts.
Value GroupedMatmulKernels::sourceRow(const IndexBuilder &builder, Value row) {
  if (!op.getIndices())
    return row;
  Value index = builder.extract(op.getIndices(), row);
  if (!index.getType().isIndex())
    index = arith::IndexCastOp::create(builder.b, builder.loc, builder.b.getIndexType(), index);
  if (op.getIndices().getDefiningOp<PlanOp>())
    return index;
  Value rows = builder.b.createOrFold<tensor::DimOp>(builder.loc, op.getRows(), 0);
  return builder.max(builder.min(index, builder.sub(rows, builder.constant(1))), builder.constant(0));
}

Value GroupedMatmulKernels::columnsOf(const IndexBuilder &builder, Value panel, Value panels) {
  Value columns = builder.mul(panels, kPanelWidth);
  if (shape.n % kPanelWidth == 0)
    return columns;
  return builder.min(columns, builder.sub(builder.constant(shape.n), builder.mul(panel, kPanelWidth)));
}

GroupedMatmulKernels::Part GroupedMatmulKernels::build(const IndexBuilder &builder, const WorkItem &item, Value init) {
  Part part;
  part.offsets = builder.fold({item.begin, builder.mul(item.panel, kPanelWidth)});
  part.sizes = builder.fold({item.rows, columnsOf(builder, item.panel, item.panels)});
  Value out = builder.slice(init, part.offsets, part.sizes, 2);
  // All classes stand ready; the list says which one an item runs.
  std::pair<KernelClass, Tiles> tiled[] = {
      {KernelClass::few, {ArrayRef(tiling.tileRows).take_back(), tiling.fewRows, tiling.fewBlock}},
      {KernelClass::full, {tiling.tileRows, tiling.maxItemRows, tiling.fullBlock}}};
  if (tiling.forced) {
    part.value = *tiling.forced == KernelClass::single
                     ? buildSingle(builder, item, out)
                     : buildTiles(builder, item, out, tiled[*tiling.forced == KernelClass::full].second);
    return part;
  }
  auto choice = scf::IndexSwitchOp::create(builder.b, builder.loc, TypeRange{out.getType()}, item.kernelClass,
                                           ArrayRef<int64_t>{int64_t(KernelClass::single), int64_t(KernelClass::few)},
                                           /*caseRegionsCount=*/2);
  auto fill = [&](Region &region, llvm::function_ref<Value(const IndexBuilder &)> body) {
    OpBuilder::InsertionGuard guard(builder.b);
    builder.b.createBlock(&region);
    IndexBuilder nested{builder.b, builder.loc};
    scf::YieldOp::create(builder.b, builder.loc, body(nested));
  };
  fill(choice.getCaseRegions()[0], [&](const IndexBuilder &nested) { return buildSingle(nested, item, out); });
  fill(choice.getCaseRegions()[1],
       [&](const IndexBuilder &nested) { return buildTiles(nested, item, out, tiled[0].second); });
  fill(choice.getDefaultRegion(),
       [&](const IndexBuilder &nested) { return buildTiles(nested, item, out, tiled[1].second); });
  part.value = choice.getResult(0);
  return part;
}

/// The epilogue, or the product itself, over the elements of `out`; `products` are at least as large.
Value GroupedMatmulKernels::buildEpilogue(const IndexBuilder &builder, const WorkItem &item, ValueRange products,
                                          Value out) {
  SmallVector<Value> inputs;
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(builder.b, builder.loc, out);
  // The slice that `out` is knows its sizes.
  if (auto slice = out.getDefiningOp<tensor::ExtractSliceOp>(); slice && slice.getType() == out.getType())
    sizes = SmallVector<OpFoldResult>(ArrayRef(slice.getMixedSizes()).take_back(sizes.size()));
  unsigned rank = sizes.size();
  SmallVector<OpFoldResult> zeros(rank, builder.attr(0));
  for (Value product : products)
    inputs.push_back(builder.slice(product, zeros, sizes, rank));
  AffineMap identity = builder.b.getMultiDimIdentityMap(rank);
  SmallVector<AffineMap> maps(inputs.size(), identity);
  // A vector's part for these columns, the same for each row.
  for (Value vector : vectors) {
    OpFoldResult column = builder.fold(builder.mul(item.panel, kPanelWidth));
    inputs.push_back(builder.slice(vector, {item.group, column}, {builder.attr(1), sizes.back()}, 1));
    maps.push_back(pick(builder.b.getContext(), rank, {rank - 1}));
  }
  maps.push_back(identity);
  SmallVector<utils::IteratorType> iterators(rank, utils::IteratorType::parallel);
  auto body = [&](OpBuilder &b, Location loc, ValueRange arguments) {
    Value result = arguments[0];
    if (op.hasEpilogue()) {
      Block &block = op.getEpilogue().front();
      IRMapping mapping;
      for (auto [argument, value] : llvm::zip_equal(block.getArguments(), arguments.drop_back())) {
        if (value.getType() != argument.getType())
          value = arith::ExtFOp::create(b, loc, argument.getType(), value);
        mapping.map(argument, value);
      }
      for (Operation &operation : block.without_terminator())
        b.clone(operation, mapping);
      result = mapping.lookupOrDefault(cast<YieldOp>(block.getTerminator()).getValues()[0]);
    }
    linalg::YieldOp::create(b, loc, result);
  };
  return linalg::GenericOp::create(builder.b, builder.loc, TypeRange{out.getType()}, inputs, ValueRange{out}, maps,
                                   iterators, body)
      .getResult(0);
}

//===----------------------------------------------------------------------===//
// A single row
//===----------------------------------------------------------------------===//

Value GroupedMatmulKernels::buildSingle(const IndexBuilder &builder, const WorkItem &item, Value out) {
  MLIRContext *context = builder.b.getContext();
  OpFoldResult one = builder.attr(1), zero = builder.attr(0), k = builder.attr(shape.k);
  OpFoldResult width = builder.attr(kPanelWidth);
  Value row = builder.slice(op.getRows(), {sourceRow(builder, item.begin), zero}, {one, k}, 1);

  // `count` panels at once: sums[p, n] += row[k] * weights[p, k, n].
  AffineMap maps[] = {pick(context, 3, {2}), pick(context, 3, {0, 2, 1}), pick(context, 3, {0, 1})};
  auto panels = [&](const IndexBuilder &nested, Value bank, Value first, int64_t count, Value sums) {
    OpFoldResult many = nested.attr(count);
    SmallVector<OpFoldResult> place = {first, zero}, size = {many, width};
    Value weights = nested.slice(bank, {item.group, nested.add(item.panel, first), zero, zero}, {one, many, k, width}, 3);
    Value tile = nested.slice(sums, place, size, 2);
    return nested.insertSlice(buildContraction(nested, row, weights, tile, maps), sums, place, size);
  };

  SmallVector<Value> products;
  int64_t columns = tiling.chunkPanels * kPanelWidth;
  for (Value bank : banks) {
    Value sums = buildZeros(builder, buildLocal(builder, {tiling.chunkPanels, kPanelWidth}));
    Value blocked = builder.alignDown(item.panels, tiling.singlePanels);
    sums = builder.loop(builder.constant(0), blocked, tiling.singlePanels, sums,
                        [&](const IndexBuilder &nested, Value first, ValueRange values) -> SmallVector<Value> {
                          return {panels(nested, bank, first, tiling.singlePanels, values[0])};
                        })[0];
    // The last chunk may have some panels over.
    if (tiling.singlePanels > 1)
      sums = builder.loop(blocked, item.panels, 1, sums,
                          [&](const IndexBuilder &nested, Value first, ValueRange values) -> SmallVector<Value> {
                            return {panels(nested, bank, first, 1, values[0])};
                          })[0];
    auto flat = RankedTensorType::get({columns}, builder.b.getF32Type());
    SmallVector<ReassociationIndices> together = {{0, 1}};
    products.push_back(tensor::CollapseShapeOp::create(builder.b, builder.loc, flat, sums, together));
  }
  SmallVector<OpFoldResult> place = {zero, zero};
  SmallVector<OpFoldResult> size = {one, builder.fold(columnsOf(builder, item.panel, item.panels))};
  Value outRow = builder.slice(out, place, size, 1);
  return builder.insertSlice(buildEpilogue(builder, item, products, outRow), out, place, size);
}

//===----------------------------------------------------------------------===//
// Several rows
//===----------------------------------------------------------------------===//

/// Rows of `item`, elements [depth, depth + size): a local block. Rows up to `padded` repeat the last one, so that
/// tiles are whole and never read what nobody wrote.
Value GroupedMatmulKernels::copyRows(const IndexBuilder &builder, const WorkItem &item, Value padded, Value depth,
                                     OpFoldResult size, const Tiles &tiles) {
  OpFoldResult one = builder.attr(1), zero = builder.attr(0);
  Value local = buildLocal(builder, {int64_t(llvm::alignTo(tiles.maxRows, tiles.heights.back())),
                                     tiles.block + kRowPadding});
  Value last = builder.sub(item.rows, builder.constant(1));
  return builder.loop(builder.constant(0), padded, 1, local,
                      [&](const IndexBuilder &nested, Value row, ValueRange values) -> SmallVector<Value> {
                        Value from = sourceRow(nested, nested.add(item.begin, nested.min(row, last)));
                        Value source = nested.slice(op.getRows(), {from, builder.fold(depth)}, {one, size}, 2);
                        return {nested.insertSlice(source, values[0], {row, zero}, {one, size})};
                      })[0];
}

/// The sums of one block of K: panel by panel, each bank's part of it stays in the first level cache while all row
/// tiles pass over it.
SmallVector<Value> GroupedMatmulKernels::buildBlock(const IndexBuilder &builder, const WorkItem &item, Value padded,
                                                    Value depth, const Tiles &tiles, ValueRange sums) {
  MLIRContext *context = builder.b.getContext();
  OpFoldResult one = builder.attr(1), zero = builder.attr(0), columns = builder.attr(tiling.tileColumns);
  OpFoldResult size = builder.attr(tiles.block);
  if (shape.k % tiles.block != 0)
    size = builder.min(builder.constant(tiles.block), builder.sub(builder.constant(shape.k), depth));
  Value rows = copyRows(builder, item, padded, depth, size, tiles);
  AffineMap maps[] = {pick(context, 3, {0, 2}), pick(context, 3, {2, 1}), pick(context, 3, {0, 1})};

  return builder.loop(
      builder.constant(0), item.panels, 1, sums,
      [&](const IndexBuilder &nested, Value panel, ValueRange values) -> SmallVector<Value> {
        SmallVector<Value> next(values);
        for (auto [bank, sum] : llvm::zip(banks, next))
          for (int64_t part = 0; part < kPanelWidth; part += tiling.tileColumns) {
            Value weights = nested.slice(bank, {item.group, nested.add(item.panel, panel), nested.fold(depth),
                                                nested.attr(part)},
                                         {one, one, size, columns}, 2);
            Value column = nested.add(nested.mul(panel, kPanelWidth), nested.constant(part));
            // From the highest tile to the lowest; each takes what fits and leaves the rest.
            Value begin = nested.constant(0);
            for (int64_t height : tiles.heights) {
              Value end = padded;
              if (height != tiles.heights.back())
                end = nested.add(begin, nested.alignDown(nested.sub(padded, begin), height));
              sum = nested.loop(begin, end, height, sum,
                                [&](const IndexBuilder &inner, Value row, ValueRange sums) -> SmallVector<Value> {
                                  SmallVector<OpFoldResult> place = {row, column};
                                  SmallVector<OpFoldResult> extent = {inner.attr(height), columns};
                                  Value a = inner.slice(rows, {row, zero}, {inner.attr(height), size}, 2);
                                  Value c = inner.slice(sums[0], place, extent, 2);
                                  Value tile = buildContraction(inner, a, weights, c, maps);
                                  return {inner.insertSlice(tile, sums[0], place, extent)};
                                })[0];
              begin = end;
            }
          }
        return next;
      });
}

Value GroupedMatmulKernels::buildTiles(const IndexBuilder &builder, const WorkItem &item, Value out,
                                       const Tiles &tiles) {
  Value padded = builder.alignUp(item.rows, tiles.heights.back());
  int64_t maxRows = llvm::alignTo(tiles.maxRows, tiles.heights.back());
  int64_t columns = tiling.chunkPanels * kPanelWidth;
  SmallVector<Value> sums;
  for (size_t bank = 0; bank < banks.size(); ++bank) {
    Value local = buildLocal(builder, {maxRows, columns});
    SmallVector<OpFoldResult> place = {builder.attr(0), builder.attr(0)}, size = {padded, builder.attr(columns)};
    Value used = buildZeros(builder, builder.slice(local, place, size, 2));
    sums.push_back(builder.insertSlice(used, local, place, size));
  }
  if (tiles.block >= shape.k)
    sums = buildBlock(builder, item, padded, builder.constant(0), tiles, sums);
  else
    sums = builder.loop(builder.constant(0), builder.constant(shape.k), tiles.block, sums,
                        [&](const IndexBuilder &nested, Value depth, ValueRange values) -> SmallVector<Value> {
                          return buildBlock(nested, item, padded, depth, tiles, values);
                        });
  return buildEpilogue(builder, item, sums, out);
}
