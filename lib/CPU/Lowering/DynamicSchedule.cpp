//===- DynamicSchedule.cpp - Schedules of OpenMP loops --------------------===//
//
// Implements moe-cpu-dynamic-schedule: iterations go to whichever thread is free.
//
//===----------------------------------------------------------------------===//

#include "moe/CPU/Lowering/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/OpenMP/OpenMPDialect.h"

namespace mlir::moe {
#define GEN_PASS_DEF_DYNAMICSCHEDULEPASS
#include "moe/CPU/Lowering/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;

/// Whether a loop has more than one iteration; null if bounds are computed inside the parallel region.
static Value buildHasMany(OpBuilder &builder, Location loc, omp::LoopNestOp nest, Region &region) {
  Value result;
  for (auto [lower, upper, step] :
       llvm::zip_equal(nest.getLoopLowerBounds(), nest.getLoopUpperBounds(), nest.getLoopSteps())) {
    for (Value bound : {lower, upper, step})
      if (region.isAncestor(bound.getParentRegion()))
        return {};
    Value second = arith::AddIOp::create(builder, loc, lower, step);
    Value many = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::slt, second, upper);
    result = result ? arith::OrIOp::create(builder, loc, result, many).getResult() : many;
  }
  return result;
}

namespace {
struct DynamicSchedulePass : moe::impl::DynamicSchedulePassBase<DynamicSchedulePass> {
  void runOnOperation() override {
    getOperation().walk([](omp::WsloopOp loop) {
      loop.setScheduleKind(omp::ClauseScheduleKind::Dynamic);
      auto parallel = dyn_cast<omp::ParallelOp>(loop->getParentOp());
      auto nest = dyn_cast<omp::LoopNestOp>(loop.getWrappedLoop());
      if (!parallel || parallel.getIfExpr() || !nest || !llvm::hasSingleElement(parallel.getOps<omp::WsloopOp>()))
        return;
      OpBuilder builder(parallel);
      if (Value many = buildHasMany(builder, parallel.getLoc(), nest, parallel.getRegion()))
        parallel.getIfExprMutable().assign(many);
    });
  }
};
} // namespace
