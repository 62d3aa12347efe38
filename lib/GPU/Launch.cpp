//===- Launch.cpp - From loops to a kernel --------------------------------===//
//
// What the kernels of one loop and those of several have in common.
//
//===----------------------------------------------------------------------===//

#include "Launch.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Transforms/RegionUtils.h"

using namespace mlir;
using namespace mlir::moe;

/// Whether a kernel can make `value` itself: a constant, a constant table, or what is computed from such.
static bool isRemade(Value value) {
  Operation *op = value.getDefiningOp();
  return op && isPure(op) && op->getNumRegions() == 0 && llvm::all_of(op->getOperands(), isRemade);
}

void Captures::require(Value value) {
  if (!isRemade(value)) {
    arguments.insert(value);
    return;
  }
  for (Value operand : value.getDefiningOp()->getOperands())
    require(operand);
  remade.insert(value.getDefiningOp());
}

void Captures::require(const Iterations &iterations, Value first) {
  scf::ParallelOp loop = iterations.loop;
  for (auto [lower, step] : llvm::zip_equal(loop.getLowerBound(), loop.getStep())) {
    require(lower);
    require(step);
  }
  for (Value trip : ArrayRef(iterations.trips).drop_front())
    require(trip);
  require(first);
  SetVector<Value> used;
  getUsedValuesDefinedAbove(loop.getRegion(), used);
  for (Value value : used)
    require(value);
}

IRMapping Captures::buildInside(OpBuilder &builder, gpu::GPUFuncOp kernel) const {
  IRMapping mapping;
  mapping.map(getArguments(), kernel.getArguments());
  for (Operation *op : remade)
    builder.clone(*op, mapping);
  return mapping;
}

Iterations::Iterations(OpBuilder &host, scf::ParallelOp loop) : loop(loop) {
  for (unsigned dim = 0; dim < loop.getNumLoops(); ++dim)
    trips.push_back(buildTrips(host, loop.getLoc(), loop, dim));
}

void Iterations::buildBody(OpBuilder &builder, Value number, Value first, IRMapping mapping) {
  Location loc = loop.getLoc();
  // The last dimension varies fastest: neighbours in a warp are neighbours in memory.
  for (unsigned dim = loop.getNumLoops(); dim-- > 0;) {
    Value own = number;
    // The first dimension is what division leaves.
    if (dim > 0) {
      Value trip = mapping.lookup(trips[dim]);
      own = arith::RemUIOp::create(builder, loc, number, trip);
      number = arith::DivUIOp::create(builder, loc, number, trip);
    } else if (first) {
      own = arith::AddIOp::create(builder, loc, number, first);
    }
    own = builder.createOrFold<arith::MulIOp>(loc, own, mapping.lookup(loop.getStep()[dim]));
    own = builder.createOrFold<arith::AddIOp>(loc, own, mapping.lookup(loop.getLowerBound()[dim]));
    mapping.map(loop.getInductionVars()[dim], own);
  }
  for (Operation &op : loop.getBody()->without_terminator())
    builder.clone(op, mapping);
}
