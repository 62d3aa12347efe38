//===- ExpandCopy.cpp - memref.copy as linalg -----------------------------===//
//
// Rewrites memref.copy for the vectoriser and drops copies of a buffer onto
// itself, which bufferisation of parallel loops leaves behind.
//
//===----------------------------------------------------------------------===//

#include "moe/CPU/Passes.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Linalg/Utils/Utils.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

namespace mlir::moe {
#define GEN_PASS_DEF_EXPANDCOPYPASS
#include "moe/CPU/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;

/// The same buffer under two names: equal values, or subviews of the same
/// source at the same place.
static bool isSameBuffer(Value a, Value b) {
  if (a == b)
    return true;
  auto viewA = a.getDefiningOp<memref::SubViewOp>();
  auto viewB = b.getDefiningOp<memref::SubViewOp>();
  if (!viewA || !viewB)
    return false;
  return viewA.getType() == viewB.getType() &&
         viewA.getMixedOffsets() == viewB.getMixedOffsets() &&
         viewA.getMixedSizes() == viewB.getMixedSizes() &&
         viewA.getMixedStrides() == viewB.getMixedStrides() &&
         viewA.getSource() == viewB.getSource();
}

namespace {
struct ExpandCopyPass
    : public mlir::moe::impl::ExpandCopyPassBase<ExpandCopyPass> {
  void runOnOperation() override {
    SmallVector<memref::CopyOp> copies;
    getOperation().walk([&](memref::CopyOp copy) { copies.push_back(copy); });
    for (memref::CopyOp copy : copies) {
      Value source = copy.getSource(), target = copy.getTarget();
      // Without a rank there are no loops to write: such a copy stays.
      if (!isa<MemRefType>(source.getType()) ||
          !isa<MemRefType>(target.getType()))
        continue;
      if (!isSameBuffer(source, target)) {
        OpBuilder builder(copy);
        linalg::makeMemRefCopyOp(builder, copy.getLoc(), source, target);
      }
      copy.erase();
    }
  }
};
} // namespace
