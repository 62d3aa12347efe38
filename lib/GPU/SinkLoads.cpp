//===- SinkLoads.cpp - Numbers from memory, read where they are used ------===//
//
// Implements moe-gpu-sink-loads: loads and what depends on them move from the host into kernels.
//
//===----------------------------------------------------------------------===//

#include "HostValues.h"
#include "moe/GPU/Passes.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Transforms/RegionUtils.h"
#include "llvm/ADT/SetVector.h"

namespace mlir::moe {
#define GEN_PASS_DEF_SINKLOADSPASS
#include "moe/GPU/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

/// The values that `kernel` takes from the host, not counting those that its launch is made from.
static SetVector<Value> getCaptured(scf::ParallelOp kernel) {
  SetVector<Value> captured;
  getUsedValuesDefinedAbove(kernel.getRegion(), captured);
  return captured;
}

/// Clones the definition of what `kernel` captures and the host does not know into it, until nothing is left.
static void sinkInto(scf::ParallelOp kernel, const HostValues &values) {
  bool changed = true;
  while (changed) {
    changed = false;
    for (Value value : getCaptured(kernel)) {
      Operation *definition = value.getDefiningOp();
      if (values.isKnown(value) || !definition || definition->getNumRegions())
        continue;
      OpBuilder builder = OpBuilder::atBlockBegin(kernel.getBody());
      Operation *own = builder.clone(*definition);
      for (auto [old, replacement] : llvm::zip_equal(definition->getResults(), own->getResults()))
        replaceAllUsesInRegionWith(old, replacement, kernel.getRegion());
      changed = true;
    }
  }
}

/// Removes the writes to buffers that nobody reads.
static void eraseUnread(memref::AllocOp alloc) {
  if (!llvm::all_of(alloc->getUsers(), llvm::IsaPred<memref::StoreOp>) ||
      llvm::any_of(alloc->getUsers(), [&](Operation *user) { return user->getOperand(0) == alloc.getResult(); }))
    return;
  for (Operation *user : llvm::make_early_inc_range(alloc->getUsers()))
    user->erase();
}

/// Removes what only sunk code needed.
static void eraseDead(func::FuncOp function) {
  bool changed = true;
  while (changed) {
    changed = false;
    SmallVector<memref::AllocOp> allocs;
    function.walk([&](memref::AllocOp alloc) { allocs.push_back(alloc); });
    llvm::for_each(allocs, eraseUnread);
    function.walk([&](Operation *op) {
      if (!isOpTriviallyDead(op))
        return;
      op->erase();
      changed = true;
    });
  }
}

namespace {
struct SinkLoadsPass : moe::impl::SinkLoadsPassBase<SinkLoadsPass> {
  void runOnOperation() override {
    func::FuncOp function = getOperation();
    if (function.isExternal())
      return;
    HostValues values(function);
    for (scf::ParallelOp kernel : getKernels(function))
      sinkInto(kernel, values);
    eraseDead(function);
    WalkResult walk = function.walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (isa<scf::ParallelOp>(op))
        return WalkResult::skip();
      if (!touchesMemory(op))
        return WalkResult::advance();
      auto diagnostic = op->emitError("expected the host to need no number from the device's memory: sizes, launches "
                                      "and operands of calls depend on what it knows");
      for (Operation *user : op->getUsers())
        diagnostic.attachNote(user->getLoc()) << "it is needed here";
      return WalkResult::interrupt();
    });
    if (walk.wasInterrupted())
      signalPassFailure();
  }
};
} // namespace
