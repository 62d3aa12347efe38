//===- ExplainRouting.cpp - moe-explain-routing ---------------------------===//
//
// Says in plain words, for every routing, who decides it and from what.
//
//===----------------------------------------------------------------------===//

#include "RoutingFacts.h"

#include "moe/Dialect/MoE/Transforms/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace mlir::moe {
#define GEN_PASS_DEF_EXPLAINROUTINGPASS
#include "moe/Dialect/MoE/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

static StringRef describe(Independence independence) {
  switch (independence) {
  case Independence::Alone:
    return "each is decided alone";
  case Independence::Given:
    return "each is given from outside";
  case Independence::Local:
    return "each is decided alone from rows of its own";
  case Independence::Coupled:
    return "they depend on one another";
  case Independence::Unknown:
    return "whether they depend on one another is unknown";
  }
  llvm_unreachable("all cases are listed");
}

/// One decision stands for this.
static std::string describeScope(RoutingType type) {
  return ("one decision per " + stringifyScope(type.getScope()) + ", " + Twine(type.getExperts()) + " experts").str();
}

/// The sentences about one routing.
static std::string explain(Value routing) {
  auto type = cast<RoutingType>(routing.getType());
  RoutingFacts facts = computeRoutingFacts(routing);
  std::string text;
  llvm::raw_string_ostream out(text);
  out << "routing: " << describeScope(type) << "; " << describe(facts.independence) << " (" << facts.reason << "); at most "
      << type.getSlots() << (type.getSlots() == 1 ? " slot, " : " slots, ")
      << (facts.mayBeEmpty ? "some may be empty" : "none empty");
  if (!facts.decision)
    return text;
  SelectionPolicyAttrInterface policy = facts.decision.getPolicy();
  out << "; gets " << policy.describe();
  if (!policy.whenNothingQualifies().empty())
    out << "; if none qualifies " << policy.whenNothingQualifies();
  out << "; " << policy.describeTies();
  return text;
}

namespace {
struct ExplainRouting : moe::impl::ExplainRoutingPassBase<ExplainRouting> {
  void runOnOperation() override {
    auto remark = [&](Location loc, Value routing) {
      emitRemark(loc) << explain(routing);
      ++explained;
    };
    getOperation().walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (auto function = dyn_cast<func::FuncOp>(op))
        for (Value argument : function.getArguments())
          if (isa<RoutingType>(argument.getType()))
            remark(argument.getLoc(), argument);
      for (Value result : op->getResults())
        if (isa<RoutingType>(result.getType()))
          remark(op->getLoc(), result);
    });
    markAllAnalysesPreserved();
  }
};
} // namespace
