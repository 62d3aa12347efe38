//===- MapTiles.cpp - Tile maps in the launch of a plan -------------------===//
//
// Implements moe-gpu-map-hopper-tiles: the last block of a plan's launch writes the tile maps of the products over its
// offsets, which then need no launch of their own for it.
//
//===----------------------------------------------------------------------===//

#include "../HostValues.h"
#include "../Phases.h"
#include "ProductFunction.h"

#include "moe/Dialect/MoE/Transforms/IndexBuilder.h"
#include "moe/GPU/Hopper/Passes.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/Support/MathExtras.h"

namespace mlir::moe {
#define GEN_PASS_DEF_MAPHOPPERTILESPASS
#include "moe/GPU/Hopper/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::hopper;

namespace {
/// The launch of a plan: what it writes, and its last phase, which places the pairs.
struct PlanLaunch {
  scf::ParallelOp last;
  int64_t number;
};

/// The phases that write one tile map.
class TileMap {
public:
  TileMap(const PlanLaunch &plan, Value offsets)
      : plan(plan), builder(plan.last->getContext()), host{builder, plan.last->getLoc()}, offsets(offsets),
        experts(cast<MemRefType>(offsets.getType()).getDimSize(0) - 1) {
    builder.setInsertionPointAfter(plan.last);
  }

  /// Writes the map for these tiles; gives its buffer.
  Value build(ArrayRef<TileClass> classes);

private:
  Value load(const IndexBuilder &i, Value buffer, Value place) const {
    return memref::LoadOp::create(i.b, i.loc, buffer, place);
  }
  void store(const IndexBuilder &i, Value value, Value buffer, Value place) const {
    if (cast<MemRefType>(buffer.getType()).getElementType().isInteger(32))
      value = arith::IndexCastOp::create(i.b, i.loc, i.b.getI32Type(), value);
    memref::StoreOp::create(i.b, i.loc, value, buffer, place);
  }
  void buildPhase(Value extent, llvm::function_ref<void(const IndexBuilder &, Value)> body);
  Value buildTile(ArrayRef<TileClass> classes);
  void buildStart(const IndexBuilder &i, Value expert);
  void buildEntry(const IndexBuilder &i, Value number);
  Value buildExpert(const IndexBuilder &i, Value number);

