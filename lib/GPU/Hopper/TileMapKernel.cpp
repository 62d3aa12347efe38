//===- TileMapKernel.cpp - Which tiles there are --------------------------===//
//
// One block turns the offsets of the experts into the list of tiles of tokens. Each tile finds its expert by bisection,
// so that an expert with very many rows costs no more than others.
//
//===----------------------------------------------------------------------===//

#include "KernelParts.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::hopper;

namespace {
/// Shared arrays of the tile map kernel: tiles of each expert, and tiles before each expert.
struct TileCounts {
  Value counts, before;

  static Value read(const DeviceBuilder &d, Value array, Value index) {
    return d.load(d.b.getI32Type(), d.address(array, d.b.getI32Type(), index), 4);
  }
  static void write(const DeviceBuilder &d, Value array, Value index, Value value) {
    d.store(value, d.address(array, d.b.getI32Type(), index), 4);
  }
};
} // namespace

static void buildTileEntry(const DeviceBuilder &d, Value map, Value tile, Value expert, const TileRows &rows) {
  auto words = VectorType::get(4, d.b.getI32Type());
  Value entry = LLVM::ZeroOp::create(d.b, d.loc, words);
  Value values[] = {expert, rows.first, rows.rows};
  for (auto [index, word] : llvm::enumerate(values))
    entry = LLVM::InsertElementOp::create(d.b, d.loc, entry, word, d.constant(index));
  d.store(entry, d.address(map, words, d.add(tile, 1)), 16);
}

/// Three steps with a barrier after each of the first two: tiles of each expert; sums of those before; the tiles.
static void buildTileMapBody(const DeviceBuilder &d, const TileMapKernelOptions &options, Value offsets, Value map,
                             TileCounts shared) {
  Value thread = NVVM::ThreadIdXOp::create(d.b, d.loc, d.b.getI32Type());
  Value threads = d.constant(TileMapKernelOptions::kTileMapThreads), experts = d.constant(options.experts);
  Type type = options.offsetType;
  auto offset = [&](const DeviceBuilder &nested, Value expert) {
    return nested.narrow(nested.load(type, nested.address(offsets, type, expert), type.getIntOrFloatBitWidth() / 8));
  };
  auto read = [](Value array) {
    return [array](const DeviceBuilder &nested, Value index) { return TileCounts::read(nested, array, index); };
  };
  d.loop(thread, experts, threads, {}, [&](const DeviceBuilder &nested, Value expert, ValueRange) {
    Value rows = nested.sub(offset(nested, nested.add(expert, 1)), offset(nested, expert));
    TileCounts::write(nested, shared.counts, expert, buildTilesOf(nested, rows, options.tokenTile));
    return SmallVector<Value>();
  });
  NVVM::BarrierOp::create(d.b, d.loc);
  d.loop(thread, d.add(experts, 1), threads, {}, [&](const DeviceBuilder &nested, Value expert, ValueRange) {
    auto counts = read(shared.counts);
    TileCounts::write(nested, shared.before, expert, buildSumBefore(nested, expert, counts));
    return SmallVector<Value>();
  });
  NVVM::BarrierOp::create(d.b, d.loc);
  Value tiles = TileCounts::read(d, shared.before, experts);
  d.when(d.equal(thread, 0), [&](const DeviceBuilder &nested) { nested.store(tiles, map, 16); });
  d.loop(thread, tiles, threads, {}, [&](const DeviceBuilder &nested, Value tile, ValueRange) {
    auto before = read(shared.before);
    Value expert = buildFindExpert(nested, options.experts, tile, before);
    Value number = nested.sub(tile, TileCounts::read(nested, shared.before, expert));
    TileRows rows = buildTileRows(nested, offset(nested, expert), offset(nested, nested.add(expert, 1)), number,
                                  options.tokenTile);
    buildTileEntry(nested, map, tile, expert, rows);
    return SmallVector<Value>();
  });
}

FailureOr<LLVM::LLVMFuncOp> hopper::buildTileMapKernel(OpBuilder &builder, gpu::GPUModuleOp module,
                                                       const TileMapKernelOptions &options) {
  if (options.experts < 1 || options.getSharedBytes() > kSharedLimit)
    return module.emitError() << "no tile map of " << options.experts << " experts in one block";
  OpBuilder::InsertionGuard guard(builder);
  LLVM::GlobalOp global = getSharedMemory(builder, module);
  builder.setInsertionPointToEnd(module.getBody());
  Type pointer = getPointer(builder.getContext(), 1);
  LLVM::LLVMFuncOp function = buildKernelFunction(builder, module, options.name, {pointer, pointer}, /*maps=*/0,
                                                  TileMapKernelOptions::kTileMapThreads);
  Block *entry = function.addEntryBlock(builder);
  builder.setInsertionPointToStart(entry);
  DeviceBuilder d{builder, module.getLoc()};
  Value shared = LLVM::AddressOfOp::create(builder, module.getLoc(), global);
  buildTileMapBody(d, options, entry->getArgument(0), entry->getArgument(1),
                   {shared, d.bytes(shared, options.experts * 4)});
  LLVM::ReturnOp::create(builder, module.getLoc(), ValueRange());
  return function;
}
