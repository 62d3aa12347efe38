//===- GroupedMatmul.h - Grouped products on Hopper -------------*- C++ -*-===//
//
// What a kernel for one grouped product is asked to do, the sizes that follow from it, and the functions that write it
// and the kernel of its tile map. docs/GPU.md describes the design.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_GPU_HOPPER_GROUPEDMATMUL_H
#define MOE_GPU_HOPPER_GROUPEDMATMUL_H

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

#include <functional>

namespace mlir::moe::hopper {

/// Elements of K that one stage of the ring holds: 128 bytes of bf16, the width of the widest swizzle.
constexpr int64_t kBlockDepth = 64;
/// Weight rows of one tile: 64, the M of wgmma, for each of two consumer warpgroups.
constexpr int64_t kTileWeights = 128;
constexpr int64_t kWarpgroup = 128;
constexpr int64_t kThreads = 3 * kWarpgroup;
/// Bytes of shared memory that a block can have.
constexpr int64_t kSharedLimit = 232448;

/// Writes the result for one output from its products (f32, one per bank) and its group's vectors (widened to f32).
using Epilogue = std::function<FailureOr<Value>(OpBuilder &, Location, ValueRange products, ValueRange vectors)>;

/// One grouped product: out[r, c] = epilogue(sum over k of bank_i[e, c, k] * tokens[r', k], ...) for rows r of expert
/// e, where r' is indices[r] or r. Tokens and banks are bf16, K innermost; sums are f32.
struct GroupedMatmulKernelOptions {
  std::string name;
  int64_t k = 0, columns = 0;
  /// Token rows of one tile: the N of wgmma, a multiple of 8 up to 256.
  int64_t tokenTile = 64;
  int64_t stages = 4;
  /// One bank, or two that the epilogue makes one number of: gate and up.
  int64_t banks = 1;
  bool gathered = false;
  /// There is one expert, and all rows are its own: the kernel finds its tiles itself.
  bool dense = false;
  /// Elements from one row to the next.
  int64_t tokenPitch = 0, bankPitch = 0, outPitch = 0;
  /// bf16 or f32.
  Type outType;
  /// i32 or i64.
  Type indexType;
  /// f32 or bf16; each stands for a buffer [experts, columns].
  SmallVector<Type> vectors;
  /// Tiles of tokens that are passed over before the next tile of columns, so that they share weights in the cache.
  int64_t raster = 8;
  /// Null only where there is one bank and no vector: the product itself.
  Epilogue epilogue;
};

/// Why no kernel can be written for `options`, or nothing.
std::optional<std::string> findObstacle(const GroupedMatmulKernelOptions &options);

/// Sizes that follow from the options.
struct KernelShape {
  int64_t k, columns, tokenTile, stages, banks;

  static KernelShape of(const GroupedMatmulKernelOptions &options) {
    return {options.k, options.columns, options.tokenTile, options.stages, options.banks};
  }
  int64_t getDepthBlocks() const { return llvm::divideCeil(k, kBlockDepth); }
  /// Output columns of one tile.
  int64_t getTileColumns() const { return kTileWeights / banks; }
  int64_t getColumnTiles() const { return llvm::divideCeil(columns, getTileColumns()); }
  /// Boxes of weights that fill a stage, and the rows of each. Boxes of two banks alternate.
  int64_t getBoxes() const { return banks == 1 ? 1 : 8; }
  int64_t getBoxRows() const { return kTileWeights / getBoxes(); }
  int64_t getWeightBytes() const { return kTileWeights * kBlockDepth * 2; }
  int64_t getTokenBytes() const { return tokenTile * kBlockDepth * 2; }
  int64_t getStageBytes() const { return getWeightBytes() + getTokenBytes(); }
  /// Behind the stages: a corner for each consumer warp, then the barriers "full" and "empty" of each stage.
  int64_t getCornerBytes() const { return 640; }
  int64_t getCornerOffset() const { return stages * getStageBytes(); }
  int64_t getBarrierOffset() const { return getCornerOffset() + 8 * getCornerBytes(); }
  int64_t getSharedBytes() const { return getBarrierOffset() + 16 * stages; }
  /// Groups of 8 weight rows that one wgmma reads are this far apart, and so are the first of the two consumers'.
  int64_t getWeightGroupStride() const { return banks == 1 ? 1024 : getBoxRows() * 128; }
  int64_t getConsumerStride() const { return banks == 1 ? kTileWeights * 64 : 1024; }
};

/// Why kernels, which count rows, tiles and 16-byte pieces of tokens in 32 bits, cannot run a call of `rows` rows, or
/// nothing.
std::optional<std::string> findRowsObstacle(const KernelShape &shape, int64_t experts, int64_t rows);

/// Registers per thread of the producer and of the consumers.
struct RegisterSplit {
  int64_t producer, consumer;

  static RegisterSplit of(const GroupedMatmulKernelOptions &options);
};

/// Writes the kernel into `module`; its parameters in order are
///   a tensor map (128 bytes by value) of each bank: [experts, columns, K], box [1, KernelShape::getBoxRows(), 64];
///   gathered: tokens, indices; otherwise: a tensor map of the tokens: [rows, K], box [tokenTile, 64];
///   the tile map or, where rows are dense, their number (i64); each vector; the output (pointers).
/// All maps swizzle 128 bytes and fill with zeros what lies outside.
FailureOr<LLVM::LLVMFuncOp> buildGroupedMatmulKernel(OpBuilder &builder, gpu::GPUModuleOp module,
                                                     const GroupedMatmulKernelOptions &options);

/// The tile map in device memory: four i32 words of which the first is the number of tiles, then for each tile four
/// words: expert, first row, rows, 0.
struct TileMapKernelOptions {
  std::string name;
  int64_t experts = 0;
  int64_t tokenTile = 64;
  /// i32 or i64.
  Type offsetType;

  static constexpr int64_t kTileMapThreads = 256;
  int64_t getSharedBytes() const { return (2 * experts + 1) * 4; }
};

/// Bytes of a tile map that has room for `rows` rows of `experts` experts.
inline int64_t getTileMapBytes(int64_t rows, int64_t experts, int64_t tokenTile) {
  return 16 * (1 + llvm::divideCeil(rows, tokenTile) + experts);
}

/// Writes the kernel, for one block: parameters are the offsets [experts + 1] and the tile map.
FailureOr<LLVM::LLVMFuncOp> buildTileMapKernel(OpBuilder &builder, gpu::GPUModuleOp module,
                                               const TileMapKernelOptions &options);

/// Whether `op` may stand in an epilogue.
bool isInEpilogue(Operation *op);

/// An epilogue that is the body of a function on `inputs` f32 values: products first, then vectors. None, with an error
/// at the operation, if it computes what has no fast form on the device. The function must outlive it.
FailureOr<Epilogue> makeEpilogue(FunctionOpInterface function, int64_t inputs);

} // namespace mlir::moe::hopper

#endif // MOE_GPU_HOPPER_GROUPEDMATMUL_H
