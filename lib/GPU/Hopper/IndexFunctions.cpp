//===- IndexFunctions.cpp - Where things are ------------------------------===//
//
// Layouts are those of the PTX ISA: swizzle of 128 bytes (chunk of 16 bytes XOR row modulo 8, within 1024 bytes),
// wgmma's matrix descriptors, wgmma's accumulators.
//
//===----------------------------------------------------------------------===//

#include "IndexFunctions.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::hopper;

/// A row of a stage: the width of the swizzle.
static constexpr int64_t kRowBytes = 128;

//===----------------------------------------------------------------------===//
// The tile map
//===----------------------------------------------------------------------===//

Value hopper::buildTilesOf(const DeviceBuilder &d, Value rows, int64_t tokenTile) {
  return d.div(d.add(rows, tokenTile - 1), tokenTile);
}

Value hopper::buildSumBefore(const DeviceBuilder &d, Value count, Read read) {
  return d.loop(d.constant(0), count, d.constant(1), d.constant(0),
                [&](const DeviceBuilder &nested, Value index, ValueRange sum) -> SmallVector<Value> {
                  return {nested.add(sum[0], read(nested, index))};
                })[0];
}

/// Bisection: read(low) <= tile < read(high) holds throughout, where read(experts) is the number of all tiles.
Value hopper::buildFindExpert(const DeviceBuilder &d, int64_t experts, Value tile, Read read) {
  Value zero = d.constant(0), one = d.constant(1);
  return d.loop(zero, d.constant(llvm::Log2_64_Ceil(experts)), one, {zero, d.constant(experts)},
                [&](const DeviceBuilder &nested, Value, ValueRange range) -> SmallVector<Value> {
                  Value middle = nested.div(nested.add(range[0], range[1]), 2);
                  Value above = nested.less(tile, read(nested, middle));
                  return {nested.select(above, range[0], middle), nested.select(above, middle, range[1])};
                })[0];
}

TileRows hopper::buildTileRows(const DeviceBuilder &d, Value begin, Value end, Value number, int64_t tokenTile) {
  Value first = d.add(begin, d.mul(number, tokenTile));
  return {first, d.min(d.constant(tokenTile), d.sub(end, first))};
}

WorkItem hopper::buildWorkItem(const DeviceBuilder &d, const KernelShape &shape, int64_t raster, Value item,
                               Value tiles) {
  int64_t span = raster * shape.getColumnTiles();
  Value group = d.div(item, span);
  Value begin = d.mul(group, raster);
  Value inside = d.sub(item, d.mul(group, span));
  // The last group may be smaller.
  Value size = d.min(d.constant(raster), d.sub(tiles, begin));
  Value column = d.div(inside, size);
  return {d.add(begin, d.sub(inside, d.mul(column, size))), column};
}

//===----------------------------------------------------------------------===//
// Filling a stage
//===----------------------------------------------------------------------===//

RingState hopper::buildAdvance(const DeviceBuilder &d, const KernelShape &shape, RingState state) {
  Value next = d.add(state.stage, 1);
  Value wrapped = d.equal(next, shape.stages);
  Value other = d.bitXor(state.parity, d.constant(1));
  return {d.select(wrapped, d.constant(0), next), d.select(wrapped, other, state.parity)};
}

/// Eight neighbours bring one row, so that they read 128 bytes of memory in one piece.
GatherPlace hopper::buildGatherPlace(const DeviceBuilder &d, Value thread, int64_t copy) {
  return {d.add(d.div(thread, 8), copy * (kWarpgroup / 8)), d.bitAnd(thread, 7)};
}

Value hopper::buildGatherSource(const DeviceBuilder &d, const GroupedMatmulKernelOptions &options, Value token,
                                Value chunk) {
  return d.add(d.mul(token, options.tokenPitch / 8), chunk);
}

Value hopper::buildTokenOffset(const DeviceBuilder &d, Value row, Value chunk) {
  return d.add(d.mul(row, kRowBytes), d.mul(d.bitXor(chunk, d.bitAnd(row, 7)), 16));
}

Value hopper::buildChunkBytes(const DeviceBuilder &d, const KernelShape &shape, Value block, Value chunk) {
  if (shape.k % kBlockDepth == 0)
    return d.constant(16);
  Value begin = d.add(d.mul(block, kBlockDepth), d.mul(chunk, 8));
  Value left = d.mul(d.sub(d.constant(shape.k), begin), 2);
  return d.max(d.constant(0), d.min(d.constant(16), left));
}