  PlanLaunch plan;
  OpBuilder builder;
  IndexBuilder host;
  Value offsets;
  int64_t experts;
  Value rows, tile;
  Value starts; ///< [experts + 1]: tiles of all experts before
  Value words;  ///< the map
};
} // namespace

void TileMap::buildPhase(Value extent, llvm::function_ref<void(const IndexBuilder &, Value)> body) {
  auto kernel = scf::ParallelOp::create(builder, host.loc, host.constant(0), extent, host.constant(1));
  setPhase(kernel, {plan.number, 0});
  OpBuilder inside = OpBuilder::atBlockBegin(kernel.getBody());
  body({inside, host.loc}, kernel.getInductionVars().front());
}

/// Rows of a tile, as the product's host code chooses them for so many rows.
Value TileMap::buildTile(ArrayRef<TileClass> classes) {
  Value chosen = host.constant(classes.back().decision.tokenTile);
  for (const TileClass &tile : llvm::reverse(classes.drop_back())) {
    Value limit = host.constant(tile.maxRows);
    Value fits = arith::CmpIOp::create(builder, host.loc, arith::CmpIPredicate::ule, rows, limit);
    Value own = host.constant(tile.decision.tokenTile);
    chosen = arith::SelectOp::create(builder, host.loc, fits, own, chosen);
  }
  return chosen;
}

/// The number of an expert's first tile; behind the last expert that of all, which the map begins with.
void TileMap::buildStart(const IndexBuilder &i, Value expert) {
  Value start = i.loop(i.constant(0), expert, 1, i.constant(0), [&](const IndexBuilder &j, Value before, ValueRange sum) {
    Value count = j.sub(load(j, offsets, j.add(before, j.constant(1))), load(j, offsets, before));
    return SmallVector<Value>{j.add(sum[0], j.ceilDiv(count, tile))};
  })[0];
  store(i, start, starts, expert);
  Value isLast = arith::CmpIOp::create(i.b, i.loc, arith::CmpIPredicate::eq, expert, i.constant(experts));
  scf::IfOp::create(i.b, i.loc, isLast, [&](OpBuilder &b, Location loc) {
    IndexBuilder j{b, loc};
    store(j, start, words, j.constant(0));
    scf::YieldOp::create(b, loc);
  });
}

/// The last expert whose first tile is not behind tile `number`; experts without rows have no tile, and are passed over. By
/// bisection: it lies in [low, low + half of what is left].
Value TileMap::buildExpert(const IndexBuilder &i, Value number) {
  Value low = i.constant(0);
  for (int64_t step = llvm::PowerOf2Ceil(experts) / 2; step > 0; step /= 2) {
    Value probe = i.add(low, i.constant(step));
    Value inside = i.min(probe, i.constant(experts));
    Value start = load(i, starts, inside);
    Value reached = arith::CmpIOp::create(i.b, i.loc, arith::CmpIPredicate::sle, start, number);
    Value exists = arith::CmpIOp::create(i.b, i.loc, arith::CmpIPredicate::slt, probe, i.constant(experts));
    Value takes = arith::AndIOp::create(i.b, i.loc, reached, exists);
    low = arith::SelectOp::create(i.b, i.loc, takes, probe, low);
  }
  return low;
}

/// Expert, first row, rows and 0.
void TileMap::buildEntry(const IndexBuilder &i, Value number) {
  Value all = load(i, starts, i.constant(experts));
  Value exists = arith::CmpIOp::create(i.b, i.loc, arith::CmpIPredicate::slt, number, all);
  scf::IfOp::create(i.b, i.loc, exists, [&](OpBuilder &b, Location loc) {
    IndexBuilder j{b, loc};
    Value expert = buildExpert(j, number);
    Value own = j.sub(number, load(j, starts, expert));
    Value first = j.add(load(j, offsets, expert), b.createOrFold<arith::MulIOp>(loc, own, tile));
    Value count = j.min(j.sub(load(j, offsets, j.add(expert, j.constant(1))), first), tile);
    Value place = j.mul(j.add(number, j.constant(1)), 4);
    for (auto [index, value] : llvm::enumerate(SmallVector<Value>{expert, first, count, j.constant(0)}))
      store(j, value, words, j.add(place, j.constant(index)));
    scf::YieldOp::create(b, loc);
  });
}

Value TileMap::build(ArrayRef<TileClass> classes) {
  rows = builder.createOrFold<arith::MulIOp>(host.loc, plan.last.getUpperBound()[0], plan.last.getUpperBound()[1]);
  tile = buildTile(classes);
  Value most = host.add(host.ceilDiv(rows, tile), host.constant(experts));
  Value count = host.mul(host.add(most, host.constant(1)), 4);
  Value bytes = host.mul(count, 4);
  auto bytesType = MemRefType::get({ShapedType::kDynamic}, builder.getI8Type());
  auto wordsType = MemRefType::get({ShapedType::kDynamic}, builder.getI32Type());
  Value map = memref::AllocOp::create(builder, host.loc, bytesType, bytes, builder.getI64IntegerAttr(128));
  words = memref::ViewOp::create(builder, host.loc, wordsType, map, host.constant(0), count);
  starts = memref::AllocOp::create(builder, host.loc, MemRefType::get({experts + 1}, builder.getIndexType()));
  buildPhase(host.constant(experts + 1), [&](const IndexBuilder &i, Value expert) { buildStart(i, expert); });
  buildPhase(most, [&](const IndexBuilder &i, Value number) { buildEntry(i, number); });
  return map;
}

//===----------------------------------------------------------------------===//
// Which products
//===----------------------------------------------------------------------===//

/// The launch that writes `offsets`, a plan's, or nothing.
static std::optional<PlanLaunch> findPlan(Value offsets) {
  for (Operation *user : offsets.getUsers()) {
    auto store = dyn_cast<memref::StoreOp>(user);
    scf::ParallelOp kernel = store && store.getMemref() == offsets ? getKernelOf(user) : scf::ParallelOp();
    std::optional<Phase> phase = kernel ? getPhase(kernel) : std::nullopt;
    if (!phase || !phase->isOfLastBlock())
      continue;
    PlanLaunch plan{kernel, phase->launch};
    // Pairs are placed by the one phase of the last block that runs over tokens and slots.
    for (Operation *op = kernel; op; op = op->getNextNode())
      if (auto later = dyn_cast<scf::ParallelOp>(op))
        if (auto place = getPhase(later); place && place->launch == plan.number && later.getNumLoops() == 2)
          plan.last = later;
    if (plan.last.getNumLoops() == 2)
      return plan;
  }
  return std::nullopt;
}

namespace {
struct MapHopperTilesPass : moe::impl::MapHopperTilesPassBase<MapHopperTilesPass> {
  using MapHopperTilesPassBase::MapHopperTilesPassBase;

  void runOnOperation() override {
    maps.clear();
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (function->hasAttr(kProductAttr) && failed(mapTiles(function)))
        return signalPassFailure();
  }

private:
  LogicalResult mapTiles(func::FuncOp function) {
    Product product;
    if (failed(product.read(function)))
      return failure();
    GroupedMatmulKernelOptions options;
    if (product.dense || fillOptions(product, options))
      return success();
    SmallVector<func::CallOp> calls;
    getOperation().walk([&](func::CallOp call) {
      if (call.getCallee() == function.getName())
        calls.push_back(call);
    });
    auto offsets = [&](func::CallOp call) { return findBuffer(call.getOperand(product.getOffsets())); };
    // Where some calls have other offsets, all write their maps themselves: they share the code.
    if (!llvm::all_of(calls, [&](func::CallOp call) { return offsets(call) && findPlan(offsets(call)); }))
      return success();
    std::vector<TileClass> classes = chooseTiles(product, options, tokenTile);
    for (func::CallOp call : calls)
      passMap(call, product.getTileMap(), offsets(call), classes);
    NamedAttrList description(function->getAttrOfType<DictionaryAttr>(kProductAttr));
    description.append(kMappedEntry, UnitAttr::get(&getContext()));
    function->setAttr(kProductAttr, description.getDictionary(&getContext()));
    return success();
  }

  /// Products over the same offsets with the same tiles share a map.
  void passMap(func::CallOp call, unsigned argument, Value offsets, ArrayRef<TileClass> classes) {
    SmallVector<int64_t> tiles;
    for (const TileClass &tile : classes)
      tiles.append({tile.maxRows, tile.decision.tokenTile});
    Value &map = maps[{offsets, DenseI64ArrayAttr::get(&getContext(), tiles)}];
    if (!map)
      map = TileMap(*findPlan(offsets), offsets).build(classes);
    auto unused = call.getOperand(argument).getDefiningOp<memref::AllocOp>();
    call.setOperand(argument, map);
    if (unused && unused->use_empty())
      unused.erase();
  }

  llvm::MapVector<std::pair<Value, Attribute>, Value> maps;
};
} // namespace
