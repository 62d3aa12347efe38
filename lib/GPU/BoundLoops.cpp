//===- BoundLoops.cpp - Grids that the host knows -------------------------===//
//
// Implements moe-gpu-bound-loops: a kernel whose end is known on the device only runs up to a bound and asks.
//
//===----------------------------------------------------------------------===//

#include "HostBound.h"
#include "moe/GPU/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

namespace mlir::moe {
#define GEN_PASS_DEF_BOUNDLOOPSPASS
#include "moe/GPU/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

/// Whether all iterations before the end of dimension `dim` are asked for, in the current iteration.
static Value buildInside(OpBuilder &builder, Location loc, Value index, Value end, Value inside) {
  Value before = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::slt, index, end);
  return inside ? arith::AndIOp::create(builder, loc, inside, before).getResult() : before;
}

/// Gives each end that the host does not know a bound, and lets threads behind the end do nothing.
static void boundLoop(scf::ParallelOp kernel, const HostValues &values) {
  OpBuilder builder(kernel);
  HostBound bound(kernel, values);
  SmallVector<std::pair<unsigned, Value>> bounds;
  for (auto [dim, end] : llvm::enumerate(kernel.getUpperBound())) {
    if (values.isKnown(end))
      continue;
    Value limit = bound.build(builder, end);
    // Without one, a single thread will run the loop.
    if (!limit)
      return;
    bounds.push_back({dim, limit});
  }
  if (bounds.empty())
    return;
  Location loc = kernel.getLoc();
  Block *body = kernel.getBody();
  builder.setInsertionPointToStart(body);
  Operation *first = &body->front();
  Value inside;
  for (auto [dim, limit] : bounds) {
    Value end = kernel.getUpperBound()[dim];
    inside = buildInside(builder, loc, kernel.getInductionVars()[dim], end, inside);
    kernel.getUpperBoundMutable()[dim].assign(limit);
  }
  auto guard = scf::IfOp::create(builder, loc, inside, /*withElseRegion=*/false);
  Block *guarded = guard.thenBlock();
  guarded->getOperations().splice(guarded->begin(), body->getOperations(), first->getIterator(),
                                  body->getTerminator()->getIterator());
}

namespace {
struct BoundLoopsPass : moe::impl::BoundLoopsPassBase<BoundLoopsPass> {
  void runOnOperation() override {
    if (getOperation().isExternal())
      return;
    HostValues values(getOperation());
    for (scf::ParallelOp kernel : getKernels(getOperation()))
      boundLoop(kernel, values);
  }
};
} // namespace
