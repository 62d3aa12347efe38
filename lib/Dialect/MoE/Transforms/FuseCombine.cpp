//===- FuseCombine.cpp - moe-fuse-combine ---------------------------------===//
//
// The weighted return to the tokens starts from the tensor that would be added to it: shared experts, residual.
//
//===----------------------------------------------------------------------===//

#include "Missed.h"
#include "Structure.h"

#include "moe/Dialect/MoE/IR/MoE.h"
#include "moe/Dialect/MoE/Transforms/Passes.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace mlir::moe {
#define GEN_PASS_DEF_FUSECOMBINEPASS
#include "moe/Dialect/MoE/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

static constexpr llvm::StringLiteral kPass = "moe-fuse-combine";

/// The addition of `combine` to another tensor, and that tensor; or why there is none that can be fused.
static std::optional<StringRef> match(CombineOp combine, Operation *&addition, Value &other) {
  if (!isZeroTensor(combine.getInit()))
    return StringRef("it starts from something else than zeros");
  addition = nullptr;
  for (Operation *user : combine.getResult().getUsers()) {
    if (isa<tensor::DimOp>(user) || user == addition)
      continue;
    if (addition)
      return StringRef("its result has several readers");
    addition = user;
  }
  auto operands = addition ? matchAddition(addition) : std::nullopt;
  if (!operands)
    return StringRef("its result is not added to another tensor");
  auto [lhs, rhs] = *operands;
  if ((lhs->get() == combine.getResult()) == (rhs->get() == combine.getResult()))
    return StringRef("its result is not added to another tensor");
  other = lhs->get() == combine.getResult() ? rhs->get() : lhs->get();
  if (addition->getResult(0).getType() != combine.getType() || other.getType() != combine.getType())
    return StringRef("it is added to a tensor of another type");
  // The sum lands in the other tensor's buffer, or in a new one; a third tensor as target would be a copy more.
  if (auto linalgOp = dyn_cast<linalg::LinalgOp>(addition)) {
    Value target = linalgOp.getDpsInits()[0];
    if (target != other && !isUndefinedTensor(target))
      return StringRef("the sum is written into a third tensor");
  }
  return std::nullopt;
}

namespace {
struct FuseCombine : moe::impl::FuseCombinePassBase<FuseCombine> {
  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    SmallVector<CombineOp> combines;
    getOperation().walk([&](CombineOp combine) { combines.push_back(combine); });
    for (CombineOp combine : combines) {
      Operation *addition;
      Value other;
      if (auto reason = match(combine, addition, other)) {
        reportMissed(combine, kPass, *reason);
        continue;
      }
      // At the place of the addition, where the other tensor is known too. The order of additions is now
      // other + w[0] * row[0] + w[1] * row[1] + ..., slots ascending: as independent of the batch as before.
      rewriter.setInsertionPoint(addition);
      Location loc = rewriter.getFusedLoc({combine.getLoc(), addition->getLoc()});
      auto sum = CombineOp::create(rewriter, loc, combine.getType(), combine.getRows(), combine.getSlots(),
                                   combine.getWeights(), combine.getKind(), other);
      rewriter.replaceOp(addition, sum.getResult());
      redirectSizes(rewriter, combine.getResult(), combine.getInit());
      rewriter.eraseOp(combine);
      ++fused;
    }
  }
};
} // namespace
