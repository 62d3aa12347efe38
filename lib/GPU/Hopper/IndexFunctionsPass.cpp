//===- IndexFunctionsPass.cpp - moe-gpu-hopper-index-functions ------------===//
//
// Wraps each function of IndexFunctions.h in one that C can call.
//
//===----------------------------------------------------------------------===//

#include "IndexFunctions.h"
#include "moe/GPU/Hopper/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace mlir::moe {
#define GEN_PASS_DEF_HOPPERINDEXFUNCTIONSPASS
#include "moe/GPU/Hopper/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::hopper;

namespace {
/// Writes functions to the end of a module.
class Wrapper {
public:
  Wrapper(ModuleOp module) : builder(OpBuilder::atBlockEnd(module.getBody())), loc(module.getLoc()) {}

  using Body = llvm::function_ref<SmallVector<Value>(const DeviceBuilder &, ValueRange)>;
  /// A function of `arguments` numbers, after a pointer to numbers if `array`.
  void add(StringRef name, unsigned arguments, unsigned results, Body body, bool array = false) {
    OpBuilder::InsertionGuard guard(builder);
    SmallVector<Type> types(arguments, builder.getI32Type());
    if (array)
      types.insert(types.begin(), LLVM::LLVMPointerType::get(builder.getContext()));
    SmallVector<Type> resultTypes(results, builder.getI32Type());
    // A prefix: the C library has an `advance` of its own.
    auto type = builder.getFunctionType(types, resultTypes);
    auto function = func::FuncOp::create(builder, loc, ("hopper_" + name).str(), type);
    function->setAttr(LLVM::LLVMDialect::getEmitCWrapperAttrName(), builder.getUnitAttr());
    builder.setInsertionPointToStart(function.addEntryBlock());
    func::ReturnOp::create(builder, loc, body(DeviceBuilder{builder, loc}, function.getArguments()));
  }

private:
  OpBuilder builder;
  Location loc;
};
} // namespace

static Value readArray(const DeviceBuilder &d, Value array, Value index) {
  return d.load(d.b.getI32Type(), d.address(array, d.b.getI32Type(), index), 4);
}

static void wrapTileMap(Wrapper &wrapper, const KernelShape &shape, int64_t experts, int64_t raster) {
  wrapper.add("tiles_of", 1, 1, [&](const DeviceBuilder &d, ValueRange x) -> SmallVector<Value> {
    return {buildTilesOf(d, x[0], shape.tokenTile)};
  });
  wrapper.add(
      "sum_before", 1, 1,
      [&](const DeviceBuilder &d, ValueRange x) -> SmallVector<Value> {
        auto read = [&](const DeviceBuilder &nested, Value index) { return readArray(nested, x[0], index); };
        return {buildSumBefore(d, x[1], read)};
      },
      /*array=*/true);
  wrapper.add(
      "find_expert", 1, 1,
      [&](const DeviceBuilder &d, ValueRange x) -> SmallVector<Value> {
        auto read = [&](const DeviceBuilder &nested, Value index) { return readArray(nested, x[0], index); };
        return {buildFindExpert(d, experts, x[1], read)};
      },
      /*array=*/true);
  wrapper.add("tile_rows", 3, 2, [&](const DeviceBuilder &d, ValueRange x) -> SmallVector<Value> {
    TileRows rows = buildTileRows(d, x[0], x[1], x[2], shape.tokenTile);
    return {rows.first, rows.rows};
  });
  wrapper.add("work_item", 2, 2, [&](const DeviceBuilder &d, ValueRange x) -> SmallVector<Value> {
    WorkItem item = buildWorkItem(d, shape, raster, x[0], x[1]);
    return {item.tile, item.column};
  });
}

static void wrapStages(Wrapper &wrapper, const KernelShape &shape) {
  wrapper.add("advance", 2, 2, [&](const DeviceBuilder &d, ValueRange x) -> SmallVector<Value> {
    RingState next = buildAdvance(d, shape, {x[0], x[1]});
    return {next.stage, next.parity};
  });
  wrapper.add("gather_place", 1, 2, [&](const DeviceBuilder &d, ValueRange x) -> SmallVector<Value> {
    GatherPlace place = buildGatherPlace(d, x[0], /*copy=*/0);
    return {place.row, place.chunk};
  });
  wrapper.add("token_offset", 2, 1, [&](const DeviceBuilder &d, ValueRange x) -> SmallVector<Value> {
    return {buildTokenOffset(d, x[0], x[1])};
  });
  wrapper.add("chunk_bytes", 2, 1, [&](const DeviceBuilder &d, ValueRange x) -> SmallVector<Value> {
    return {buildChunkBytes(d, shape, x[0], x[1])};
  });
  for (int64_t number = 0; number < shape.getBoxes(); ++number)
    wrapper.add("weight_box_" + std::to_string(number), 2, 4,
                [&](const DeviceBuilder &d, ValueRange x) -> SmallVector<Value> {
                  WeightBox box = buildWeightBox(d, shape, x[0], x[1], number);
                  return {d.constant(box.bank), d.constant(box.offset), box.depth, box.column};
                });
  for (int64_t step = 0; step < kBlockDepth / 16; ++step) {
    wrapper.add("weight_descriptor_" + std::to_string(step), 2, 2,
                [&](const DeviceBuilder &d, ValueRange x) -> SmallVector<Value> {
                  return {buildWeightDescriptor(d, shape, x[0], x[1], step),
                          d.constant(getWeightDescriptorHigh(shape))};
                });
    wrapper.add("token_descriptor_" + std::to_string(step), 1, 2,
                [&](const DeviceBuilder &d, ValueRange x) -> SmallVector<Value> {
                  return {buildTokenDescriptor(d, shape, x[0], step), d.constant(getTokenDescriptorHigh())};
                });
  }
}

static void wrapResults(Wrapper &wrapper, const KernelShape &shape) {
  auto addCorner = [&](StringRef name, auto build) {
    wrapper.add(name, 2, 3, [&](const DeviceBuilder &d, ValueRange x) -> SmallVector<Value> {
      CornerPlace place = build(d, shape, x[0], x[1]);
      return {place.offset, place.token, place.column};
    });
  };
  addCorner("corner_place", buildCornerPlace);
  addCorner("wide_corner_place", buildWideCornerPlace);
  for (int64_t half = 0; half < 2; ++half) {
    wrapper.add("register_column_" + std::to_string(half), 2, 1,
                [&](const DeviceBuilder &d, ValueRange x) -> SmallVector<Value> {
                  return {buildRegisterColumn(d, shape, x[0], x[1], half)};
                });
    for (int64_t token = 0; token < 2; ++token)
      wrapper.add("wide_corner_offset_" + std::to_string(token) + std::to_string(half), 1, 1,
                  [&](const DeviceBuilder &d, ValueRange x) -> SmallVector<Value> {
                    return {buildWideCornerOffset(d, shape, x[0], token, half)};
                  });
  }
}

namespace {
struct HopperIndexFunctionsPass : moe::impl::HopperIndexFunctionsPassBase<HopperIndexFunctionsPass> {
  using HopperIndexFunctionsPassBase::HopperIndexFunctionsPassBase;

  void runOnOperation() override {
    Wrapper wrapper(getOperation());
    KernelShape shape{k, columns, tokenTile, stages, banks};
    wrapTileMap(wrapper, shape, experts, raster);
    wrapStages(wrapper, shape);
    wrapResults(wrapper, shape);
  }
};
} // namespace
