//===- ProductCounts.cpp - How many products are on tensor cores ----------===//
//
// Takes remarks where MLIR streams them to.
//
//===----------------------------------------------------------------------===//

#include "ProductCounts.h"

#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/Remarks.h"

using namespace mlir;

namespace {
struct Listener : remark::detail::MLIRRemarkStreamerBase {
  explicit Listener(ProductCounts &counts) : counts(counts) {}

  void streamOptimizationRemark(const remark::detail::Remark &remark) override {
    if (remark.getRemarkType() == llvm::remarks::Type::Passed)
      return counts.addPassed();
    // The rest of the line says it.
    StringRef reason = remark.getArgs().front().val;
    reason.consume_front("not on tensor cores: ");
    counts.addMissed(reason.str());
  }

  ProductCounts &counts;
};
} // namespace

void ProductCounts::listen(MLIRContext &context) {
  remark::RemarkCategories categories;
  categories.passed = categories.missed = "moe-gpu-call-hopper-products";
  // It fails only where there is an engine already.
  (void)remark::enableOptimizationRemarks(context, std::make_unique<Listener>(*this),
                                          std::make_unique<remark::RemarkEmittingPolicyAll>(), categories);
}

std::string ProductCounts::getLine() const {
  unsigned left = 0;
  std::string reasons;
  for (const auto &[reason, count] : missed) {
    left += count;
    reasons += (reasons.empty() ? ": " : ", ") + reason + " (" + std::to_string(count) + ")";
  }
  std::string line = std::to_string(passed) + " of " + std::to_string(passed + left) +
                     " products of 16-bit weights are on tensor cores";
  return left ? line + "; " + std::to_string(left) + " in f32" + reasons : line;
}
