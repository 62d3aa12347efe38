//===- SerializeNestedLoops.cpp - One level of parallelism ----------------===//
//
// Implements moe-cpu-serialize-nested-loops: parallel loops inside parallel loops become scf.for.
//
//===----------------------------------------------------------------------===//

#include "moe/CPU/Lowering/Passes.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/PatternMatch.h"

namespace mlir::moe {
#define GEN_PASS_DEF_SERIALIZENESTEDLOOPSPASS
#include "moe/CPU/Lowering/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;

/// Loops over the same iterations in ascending order. The loop has no reductions.
static void serialize(RewriterBase &rewriter, scf::ParallelOp loop) {
  rewriter.setInsertionPoint(loop);
  SmallVector<Value> indices;
  for (auto [lower, upper, step] : llvm::zip_equal(loop.getLowerBound(), loop.getUpperBound(), loop.getStep())) {
    auto serial = scf::ForOp::create(rewriter, loop.getLoc(), lower, upper, step);
    serial->setDiscardableAttrs(loop->getDiscardableAttrDictionary());
    indices.push_back(serial.getInductionVar());
    rewriter.setInsertionPointToStart(serial.getBody());
  }
  Operation *terminator = loop.getBody()->getTerminator();
  rewriter.eraseOp(terminator);
  Block *target = rewriter.getInsertionBlock();
  rewriter.inlineBlockBefore(loop.getBody(), target->getTerminator(), indices);
  rewriter.eraseOp(loop);
}

namespace {
struct SerializeNestedLoopsPass : moe::impl::SerializeNestedLoopsPassBase<SerializeNestedLoopsPass> {
  using SerializeNestedLoopsPassBase::SerializeNestedLoopsPassBase;

  void runOnOperation() override {
    SmallVector<scf::ParallelOp> loops;
    getOperation().walk([&](scf::ParallelOp loop) {
      if (loop.getInitVals().empty() && (all || loop->getParentOfType<scf::ParallelOp>()))
        loops.push_back(loop);
    });
    IRRewriter rewriter(&getContext());
    for (scf::ParallelOp loop : loops)
      serialize(rewriter, loop);
  }
};
} // namespace
