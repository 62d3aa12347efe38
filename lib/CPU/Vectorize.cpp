//===- Vectorize.cpp - linalg on buffers to vector loops
//-------------------===//
//
// The pass: finds linalg ops with buffer operands and replaces each by the
// loops that its plan describes (VectorizeKernel.cpp, VectorizeLoops.cpp).
//
//===----------------------------------------------------------------------===//

#include "VectorizeKernel.h"
#include "moe/CPU/Passes.h"
#include "moe/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

namespace mlir::moe {
#define GEN_PASS_DEF_VECTORIZEPASS
#include "moe/CPU/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe::vectorize;

/// Loops inside a parallel loop stay serial, also where it is OpenMP already.
static bool isInsideParallel(Operation *op) {
  for (Operation *parent = op->getParentOp(); parent;
       parent = parent->getParentOp())
    if (parent->hasTrait<OpTrait::HasParallelRegion>())
      return true;
  return false;
}

/// Three quarters of the vector registers: the rest holds what is multiplied.
static int64_t chooseAccumulators(func::FuncOp function) {
  auto module = function->getParentOfType<ModuleOp>();
  auto target = module ? module->getAttrOfType<moe::CPUTargetAttr>(
                             moe::MoEDialect::kTargetAttr)
                       : moe::CPUTargetAttr();
  return target && target.getVectorBits() >= 512 ? 24 : 6;
}

namespace {
struct VectorizePass
    : public mlir::moe::impl::VectorizePassBase<VectorizePass> {
  using VectorizePassBase::VectorizePassBase;

  void runOnOperation() override {
    SmallVector<linalg::LinalgOp> ops;
    getOperation().walk([&](linalg::LinalgOp op) {
      if (op.hasPureBufferSemantics())
        ops.push_back(op);
    });
    int64_t budget = accumulators ? int64_t(accumulators)
                                  : chooseAccumulators(getOperation());
    IRRewriter rewriter(&getContext());
    for (linalg::LinalgOp op : ops) {
      auto generic = dyn_cast<linalg::GenericOp>(op.getOperation());
      if (!generic) {
        rewriter.setInsertionPoint(op);
        FailureOr<linalg::GenericOp> general =
            linalg::generalizeNamedOp(rewriter, op);
        if (failed(general)) {
          op.emitOpError("expected an op with a linalg.generic form");
          return signalPassFailure();
        }
        generic = *general;
      }
      Kernel kernel(generic);
      emitKernel(rewriter, kernel, makePlan(kernel, budget),
                 parallel && !isInsideParallel(generic));
      generic.erase();
    }
  }
};
} // namespace