WeightBox hopper::buildWeightBox(const DeviceBuilder &d, const KernelShape &shape, Value block, Value columnTile,
                                 int64_t box) {
  int64_t rows = shape.getBoxRows();
  Value column = d.add(d.mul(columnTile, shape.getTileColumns()), box / shape.banks * rows);
  return {box % shape.banks, box * rows * kRowBytes, d.mul(block, kBlockDepth), column};
}

//===----------------------------------------------------------------------===//
// Reading a stage
//===----------------------------------------------------------------------===//

/// Bits 0-13: address / 16. Bits 16-29: the leading offset, which swizzled layouts with K innermost do not use; 1.
static Value buildDescriptorLow(const DeviceBuilder &d, Value address) {
  return d.bitOr(d.bitAnd(d.div(address, 16), 0x3fff), d.constant(1 << 16));
}

/// Bits 32-45: bytes / 16 from eight rows to the next eight. Bits 62-63: 1, the swizzle of 128 bytes.
static int64_t getDescriptorHigh(int64_t stride) { return stride / 16 | int64_t(1) << 30; }

Value hopper::buildWeightDescriptor(const DeviceBuilder &d, const KernelShape &shape, Value stage, Value consumer,
                                    int64_t step) {
  return buildDescriptorLow(d, d.add(d.add(stage, d.mul(consumer, shape.getConsumerStride())), step * 32));
}

Value hopper::buildTokenDescriptor(const DeviceBuilder &d, const KernelShape &shape, Value stage, int64_t step) {
  return buildDescriptorLow(d, d.add(stage, shape.getWeightBytes() + step * 32));
}

int64_t hopper::getWeightDescriptorHigh(const KernelShape &shape) {
  return getDescriptorHigh(shape.getWeightGroupStride());
}

int64_t hopper::getTokenDescriptorHigh() { return getDescriptorHigh(8 * kRowBytes); }

//===----------------------------------------------------------------------===//
// Results
//===----------------------------------------------------------------------===//

int64_t hopper::getRegisterToken(int64_t index) { return index / 4 * 8 + index % 2; }

int64_t hopper::getRegisterHalf(int64_t index) { return index / 2 % 2; }

/// First column of the tile that a warp's sixteen weight rows belong to. With two banks, a warp reads eight rows of
/// each; the other consumer has the eight columns next to them.
static Value buildWarpColumn(const DeviceBuilder &d, const KernelShape &shape, Value consumer, Value thread) {
  Value column = d.mul(d.div(thread, 32), 16);
  return d.add(column, d.mul(consumer, shape.banks == 1 ? kTileWeights / 2 : 8));
}

Value hopper::buildRegisterColumn(const DeviceBuilder &d, const KernelShape &shape, Value consumer, Value thread,
                                  int64_t half) {
  Value column = d.add(buildWarpColumn(d, shape, consumer, thread), d.div(d.bitAnd(thread, 31), 4));
  // The halves are two banks of one column, or two columns of one bank.
  return shape.banks == 1 ? d.add(column, 8 * half) : column;
}

CornerPlace hopper::buildCornerPlace(const DeviceBuilder &d, const KernelShape &shape, Value consumer, Value thread) {
  Value lane = d.bitAnd(thread, 31);
  Value column = buildWarpColumn(d, shape, consumer, thread);
  if (shape.banks == 2)
    return {d.mul(lane, 16), lane, column};
  // Two lanes take one token: the matrices of both halves.
  Value token = d.div(lane, 2), half = d.bitAnd(lane, 1);
  Value matrix = d.add(d.mul(d.div(token, 8), 2), half);
  return {d.add(d.mul(matrix, 128), d.mul(d.bitAnd(token, 7), 16)), token, d.add(column, d.mul(half, 8))};
}

static constexpr int64_t kWideCornerPitch = 80;

CornerPlace hopper::buildWideCornerPlace(const DeviceBuilder &d, const KernelShape &shape, Value consumer,
                                         Value thread) {
  Value lane = d.bitAnd(thread, 31);
  int64_t lanesPerToken = 4 / shape.banks;
  Value token = d.div(lane, lanesPerToken), quarter = d.bitAnd(lane, lanesPerToken - 1);
  Value offset = d.add(d.mul(token, kWideCornerPitch), d.mul(quarter, 16));
  return {offset, token, d.add(buildWarpColumn(d, shape, consumer, thread), d.mul(quarter, 4))};
}

Value hopper::buildWideCornerOffset(const DeviceBuilder &d, const KernelShape &shape, Value thread, int64_t token,
                                    int64_t half) {
  Value lane = d.bitAnd(thread, 31);
  Value row = d.add(d.mul(d.bitAnd(lane, 3), 2), token);
  return d.add(d.add(d.mul(row, kWideCornerPitch), d.mul(d.div(lane, 4), 4)), shape.banks == 1 ? half * 32 : 0);
}
