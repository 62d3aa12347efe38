//===- HostBound.cpp - Bounds that the host knows -------------------------===//
//
// Follows the definition of an index through monotone operations.
//
//===----------------------------------------------------------------------===//

#include "HostBound.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace mlir::moe;

/// The loop that `value` counts and its first and last bound, or nothing.
static std::optional<std::pair<Value, Value>> getLoopBounds(Value value) {
  auto argument = dyn_cast<BlockArgument>(value);
  if (!argument)
    return std::nullopt;
  Operation *parent = argument.getOwner()->getParentOp();
  unsigned number = argument.getArgNumber();
  if (auto loop = dyn_cast<scf::ParallelOp>(parent); loop && number < loop.getNumLoops())
    return std::pair(loop.getLowerBound()[number], loop.getUpperBound()[number]);
  if (auto loop = dyn_cast<scf::ForOp>(parent); loop && number == 0)
    return std::pair(loop.getLowerBound(), loop.getUpperBound());
  return std::nullopt;
}

static bool isNonNegative(Value value) {
  if (std::optional<int64_t> constant = getConstantIntValue(value))
    return *constant >= 0;
  if (auto bounds = getLoopBounds(value))
    return isNonNegative(bounds->first);
  Operation *op = value.getDefiningOp();
  if (!op)
    return false;
  if (isa<memref::DimOp>(op))
    return true;
  if (isa<arith::MaxSIOp>(op))
    return llvm::any_of(op->getOperands(), isNonNegative);
  return isa<arith::AddIOp, arith::MulIOp, arith::MinSIOp, arith::DivUIOp, arith::RemUIOp>(op) &&
         llvm::all_of(op->getOperands(), isNonNegative);
}

Value HostBound::buildExact(OpBuilder &builder, Value value) {
  if (value.getParentRegion()->isAncestor(anchor->getParentRegion()) && values.isKnown(value))
    return value;
  Operation *op = value.getDefiningOp();
  if (!op || !isPure(op) || op->getNumRegions())
    return {};
  IRMapping mapping;
  for (Value operand : op->getOperands()) {
    Value exact = buildExact(builder, operand);
    if (!exact)
      return {};
    mapping.map(operand, exact);
  }
  return builder.clone(*op, mapping)->getResult(cast<OpResult>(value).getResultNumber());
}

Value HostBound::build(OpBuilder &builder, Value value) {
  if (Value exact = buildExact(builder, value))
    return exact;
  if (auto bounds = getLoopBounds(value))
    return build(builder, bounds->second);
  Operation *op = value.getDefiningOp();
  return op ? buildOfOperation(builder, op, value) : Value();
}

Value HostBound::buildOfOperation(OpBuilder &builder, Operation *op, Value value) {
  Location loc = op->getLoc();
  SmallVector<Value, 3> bounds;
  auto buildBoth = [&](unsigned first) {
    for (Value operand : op->getOperands().slice(first, 2))
      bounds.push_back(build(builder, operand));
    return bounds[0] && bounds[1];
  };
  if (isa<arith::MinSIOp>(op)) {
    if (buildBoth(0))
      return arith::MinSIOp::create(builder, loc, bounds[0], bounds[1]);
    return bounds[0] ? bounds[0] : bounds[1];
  }
  if (isa<arith::MaxSIOp>(op))
    return buildBoth(0) ? arith::MaxSIOp::create(builder, loc, bounds[0], bounds[1]).getResult() : Value();
  if (isa<arith::SelectOp>(op))
    return buildBoth(1) ? arith::MaxSIOp::create(builder, loc, bounds[0], bounds[1]).getResult() : Value();
  if (isa<arith::AddIOp>(op))
    return buildBoth(0) ? arith::AddIOp::create(builder, loc, bounds[0], bounds[1]).getResult() : Value();
  if (isa<arith::MulIOp>(op) && llvm::all_of(op->getOperands(), isNonNegative))
    return buildBoth(0) ? arith::MulIOp::create(builder, loc, bounds[0], bounds[1]).getResult() : Value();
  if (isa<arith::SubIOp>(op) && isNonNegative(op->getOperand(1)))
    return build(builder, op->getOperand(0));
  if (isa<arith::DivUIOp>(op) && isNonNegative(op->getOperand(0)))
    return build(builder, op->getOperand(0));
  if (isa<arith::RemUIOp>(op) && isNonNegative(op->getOperand(1)))
    return build(builder, op->getOperand(1));
  if (auto dim = dyn_cast<memref::DimOp>(op))
    if (auto view = dim.getSource().getDefiningOp<memref::SubViewOp>(); view && dim.getConstantIndex()) {
      auto dropped = view.getDroppedDims();
      unsigned left = *dim.getConstantIndex(), source = 0;
      for (;; ++source)
        if (!dropped.test(source) && left-- == 0)
          break;
      OpFoldResult size = view.getMixedSizes()[source];
      if (auto dynamic = dyn_cast<Value>(size))
        return build(builder, dynamic);
    }
  return {};
}
