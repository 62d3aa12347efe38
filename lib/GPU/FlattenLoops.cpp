//===- FlattenLoops.cpp - One loop out of two -----------------------------===//
//
// Implements moe-gpu-flatten-loops: a parallel loop around a parallel loop becomes one with all their dimensions.
//
//===----------------------------------------------------------------------===//

#include "HostValues.h"
#include "moe/GPU/Passes.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace mlir::moe {
#define GEN_PASS_DEF_FLATTENLOOPSPASS
#include "moe/GPU/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

/// Whether stores in `loop`, the only writes it may have, leave `buffer` alone.
static bool leavesAlone(scf::ParallelOp loop, Value buffer) {
  if (!buffer)
    return false;
  WalkResult walk = loop.walk([&](Operation *op) {
    auto store = dyn_cast<memref::StoreOp>(op);
    Value written = store ? findBuffer(store.getMemref()) : Value();
    bool harmless = store ? written && written != buffer
                          : isa<memref::LoadOp>(op) || isMemoryEffectFree(op) ||
                                op->hasTrait<OpTrait::HasRecursiveMemoryEffects>();
    return harmless ? WalkResult::advance() : WalkResult::interrupt();
  });
  return !walk.wasInterrupted();
}

/// The nested loop of `outer` if the two can become one.
static scf::ParallelOp findInner(scf::ParallelOp outer) {
  auto loops = outer.getBody()->getOps<scf::ParallelOp>();
  if (!llvm::hasSingleElement(loops))
    return {};
  scf::ParallelOp inner = *loops.begin();
  for (Value bound : inner->getOperands())
    if (outer.getRegion().isAncestor(bound.getParentRegion()))
      return {};
  for (Operation &op : outer.getBody()->without_terminator()) {
    if (&op == inner)
      continue;
    // What follows the nested loop is for the whole of it.
    if (inner->isBeforeInBlock(&op))
      return {};
    auto load = dyn_cast<memref::LoadOp>(op);
    if (load ? !leavesAlone(inner, findBuffer(load.getMemref())) : !isPure(&op))
      return {};
  }
  return inner;
}

static SmallVector<Value> join(ValueRange first, ValueRange second) {
  SmallVector<Value> all(first);
  llvm::append_range(all, second);
  return all;
}

static void flatten(scf::ParallelOp outer, scf::ParallelOp inner) {
  OpBuilder builder(outer);
  auto loop = scf::ParallelOp::create(builder, inner.getLoc(), join(outer.getLowerBound(), inner.getLowerBound()),
                                      join(outer.getUpperBound(), inner.getUpperBound()),
                                      join(outer.getStep(), inner.getStep()));
  IRMapping mapping;
  SmallVector<Value> own = join(outer.getInductionVars(), inner.getInductionVars());
  for (auto [old, index] : llvm::zip_equal(own, loop.getInductionVars()))
    mapping.map(old, index);
  builder.setInsertionPointToStart(loop.getBody());
  for (Operation &op : outer.getBody()->without_terminator())
    if (&op != inner)
      builder.clone(op, mapping);
  for (Operation &op : inner.getBody()->without_terminator())
    builder.clone(op, mapping);
  outer.erase();
}

namespace {
struct FlattenLoopsPass : moe::impl::FlattenLoopsPassBase<FlattenLoopsPass> {
  void runOnOperation() override {
    for (scf::ParallelOp outer : getKernels(getOperation()))
      if (scf::ParallelOp inner = outer.getInitVals().empty() ? findInner(outer) : scf::ParallelOp())
        if (inner.getInitVals().empty())
          flatten(outer, inner);
  }
};
} // namespace
