//===- Workspace.cpp - Give memory back -----------------------------------===//
//
// Implements moe-cpu-workspace: allocations are undone at the end of functions and of serial loop bodies.
//
//===----------------------------------------------------------------------===//

#include "RuntimeFunctions.h"
#include "moe/CPU/Lowering/Passes.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Interfaces/ViewLikeInterface.h"

namespace mlir::moe {
#define GEN_PASS_DEF_WORKSPACEPASS
#include "moe/CPU/Lowering/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

/// Whether `value` certainly lies in memory that existed before `region` was entered.
static bool isFromOutside(Value value, Region &region) {
  if (!isa<BaseMemRefType>(value.getType()))
    return true;
  while (region.isAncestor(value.getParentRegion())) {
    // Arguments of functions come from outside; loop-carried buffers may have been allocated in an iteration.
    if (auto argument = dyn_cast<BlockArgument>(value))
      return isa<func::FuncOp>(argument.getOwner()->getParentOp());
    Operation *op = value.getDefiningOp();
    auto view = dyn_cast<ViewLikeOpInterface>(op);
    if (!view)
      return isa<memref::GetGlobalOp>(op);
    value = view.getViewSource();
  }
  return true;
}

/// Whether executing the block allocates: an allocation, or the call of a function that may leave some behind.
static bool allocates(Block &block) {
  return block
      .walk([](Operation *op) {
        if (isa<memref::AllocOp>(op))
          return WalkResult::interrupt();
        if (auto call = dyn_cast<func::CallOp>(op))
          if (llvm::any_of(call.getResultTypes(), llvm::IsaPred<BaseMemRefType>))
            return WalkResult::interrupt();
        return WalkResult::advance();
      })
      .wasInterrupted();
}

static void bracket(Region &region, SymbolTable &symbols) {
  if (!region.hasOneBlock() || !allocates(region.front()))
    return;
  Operation *terminator = region.front().getTerminator();
  if (!llvm::all_of(terminator->getOperands(), [&](Value value) { return isFromOutside(value, region); }))
    return;
  OpBuilder builder = OpBuilder::atBlockBegin(&region.front());
  Location loc = region.getParentOp()->getLoc();
  auto mark = callRuntime(builder, loc, symbols, "moe_workspace_mark", builder.getI64Type(), {});
  builder.setInsertionPoint(terminator);
  callRuntime(builder, loc, symbols, "moe_workspace_release", {}, mark.getResults());
}

static void bracketFunction(func::FuncOp function, SymbolTable &symbols) {
  SmallVector<Region *> regions;
  // The allocator serves one thread, so nothing inside parallel loops calls it.
  function.walk<WalkOrder::PreOrder>([&](Operation *op) {
    if (isa<scf::ParallelOp, scf::ForallOp>(op))
      return WalkResult::skip();
    if (auto loop = dyn_cast<scf::ForOp>(op))
      regions.push_back(&loop.getRegion());
    return WalkResult::advance();
  });
  for (Region *region : regions)
    bracket(*region, symbols);
  bracket(function.getBody(), symbols);
}

namespace {
struct WorkspacePass : moe::impl::WorkspacePassBase<WorkspacePass> {
  void runOnOperation() override {
    SymbolTable symbols(getOperation());
    for (auto function : llvm::make_early_inc_range(getOperation().getOps<func::FuncOp>()))
      if (!function.isExternal())
        bracketFunction(function, symbols);
  }
};
} // namespace
