//===- SingleThreads.cpp - Work between kernels on the device -------------===//
//
// Implements moe-gpu-single-threads: what touches memory outside of kernels becomes kernels of one iteration.
//
//===----------------------------------------------------------------------===//

#include "HostValues.h"
#include "moe/GPU/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/ADT/SetVector.h"

namespace mlir::moe {
#define GEN_PASS_DEF_SINGLETHREADSPASS
#include "moe/GPU/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

static bool contains(Operation *op, llvm::function_ref<bool(Operation *)> predicate) {
  return op->walk([&](Operation *inner) { return predicate(inner) ? WalkResult::interrupt() : WalkResult::advance(); })
      .wasInterrupted();
}

namespace {
/// Works through the blocks that the host runs.
class HostCode {
public:
  explicit HostCode(func::FuncOp function) : values(function) {}

  LogicalResult visit(Block &block);

private:
  enum class Place { Host, HostBlock, Thread };
  Place choose(Operation *op);
  bool isKnown(ValueRange operands) {
    return llvm::all_of(operands, [&](Value value) { return values.isKnown(value); });
  }
  LogicalResult flush();

  HostValues values;
  SmallVector<Operation *> group; ///< neighbours that one thread will run
};
} // namespace

/// Who runs `op`: the host, as it is or after its blocks were worked through, or one thread of the device.
HostCode::Place HostCode::choose(Operation *op) {
  if (isa<scf::ParallelOp>(op))
    return isKnown(op->getOperands().take_front(3 * cast<scf::ParallelOp>(op).getNumLoops())) ? Place::Host
                                                                                             : Place::Thread;
  if (op->getNumRegions() == 0)
    return touchesMemory(op) ? Place::Thread : Place::Host;
  if (!contains(op, touchesMemory))
    return Place::Host;
  // Kernels in it are worth launching from the host if it knows when.
  bool launches = contains(op, llvm::IsaPred<scf::ParallelOp, func::CallOp>);
  if (auto loop = dyn_cast<scf::ForOp>(op))
    return launches && isKnown(op->getOperands().take_front(3)) && isKnown(loop.getRegionIterArgs()) ? Place::HostBlock
                                                                                                 : Place::Thread;
  if (auto branch = dyn_cast<scf::IfOp>(op))
    return launches && isKnown(branch.getCondition()) && isKnown(branch.getResults()) ? Place::HostBlock
                                                                                      : Place::Thread;
  return Place::Thread;
}

LogicalResult HostCode::visit(Block &block) {
  for (Operation &op : llvm::make_early_inc_range(block)) {
    Place place = choose(&op);
    if (place == Place::Thread) {
      if (contains(&op, llvm::IsaPred<func::CallOp>))
        return op.emitError("expected no call inside loops and branches that depend on the device's memory: the host "
                            "launches the kernels of functions");
      group.push_back(&op);
      continue;
    }
    // Buffers and numbers that do not depend on the group may stand among it.
    bool independent = isPure(&op) || isa<memref::AllocOp>(op);
    bool uses = llvm::any_of(op.getOperands(), [&](Value operand) {
      return llvm::is_contained(group, operand.getDefiningOp());
    });
    if ((!independent || uses) && failed(flush()))
      return failure();
    if (place == Place::HostBlock)
      for (Region &region : op.getRegions())
        for (Block &inner : region)
          if (failed(visit(inner)))
            return failure();
  }
  return flush();
}

/// Numbers that outlive the thread, each with a buffer of one element; loaded again behind it.
static LogicalResult passResults(OpBuilder &builder, ArrayRef<Operation *> group, scf::ParallelOp kernel) {
  Location loc = kernel.getLoc();
  OpBuilder before(kernel);
  builder.setInsertionPoint(kernel.getBody()->getTerminator());
  OpBuilder after(kernel->getContext());
  after.setInsertionPointAfter(kernel);
  for (Operation *op : group) {
    for (Value result : op->getResults()) {
      auto isOutside = [&](OpOperand &use) { return !kernel->isAncestor(use.getOwner()); };
      if (llvm::none_of(result.getUses(), isOutside))
        continue;
      if (!MemRefType::isValidElementType(result.getType()) || isa<BaseMemRefType>(result.getType()))
        return op->emitError("expected what depends on the device's memory to give numbers, got ") << result.getType();
      Value buffer = memref::AllocOp::create(before, loc, MemRefType::get({}, result.getType()));
      memref::StoreOp::create(builder, loc, result, buffer, ValueRange());
      Value loaded = memref::LoadOp::create(after, loc, buffer, ValueRange());
      result.replaceUsesWithIf(loaded, isOutside);
    }
  }
  return success();
}

/// Makes one kernel of the group, where its last operation stands.
LogicalResult HostCode::flush() {
  if (group.empty())
    return success();
  SmallVector<Operation *> members = std::exchange(group, {});
  OpBuilder builder(members.back());
  Location loc = members.back()->getLoc();
  Value zero = arith::ConstantIndexOp::create(builder, loc, 0), one = arith::ConstantIndexOp::create(builder, loc, 1);
  auto kernel = scf::ParallelOp::create(builder, loc, ValueRange(zero), ValueRange(one), ValueRange(one));
  for (Operation *op : members)
    op->moveBefore(kernel.getBody()->getTerminator());
  return passResults(builder, members, kernel);
}

/// Constants that leave the function: copied by a kernel, since the host's own are not in the device's memory.
static void copyConstant(memref::GetGlobalOp constant) {
  SmallVector<Operation *> users;
  SmallVector<Value> views{constant};
  while (!views.empty())
    for (Operation *user : views.pop_back_val().getUsers()) {
      if (isa<func::CallOp, func::ReturnOp>(user))
        users.push_back(user);
      for (Value result : user->getResults())
        if (isa<BaseMemRefType>(result.getType()) && isPure(user))
          views.push_back(result);
    }
  if (users.empty())
    return;
  OpBuilder builder(constant->getContext());
  builder.setInsertionPointAfter(constant);
  Location loc = constant.getLoc();
  MemRefType type = constant.getType();
  Value buffer = memref::AllocOp::create(builder, loc, type);
  constant.getResult().replaceAllUsesWith(buffer);
  auto index = [&](int64_t value) -> Value { return arith::ConstantIndexOp::create(builder, loc, value); };
  SmallVector<Value> lower, upper, steps;
  // A single number is a kernel of one iteration, too.
  SmallVector<int64_t> extents(type.getShape());
  if (extents.empty())
    extents.push_back(1);
  for (int64_t extent : extents) {
    lower.push_back(index(0));
    upper.push_back(index(extent));
    steps.push_back(index(1));
  }
  auto kernel = scf::ParallelOp::create(builder, loc, lower, upper, steps);
  builder.setInsertionPointToStart(kernel.getBody());
  SmallVector<Value> place = type.getRank() ? kernel.getInductionVars() : SmallVector<Value>();
  Value element = memref::LoadOp::create(builder, loc, constant, place);
  memref::StoreOp::create(builder, loc, element, buffer, place);
}

namespace {
struct SingleThreadsPass : moe::impl::SingleThreadsPassBase<SingleThreadsPass> {
  void runOnOperation() override {
    func::FuncOp function = getOperation();
    if (function.isExternal())
      return;
    SmallVector<memref::GetGlobalOp> constants;
    function.walk([&](memref::GetGlobalOp op) { constants.push_back(op); });
    for (memref::GetGlobalOp constant : constants)
      copyConstant(constant);
    if (failed(HostCode(function).visit(function.front())))
      signalPassFailure();
  }
};
} // namespace
