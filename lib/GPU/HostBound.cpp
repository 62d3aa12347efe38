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

/// The size that a view was cut with where `op` asks for it, if it is dynamic; else null.
static Value getViewSize(Operation *op) {
  auto dim = dyn_cast<memref::DimOp>(op);
  auto view = dim ? dim.getSource().getDefiningOp<memref::SubViewOp>() : memref::SubViewOp();
  if (!view || !dim.getConstantIndex())
    return {};
  llvm::SmallBitVector dropped = view.getDroppedDims();
  unsigned left = *dim.getConstantIndex();
  for (auto [source, size] : llvm::enumerate(view.getMixedSizes()))
    if (!dropped.test(source) && left-- == 0)
      return dyn_cast<Value>(size);
  return {};
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
  return op ? buildOfOperation(builder, op) : Value();
}

Value HostBound::buildOfOperation(OpBuilder &builder, Operation *op) {
  Location loc = op->getLoc();
  Value first, second;
  auto buildBoth = [&](unsigned operand) {
    first = build(builder, op->getOperand(operand));
    second = build(builder, op->getOperand(operand + 1));
    return first && second;
  };
  if (isa<arith::MinSIOp>(op)) {
    if (buildBoth(0))
      return arith::MinSIOp::create(builder, loc, first, second);
    return first ? first : second;
  }
  if (isa<arith::MaxSIOp>(op))
    return buildBoth(0) ? arith::MaxSIOp::create(builder, loc, first, second).getResult() : Value();
  if (isa<arith::SelectOp>(op))
    return buildBoth(1) ? arith::MaxSIOp::create(builder, loc, first, second).getResult() : Value();
  if (isa<arith::AddIOp>(op))
    return buildBoth(0) ? arith::AddIOp::create(builder, loc, first, second).getResult() : Value();
  if (isa<arith::MulIOp>(op) && llvm::all_of(op->getOperands(), isNonNegative))
    return buildBoth(0) ? arith::MulIOp::create(builder, loc, first, second).getResult() : Value();
  if (isa<arith::SubIOp>(op) && isNonNegative(op->getOperand(1)))
    return build(builder, op->getOperand(0));
  if (isa<arith::DivUIOp>(op) && isNonNegative(op->getOperand(0)))
    return build(builder, op->getOperand(0));
  if (isa<arith::RemUIOp>(op) && isNonNegative(op->getOperand(1)))
    return build(builder, op->getOperand(1));
  if (Value size = getViewSize(op))
    return build(builder, size);
  return {};
}
