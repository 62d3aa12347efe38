//===- FuseCombine.cpp - moe-fuse-combine ---------------------------------===//
//
// The weighted return to the tokens starts from the tensor that would be added to it: shared experts, residual.
//
//===----------------------------------------------------------------------===//

#include "Structure.h"

#include "moe/Dialect/MoE/IR/Builders.h"
#include "moe/Dialect/MoE/IR/MoE.h"
#include "moe/Dialect/MoE/Transforms/Missed.h"
#include "moe/Dialect/MoE/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"

namespace mlir::moe {
#define GEN_PASS_DEF_FUSECOMBINEPASS
#include "moe/Dialect/MoE/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

static constexpr llvm::StringLiteral kPass = "moe-fuse-combine";

namespace {
/// An operation that adds the result of a combine to something.
struct Addition {
  Operation *op = nullptr;
  /// What is added, if it is a tensor as it stands.
  Value other;
  /// Otherwise: the scalar that is added, and the operand that it is added to, of the linalg operation `op`.
  Value addend;
  OpOperand *sum = nullptr;
};
} // namespace

/// Whether `value`, computed in `block`, needs `argument`.
static bool dependsOn(Value value, BlockArgument argument) {
  SmallVector<Value> pending = {value};
  llvm::DenseSet<Value> seen;
  while (!pending.empty()) {
    Value next = pending.pop_back_val();
    if (next == argument)
      return true;
    Operation *op = next.getDefiningOp();
    if (!seen.insert(next).second || !op || op->getBlock() != argument.getOwner())
      continue;
    // A nested region could use the argument too; additions have none.
    if (op->getNumRegions())
      return true;
    llvm::append_range(pending, op->getOperands());
  }
  return false;
}

/// Matches `combined + something computed from the other operands`, element by element of the result.
static bool matchComputedAddend(Operation *op, Value combined, Addition &addition) {
  auto linalgOp = dyn_cast<linalg::LinalgOp>(op);
  if (!linalgOp || !linalgOp.hasPureTensorSemantics() || linalgOp.getNumDpsInits() != 1 ||
      linalgOp.getNumParallelLoops() != linalgOp.getNumLoops() ||
      linalgOp.getBlock()->getNumArguments() != op->getNumOperands())
    return false;
  for (OpOperand &operand : op->getOpOperands()) {
    if (operand.get() != combined)
      continue;
    if (addition.sum)
      return false;
    addition.sum = &operand;
  }
  if (!linalgOp.getMatchingIndexingMap(addition.sum).isIdentity() ||
      !linalgOp.getMatchingIndexingMap(linalgOp.getDpsInitOperand(0)).isIdentity())
    return false;
  auto add = linalgOp.getBlock()->getTerminator()->getOperand(0).getDefiningOp<arith::AddFOp>();
  BlockArgument argument = linalgOp.getMatchingBlockArgument(addition.sum);
  if (!add || (add.getLhs() == argument) == (add.getRhs() == argument))
    return false;
  addition.addend = add.getLhs() == argument ? add.getRhs() : add.getLhs();
  return !dependsOn(addition.addend, argument);
}

/// The addition of `combine` to something, or why there is none that can be fused.
static std::optional<StringRef> match(CombineOp combine, Addition &addition) {
  if (!isZeroTensor(combine.getInit()))
    return StringRef("it starts from something else than zeros");
  for (Operation *user : combine.getResult().getUsers()) {
    if (isa<tensor::DimOp>(user) || user == addition.op)
      continue;
    if (addition.op)
      return StringRef("its result has several readers");
    addition.op = user;
  }
  StringRef noAddition = "its result is not added to another tensor";
  if (!addition.op)
    return noAddition;
  if (addition.op->getNumResults() != 1 || addition.op->getResult(0).getType() != combine.getType())
    return noAddition;
  Value combined = combine.getResult();
  Value target = combined;
  if (auto linalgOp = dyn_cast<linalg::LinalgOp>(addition.op))
    target = linalgOp.getDpsInits().front();
  if (auto operands = matchAddition(addition.op)) {
    auto [lhs, rhs] = *operands;
    if ((lhs->get() == combined) == (rhs->get() == combined))
      return noAddition;
    addition.other = lhs->get() == combined ? rhs->get() : lhs->get();
  } else if (!matchComputedAddend(addition.op, combined, addition)) {
    return noAddition;
  }
  // The sum lands in the buffer of what is added or in a new one; a third tensor as target would be a copy more.
  if (target != combined && target != addition.other && !isUndefinedTensor(target))
    return StringRef("the sum is written into a third tensor");
  return std::nullopt;
}

/// What `addition` adds, as a tensor: the same operation without its last addition.
/// `like` has the shape of the result.
static Value buildAddend(RewriterBase &rewriter, const Addition &addition, Value like) {
  auto op = cast<linalg::LinalgOp>(addition.op);
  Location loc = op.getLoc();
  SmallVector<Value> inputs;
  SmallVector<AffineMap> maps;
  SmallVector<BlockArgument> arguments;
  for (OpOperand *input : op.getDpsInputOperands()) {
    if (input == addition.sum)
      continue;
    inputs.push_back(input->get());
    maps.push_back(op.getMatchingIndexingMap(input));
    arguments.push_back(op.getMatchingBlockArgument(input));
  }
  maps.push_back(rewriter.getMultiDimIdentityMap(op.getNumLoops()));
  Value init = buildEmptyLike(rewriter, loc, like);
  return linalg::GenericOp::create(rewriter, loc, TypeRange{init.getType()}, inputs, ValueRange{init}, maps,
                                   op.getIteratorTypesArray(),
                                   [&](OpBuilder &b, Location loc, ValueRange values) {
                                     IRMapping mapping;
                                     for (auto [argument, value] : llvm::zip(arguments, values))
                                       mapping.map(argument, value);
                                     Operation *sum = op.getBlock()->getTerminator()->getOperand(0).getDefiningOp();
                                     for (Operation &inner : op.getBlock()->without_terminator())
                                       if (&inner != sum)
                                         b.clone(inner, mapping);
                                     linalg::YieldOp::create(b, loc, mapping.lookupOrDefault(addition.addend));
                                   })
      .getResult(0);
}

namespace {
struct FuseCombine : moe::impl::FuseCombinePassBase<FuseCombine> {
  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    SmallVector<CombineOp> combines;
    getOperation().walk([&](CombineOp combine) { combines.push_back(combine); });
    for (CombineOp combine : combines) {
      Addition addition;
      if (auto reason = match(combine, addition)) {
        reportMissed(combine, kPass, *reason);
        continue;
      }
      // At the place of the addition, where what is added is known too. The order of additions is now
      // other + w[0] * row[0] + w[1] * row[1] + ..., slots ascending: as independent of the batch as before.
      rewriter.setInsertionPoint(addition.op);
      // Sizes are those of the buffer that the zeros were to be written to, which are written no longer.
      Value sized = combine.getInit();
      if (auto fill = sized.getDefiningOp<linalg::FillOp>())
        sized = fill.output();
      redirectSizes(rewriter, combine.getResult(), sized);
      Value start = addition.other ? addition.other : buildAddend(rewriter, addition, sized);
      Location loc = rewriter.getFusedLoc({combine.getLoc(), addition.op->getLoc()});
      auto sum = CombineOp::create(rewriter, loc, combine.getType(), combine.getRows(), combine.getSlots(),
                                   combine.getWeights(), combine.getKind(), start);
      rewriter.replaceOp(addition.op, sum.getResult());
      Operation *zeros = combine.getInit().getDefiningOp();
      rewriter.eraseOp(combine);
      if (isOpTriviallyDead(zeros))
        rewriter.eraseOp(zeros);
      ++fused;
    }
  }
};
} // namespace
