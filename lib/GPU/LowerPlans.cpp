//===- LowerPlans.cpp - Sorting pairs in one launch -----------------------===//
//
// Implements moe-gpu-lower-plans: a call that stands for a plan becomes a counting sort, its work linear in the pairs.
// Blocks count their own tokens' pairs; the last block to arrive sums the counts and places the pairs. Nothing is added
// up by atomics, so the plan is the same every time.
//
//===----------------------------------------------------------------------===//

#include "Phases.h"
#include "moe/Conversion/MoEToKernels/MoEToKernels.h"
#include "moe/Dialect/MoE/Transforms/IndexBuilder.h"
#include "moe/GPU/Passes.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"

namespace mlir::moe {
#define GEN_PASS_DEF_LOWERPLANSPASS
#include "moe/GPU/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

namespace {
/// The kernels of one plan. Pairs without an expert count as those of one expert more, the last: their rows are behind
/// all others, so that every pair has a row of its own.
class Plan {
public:
  Plan(func::CallOp call, int64_t launch)
      : builder(call), host{builder, call.getLoc()}, launch(launch), ids(call.getOperand(0)),
        offsets(call.getOperand(1)), rowTokens(call.getOperand(2)), rows(call.getOperand(3)),
        experts(cast<MemRefType>(offsets.getType()).getDimSize(0) - 1) {}

  void build();

private:
  using Body = llvm::function_ref<void(const IndexBuilder &, ValueRange)>;
  void buildKernel(int64_t blockRows, ArrayRef<Value> extents, Body body);
  Value load(const IndexBuilder &i, Value buffer, ValueRange place) const {
    return memref::LoadOp::create(i.b, i.loc, buffer, place);
  }
  void store(const IndexBuilder &i, Value value, Value buffer, ValueRange place) const {
    memref::StoreOp::create(i.b, i.loc, value, buffer, place);
  }
  Value buildExpert(const IndexBuilder &i, Value token, Value slot) const;
  Value buildCount(const IndexBuilder &i, Value token, Value slotEnd, Value expert, Value sum) const;
  Value buildCount(const IndexBuilder &i, Value begin, Value end, Value expert) const;
  void buildRank(const IndexBuilder &i, Value token, Value slot);
  void buildBlockCount(const IndexBuilder &i, Value block, Value expert);
  void buildScan(const IndexBuilder &i, Value expert);
  void buildOffset(const IndexBuilder &i, Value expert);
  void buildPlace(const IndexBuilder &i, Value token, Value slot);

