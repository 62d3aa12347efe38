//===- VerifyIndependence.cpp - moe-verify-independence -------------------===//
//
// A language model is called with pieces of prompts and several sequences at once: its routings may not depend on either.
//
//===----------------------------------------------------------------------===//

#include "RoutingFacts.h"

#include "moe/Dialect/MoE/Transforms/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/SetVector.h"

namespace mlir::moe {
#define GEN_PASS_DEF_VERIFYINDEPENDENCEPASS
#include "moe/Dialect/MoE/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

/// `entry` and the functions that it reaches by calls.
static llvm::SetVector<func::FuncOp> findReached(func::FuncOp entry) {
  llvm::SetVector<func::FuncOp> reached;
  reached.insert(entry);
  for (size_t i = 0; i < reached.size(); ++i) {
    func::FuncOp caller = reached[i];
    caller.walk([&](func::CallOp call) {
      if (auto callee = SymbolTable::lookupNearestSymbolFrom<func::FuncOp>(call, call.getCalleeAttr()))
        reached.insert(callee);
    });
  }
  return reached;
}

static constexpr llvm::StringLiteral kReason =
    "calls of a language model are cut into pieces and hold several sequences; as a function of another name, in a module "
    "without 'moe.language_model', the caller says what a batch is";

/// The state of experts begins anew with every piece, and all sequences of a call share it.
static LogicalResult verify(ExpertsOp experts) {
  if (experts.getState().empty())
    return success();
  InFlightDiagnostic error = experts.emitOpError("expected experts of a language model to have no state");
  error.attachNote() << kReason;
  return failure();
}

static LogicalResult verify(Value routing) {
  RoutingFacts facts = computeRoutingFacts(routing);
  if (facts.independence < Independence::Coupled)
    return success();
  InFlightDiagnostic error = emitError(routing.getLoc())
                             << "expected a routing of a language model to decide each token alone: " << facts.reason;
  error.attachNote() << kReason;
  return failure();
}

namespace {
struct VerifyIndependence : moe::impl::VerifyIndependencePassBase<VerifyIndependence> {
  void runOnOperation() override {
    auto forward = getOperation().lookupSymbol<func::FuncOp>("forward");
    if (!getOperation()->hasAttr(MoEDialect::kLanguageModelAttr) || !forward)
      return;
    WalkResult result = WalkResult::advance();
    for (func::FuncOp function : findReached(forward)) {
      result = function.walk([&](Operation *op) {
        for (Value value : op->getResults())
          if (isa<RoutingType>(value.getType()) && failed(verify(value)))
            return WalkResult::interrupt();
        auto experts = dyn_cast<ExpertsOp>(op);
        return WalkResult(experts ? verify(experts) : success());
      });
      if (result.wasInterrupted())
        return signalPassFailure();
    }
  }
};
} // namespace
