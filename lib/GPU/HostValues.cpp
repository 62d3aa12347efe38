//===- HostValues.cpp - What the host knows -------------------------------===//
//
// Marks values forward from loads until nothing changes.
//
//===----------------------------------------------------------------------===//

#include "HostValues.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Interfaces/ViewLikeInterface.h"

using namespace mlir;
using namespace mlir::moe;

scf::ParallelOp moe::getKernelOf(Operation *op) {
  scf::ParallelOp kernel;
  for (; op; op = op->getParentOp())
    if (auto loop = dyn_cast<scf::ParallelOp>(op))
      kernel = loop;
  return kernel;
}

Value moe::findBuffer(Value memref) {
  while (auto view = memref.getDefiningOp<ViewLikeOpInterface>())
    memref = view.getViewSource();
  auto argument = dyn_cast<BlockArgument>(memref);
  bool own = argument ? isa<func::FuncOp>(argument.getOwner()->getParentOp())
                      : isa<memref::AllocOp, memref::AllocaOp, memref::GetGlobalOp>(memref.getDefiningOp());
  return own ? memref : Value();
}

Value moe::buildTrips(OpBuilder &builder, Location loc, scf::ParallelOp kernel, unsigned dim) {
  Value lower = kernel.getLowerBound()[dim], upper = kernel.getUpperBound()[dim], step = kernel.getStep()[dim];
  Value zero = arith::ConstantIndexOp::create(builder, loc, 0), one = arith::ConstantIndexOp::create(builder, loc, 1);
  Value length = builder.createOrFold<arith::SubIOp>(loc, upper, lower);
  length = builder.createOrFold<arith::MaxSIOp>(loc, length, zero);
  Value last = builder.createOrFold<arith::SubIOp>(loc, step, one);
  length = builder.createOrFold<arith::AddIOp>(loc, length, last);
  return builder.createOrFold<arith::DivUIOp>(loc, length, step);
}

bool moe::touchesMemory(Operation *op) {
  if (isa<CallOpInterface, FunctionOpInterface>(op) || op->hasTrait<OpTrait::IsTerminator>())
    return false;
  if (auto effects = dyn_cast<MemoryEffectOpInterface>(op)) {
    SmallVector<MemoryEffects::EffectInstance> instances;
    effects.getEffects(instances);
    return llvm::any_of(instances, [](const MemoryEffects::EffectInstance &effect) {
      return isa<MemoryEffects::Read, MemoryEffects::Write>(effect.getEffect());
    });
  }
  return !op->hasTrait<OpTrait::HasRecursiveMemoryEffects>() && !isPure(op);
}

HostValues::HostValues(func::FuncOp function) {
  bool changed = true;
  while (changed) {
    changed = false;
    function.walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (isa<scf::ParallelOp>(op))
        return WalkResult::skip();
      changed |= visit(op);
      return WalkResult::advance();
    });
  }
}

bool HostValues::visit(Operation *op) {
  bool changed = false, depends = touchesMemory(op) || !llvm::all_of(op->getOperands(), [&](Value operand) {
                                    return isKnown(operand);
                                  });
  if (auto loop = dyn_cast<scf::ForOp>(op)) {
    bool rounds = !isKnown(loop.getLowerBound()) || !isKnown(loop.getUpperBound()) || !isKnown(loop.getStep());
    if (rounds)
      changed |= mark(loop.getInductionVar());
    for (auto [init, argument, yielded, result] :
         llvm::zip_equal(loop.getInitArgs(), loop.getRegionIterArgs(), loop.getYieldedValues(), loop.getResults())) {
      if (!rounds && isKnown(init) && isKnown(yielded))
        continue;
      changed |= mark(argument);
      changed |= mark(result);
    }
    return changed;
  }
  if (auto branch = dyn_cast<scf::IfOp>(op); branch && isKnown(branch.getCondition())) {
    for (OpResult result : branch.getResults())
      if (!isKnown(branch.thenYield().getOperand(result.getResultNumber())) ||
          !isKnown(branch.elseYield().getOperand(result.getResultNumber())))
        changed |= mark(result);
    return changed;
  }
  // What other regions compute is not followed.
  if (op->getNumRegions() && !isa<func::FuncOp>(op)) {
    depends = true;
    for (Region &region : op->getRegions())
      for (BlockArgument argument : region.getArguments())
        changed |= mark(argument);
  }
  if (depends)
    for (Value result : op->getResults())
      changed |= mark(result);
  return changed;
}
