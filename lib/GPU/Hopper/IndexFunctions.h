//===- IndexFunctions.h - Where things are ----------------------*- C++ -*-===//
//
// Every position that the kernels compute, as functions that write it: tiles, work items, gathers, swizzles, boxes,
// descriptors, accumulators, tails. The kernels and moe-gpu-hopper-index-functions, whose output runs on CPU in tests,
// call the same functions.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_GPU_HOPPER_INDEXFUNCTIONS_H
#define MOE_GPU_HOPPER_INDEXFUNCTIONS_H

#include "DeviceBuilder.h"
#include "moe/GPU/Hopper/GroupedMatmul.h"

namespace mlir::moe::hopper {

/// Reads entry `index` of an array of i32.
using Read = llvm::function_ref<Value(const DeviceBuilder &, Value index)>;

//===----------------------------------------------------------------------===//
// The tile map
//===----------------------------------------------------------------------===//

/// Tiles that `rows` rows of one expert need.
Value buildTilesOf(const DeviceBuilder &d, Value rows, int64_t tokenTile);
/// The sum of the first `count` entries.
Value buildSumBefore(const DeviceBuilder &d, Value count, Read read);
/// The last e < `experts` with read(e) <= `tile`: the expert of a tile, where read(e) is the number of tiles before e.
Value buildFindExpert(const DeviceBuilder &d, int64_t experts, Value tile, Read read);

struct TileRows {
  Value first, rows;
};
/// Rows of the tile that is number `number` of an expert with rows [begin, end).
TileRows buildTileRows(const DeviceBuilder &d, Value begin, Value end, Value number, int64_t tokenTile);

struct WorkItem {
  Value tile, column;
};
/// Tile of tokens and tile of columns of work item `item`. Up to `raster` tiles of tokens are passed over before the
/// next tile of columns.
WorkItem buildWorkItem(const DeviceBuilder &d, const KernelShape &shape, int64_t raster, Value item, Value tiles);

//===----------------------------------------------------------------------===//
// Filling a stage
//===----------------------------------------------------------------------===//

/// The next stage of the ring and its parity.
struct RingState {
  Value stage, parity;
};
RingState buildAdvance(const DeviceBuilder &d, const KernelShape &shape, RingState state);

/// The row and the 16-byte chunk of it that copy number `copy` of a producer thread brings.
struct GatherPlace {
  Value row, chunk;
};
GatherPlace buildGatherPlace(const DeviceBuilder &d, Value thread, int64_t copy);
/// Pieces of 16 bytes from the beginning of the tokens to a chunk of a token's row.
Value buildGatherSource(const DeviceBuilder &d, const GroupedMatmulKernelOptions &options, Value token, Value chunk);
/// Bytes from the beginning of the tokens of a stage to a chunk of a row.
Value buildTokenOffset(const DeviceBuilder &d, Value row, Value chunk);
/// How many of the 16 bytes of a chunk exist in K; the others are zeros.
Value buildChunkBytes(const DeviceBuilder &d, const KernelShape &shape, Value block, Value chunk);

/// What box `box` of a stage holds and where it goes.
struct WeightBox {
  int64_t bank, offset;
  Value depth, column;
};
WeightBox buildWeightBox(const DeviceBuilder &d, const KernelShape &shape, Value block, Value columnTile, int64_t box);

//===----------------------------------------------------------------------===//
// Reading a stage
//===----------------------------------------------------------------------===//

/// The low words of wgmma's descriptors for step `step` (16 elements of K) of the stage at shared address `stage`.
Value buildWeightDescriptor(const DeviceBuilder &d, const KernelShape &shape, Value stage, Value consumer,
                            int64_t step);
Value buildTokenDescriptor(const DeviceBuilder &d, const KernelShape &shape, Value stage, int64_t step);
/// Their high words: how far groups of 8 rows are apart, and the swizzle.
int64_t getWeightDescriptorHigh(const KernelShape &shape);
int64_t getTokenDescriptorHigh();

//===----------------------------------------------------------------------===//
// Results
//===----------------------------------------------------------------------===//

/// Register `index` of a thread belongs to token getRegisterToken + 2 * (lane % 4).
int64_t getRegisterToken(int64_t index);
/// Whether it belongs to the upper eight of the sixteen rows of its warp.
int64_t getRegisterHalf(int64_t index);
/// Column of the tile of a thread's registers of one half.
Value buildRegisterColumn(const DeviceBuilder &d, const KernelShape &shape, Value consumer, Value thread, int64_t half);

/// After a warp has put sums of some tokens into its corner: which 16 bytes a lane takes there, and which tokens
/// (counted from the first of them) and columns of the tile they belong to.
struct CornerPlace {
  Value offset, token, column;
};
/// bf16: matrices of 8 tokens x 8 columns, 128 bytes each.
CornerPlace buildCornerPlace(const DeviceBuilder &d, const KernelShape &shape, Value consumer, Value thread);
/// f32: 8 tokens, 80 bytes apart.
CornerPlace buildWideCornerPlace(const DeviceBuilder &d, const KernelShape &shape, Value consumer, Value thread);
/// Where a lane writes a register of token offset `token` (0 or 1) and `half` into the corner of f32.
Value buildWideCornerOffset(const DeviceBuilder &d, const KernelShape &shape, Value thread, int64_t token,
                            int64_t half);

} // namespace mlir::moe::hopper

#endif // MOE_GPU_HOPPER_INDEXFUNCTIONS_H