  OpBuilder builder;
  IndexBuilder host;
  int64_t launch;
  Value ids, offsets, rowTokens, rows;
  int64_t experts;
  Value tokens, slots, blocks;
  Value sums; ///< [blocks + 1, experts + 1]: pairs of an expert in a block; later, in all blocks before
};
} // namespace

void Plan::buildKernel(int64_t blockRows, ArrayRef<Value> extents, Body body) {
  SmallVector<Value> zeros(extents.size(), host.constant(0)), ones(extents.size(), host.constant(1));
  auto kernel = scf::ParallelOp::create(builder, host.loc, zeros, extents, ones);
  setPhase(kernel, {launch, blockRows});
  OpBuilder inside = OpBuilder::atBlockBegin(kernel.getBody());
  body({inside, host.loc}, kernel.getInductionVars());
}

/// The expert of a pair. Unsigned: -1 and every other id that is no expert's is behind all of them.
Value Plan::buildExpert(const IndexBuilder &i, Value token, Value slot) const {
  Value id = load(i, ids, {token, slot});
  if (!id.getType().isIndex())
    id = arith::IndexCastOp::create(i.b, i.loc, i.b.getIndexType(), id);
  return arith::MinUIOp::create(i.b, i.loc, id, i.constant(experts));
}

/// `sum` and the pairs of `expert` among the slots of `token` before `slotEnd`.
Value Plan::buildCount(const IndexBuilder &i, Value token, Value slotEnd, Value expert, Value sum) const {
  return i.loop(i.constant(0), slotEnd, 1, sum, [&](const IndexBuilder &j, Value slot, ValueRange carried) {
    Value own = arith::CmpIOp::create(j.b, j.loc, arith::CmpIPredicate::eq, buildExpert(j, token, slot), expert);
    Value more = arith::AddIOp::create(j.b, j.loc, carried[0], j.constant(1));
    return SmallVector<Value>{arith::SelectOp::create(j.b, j.loc, own, more, carried[0])};
  })[0];
}

/// The pairs of `expert` among the tokens from `begin` to `end`.
Value Plan::buildCount(const IndexBuilder &i, Value begin, Value end, Value expert) const {
  return i.loop(begin, end, 1, i.constant(0), [&](const IndexBuilder &j, Value token, ValueRange carried) {
    return SmallVector<Value>{buildCount(j, token, slots, expert, carried[0])};
  })[0];
}

/// How many pairs of its expert stand before a pair in its block, in order of token, then slot.
void Plan::buildRank(const IndexBuilder &i, Value token, Value slot) {
  Value expert = buildExpert(i, token, slot);
  Value before = buildCount(i, i.alignDown(token, kTokensPerBlock), token, expert);
  store(i, buildCount(i, token, slot, expert, before), rows, {token, slot});
}

void Plan::buildBlockCount(const IndexBuilder &i, Value block, Value expert) {
  Value begin = i.mul(block, kTokensPerBlock), end = i.min(i.add(begin, i.constant(kTokensPerBlock)), tokens);
  store(i, buildCount(i, begin, end, expert), sums, {block, expert});
}

/// The counts of an expert become those of all blocks before; behind them stands the count of all blocks.
void Plan::buildScan(const IndexBuilder &i, Value expert) {
  Value all = i.loop(i.constant(0), blocks, 1, i.constant(0), [&](const IndexBuilder &j, Value block, ValueRange sum) {
    Value count = load(j, sums, {block, expert});
    store(j, sum[0], sums, {block, expert});
    return SmallVector<Value>{arith::AddIOp::create(j.b, j.loc, sum[0], count)};
  })[0];
  store(i, all, sums, {blocks, expert});
}

void Plan::buildOffset(const IndexBuilder &i, Value expert) {
  auto add = [&](const IndexBuilder &j, Value before, ValueRange sum) {
    return SmallVector<Value>{arith::AddIOp::create(j.b, j.loc, sum[0], load(j, sums, {blocks, before}))};
  };
  store(i, i.loop(i.constant(0), expert, 1, i.constant(0), add)[0], offsets, expert);
}

/// The row of a pair, and the token of that row.
void Plan::buildPlace(const IndexBuilder &i, Value token, Value slot) {
  Value expert = buildExpert(i, token, slot), all = i.constant(experts);
  Value block = arith::DivUIOp::create(i.b, i.loc, token, i.constant(kTokensPerBlock));
  Value row = i.add(load(i, offsets, expert), load(i, sums, {block, expert}));
  row = i.add(row, load(i, rows, {token, slot}));
  Value has = arith::CmpIOp::create(i.b, i.loc, arith::CmpIPredicate::ne, expert, all);
  store(i, arith::SelectOp::create(i.b, i.loc, has, token, i.constant(0)), rowTokens, row);
  store(i, arith::SelectOp::create(i.b, i.loc, has, row, i.constant(-1)), rows, {token, slot});
}

void Plan::build() {
  tokens = builder.createOrFold<memref::DimOp>(host.loc, ids, 0);
  slots = builder.createOrFold<memref::DimOp>(host.loc, ids, 1);
  // One block without tokens still writes the offsets.
  blocks = host.max(host.ceilDiv(tokens, host.constant(kTokensPerBlock)), host.constant(1));
  auto type = MemRefType::get({ShapedType::kDynamic, experts + 1}, builder.getIndexType());
  sums = memref::AllocOp::create(builder, host.loc, type, host.add(blocks, host.constant(1)));
  Value bins = host.constant(experts + 1), all[] = {tokens, slots};
  buildKernel(kTokensPerBlock, all, [&](const IndexBuilder &i, ValueRange at) { buildRank(i, at[0], at[1]); });
  buildKernel(1, {blocks, bins}, [&](const IndexBuilder &i, ValueRange at) { buildBlockCount(i, at[0], at[1]); });
  buildKernel(0, bins, [&](const IndexBuilder &i, ValueRange at) { buildScan(i, at[0]); });
  buildKernel(0, bins, [&](const IndexBuilder &i, ValueRange at) { buildOffset(i, at[0]); });
  buildKernel(0, all, [&](const IndexBuilder &i, ValueRange at) { buildPlace(i, at[0], at[1]); });
}

namespace {
struct LowerPlansPass : moe::impl::LowerPlansPassBase<LowerPlansPass> {
  void runOnOperation() override {
    SmallVector<func::FuncOp> plans;
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (function->hasAttr(kPlanAttr))
        plans.push_back(function);
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      SmallVector<func::CallOp> calls;
      function.walk([&](func::CallOp call) {
        if (llvm::any_of(plans, [&](func::FuncOp plan) { return plan.getName() == call.getCallee(); }))
          calls.push_back(call);
      });
      for (auto [launch, call] : llvm::enumerate(calls)) {
        if (call.getNumOperands() != 4 || call.getNumResults() != 0 ||
            !llvm::all_of(call.getOperandTypes(), llvm::IsaPred<MemRefType>)) {
          call.emitError("expected a plan to take buffers of ids, offsets, tokens and slots");
          return signalPassFailure();
        }
        Plan(call, launch).build();
        call.erase();
      }
    }
    for (func::FuncOp plan : plans)
      plan.erase();
  }
};
} // namespace
