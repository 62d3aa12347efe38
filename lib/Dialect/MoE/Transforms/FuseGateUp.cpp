//===- FuseGateUp.cpp - moe-fuse-gate-up ----------------------------------===//
//
// Elementwise operations on grouped products over the same rows become the epilogue of one product.
//
//===----------------------------------------------------------------------===//

#include "Structure.h"

#include "moe/Dialect/MoE/IR/MoE.h"
#include "moe/Dialect/MoE/Transforms/Missed.h"
#include "moe/Dialect/MoE/Transforms/Passes.h"

#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/SetVector.h"

namespace mlir::moe {
#define GEN_PASS_DEF_FUSEGATEUPPASS
#include "moe/Dialect/MoE/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

static constexpr llvm::StringLiteral kPass = "moe-fuse-gate-up";

namespace {
/// Elementwise operations of one block that end in one root, and what they start from: grouped products, and vectors
/// of the groups.
struct Tree {
  llvm::SetVector<Operation *> operations; // the root first
  llvm::SetVector<Operation *> products;
  llvm::SetVector<Operation *> fills;

  /// Fills in the tree under `root`, or says what stands in the way.
  std::optional<StringRef> collect(linalg::LinalgOp root);
  /// Writes the one product and replaces the root.
  void fuse(RewriterBase &rewriter);
};
} // namespace

/// Whether `op` can be part of an epilogue, which knows no positions.
static bool isEpilogue(Operation *op) {
  auto linalgOp = dyn_cast_or_null<linalg::LinalgOp>(op);
  return linalgOp && linalgOp.hasPureTensorSemantics() && linalgOp.getNumDpsInits() == 1 &&
         linalgOp.getNumParallelLoops() == linalgOp.getNumLoops() &&
         linalgOp.getBlock()->getNumArguments() == op->getNumOperands() && !linalgOp.hasIndexSemantics() &&
         isMemoryEffectFree(op) &&
         llvm::all_of(linalgOp.getIndexingMapsArray(), [](AffineMap map) { return map.isIdentity(); });
}

/// The operands that `op` computes with: its inputs, and what it is written over where it reads that.
static SmallVector<OpOperand *> getRead(linalg::LinalgOp op) {
  SmallVector<OpOperand *> read = op.getDpsInputOperands();
  if (op.payloadUsesValueFromOperand(op.getDpsInitOperand(0)))
    read.push_back(op.getDpsInitOperand(0));
  return read;
}

/// The type of the first bank's elements; the banks of one product have one.
static Type getStorage(GroupedMatmulOp product) {
  return cast<BankType>(product.getBanks()[0].getType()).getData().getElementType();
}

std::optional<StringRef> Tree::collect(linalg::LinalgOp root) {
  operations.insert(root);
  std::optional<StringRef> failure;
  for (unsigned next = 0; next < operations.size(); ++next) {
    for (OpOperand *input : getRead(cast<linalg::LinalgOp>(operations[next]))) {
      Operation *producer = input->get().getDefiningOp();
      if (isa_and_nonnull<GroupedMatmulOp>(producer))
        products.insert(producer);
      else if (isa_and_nonnull<FillGroupsOp>(producer))
        fills.insert(producer);
      else if (isEpilogue(producer) && producer->getBlock() == root->getBlock())
        operations.insert(producer);
      else
        failure = "it also reads a tensor that is no grouped product";
    }
  }
  if (failure)
    return failure;
  if (products.empty())
    return StringRef("it reads no grouped product");
  auto inTree = [&](Operation *user) { return operations.contains(user); };
  auto hasOtherReader = [&](Operation *op) { return !isReadOnlyBy(op->getResult(0), inTree); };
  if (llvm::any_of(ArrayRef(operations.getArrayRef()).drop_front(), hasOtherReader) ||
      llvm::any_of(products, hasOtherReader))
    return StringRef("a product or an intermediate result has another reader");
  auto first = cast<GroupedMatmulOp>(products[0]);
  for (Operation *op : products) {
    auto product = cast<GroupedMatmulOp>(op);
    if (product.getRows() != first.getRows() || product.getIndices() != first.getIndices() ||
        product.getOffsets() != first.getOffsets() || product->getBlock() != root->getBlock())
      return StringRef("its products are over different rows or groups");
    // Kernels load the rows once and all banks in one way.
    if (getStorage(product) != getStorage(first))
      return StringRef("its weights are stored in different types");
    // Rows outside all groups keep the init: it may only change where nobody can rely on it.
    if (!isUndefinedTensor(product.getInit()))
      return StringRef("a product keeps rows of its init");
  }
  for (Operation *op : fills)
    if (cast<FillGroupsOp>(op).getOffsets() != first.getOffsets() || !isUndefinedTensor(cast<FillGroupsOp>(op).getInit()))
      return StringRef("its vectors are of different groups");
  if (root->getResult(0).getType() != first.getResult().getType())
    return StringRef("its result has another type than its products");
  return std::nullopt;
}

/// Adds a copy of `block` without its terminator at the end of the epilogue; gives what the terminator gives. Constants
/// from outside come along, so that an epilogue can be moved as it is.
static Value inlineBody(RewriterBase &rewriter, Block &block, IRMapping &mapping) {
  block.walk([&](Operation *op) {
    for (Value operand : op->getOperands()) {
      Operation *constant = operand.getDefiningOp();
      if (constant && constant->hasTrait<OpTrait::ConstantLike>() && !block.findAncestorOpInBlock(*constant) &&
          !mapping.contains(operand))
        rewriter.clone(*constant, mapping);
    }
  });
  for (Operation &op : block.without_terminator())
    rewriter.clone(op, mapping);
  return mapping.lookupOrDefault(block.getTerminator()->getOperand(0));
}

void Tree::fuse(RewriterBase &rewriter) {
  auto root = cast<linalg::LinalgOp>(operations[0]);
  // In the order of the program, so that the banks are.
  auto inProgramOrder = [](const llvm::SetVector<Operation *> &set) {
    SmallVector<Operation *> sorted(set.getArrayRef());
    llvm::sort(sorted, [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); });
    return sorted;
  };
  SmallVector<Operation *> inOrder = inProgramOrder(operations), leaves = inProgramOrder(products);
  auto first = cast<GroupedMatmulOp>(leaves[0]);
  SmallVector<Location> locations = {root.getLoc()};
  SmallVector<Value> banks, vectors;
  for (Operation *op : leaves) {
    llvm::append_range(banks, cast<GroupedMatmulOp>(op).getBanks());
    llvm::append_range(vectors, cast<GroupedMatmulOp>(op).getVectors());
    locations.push_back(op->getLoc());
  }
  SmallVector<Operation *> biases = inProgramOrder(fills);
  for (Operation *op : biases)
    vectors.push_back(cast<FillGroupsOp>(op).getVectors());
  Location loc = rewriter.getFusedLoc(locations);
  rewriter.setInsertionPoint(root);
  // An operation of the tree may write over another one's result, which goes away.
  Value init = root.getDpsInits()[0];
  while (operations.contains(init.getDefiningOp()) || products.contains(init.getDefiningOp()) ||
         fills.contains(init.getDefiningOp()))
    init = init.getDefiningOp<DestinationStyleOpInterface>().getDpsInits()[0];
  auto fused = GroupedMatmulOp::create(rewriter, loc, init.getType(), first.getRows(), first.getIndices(), banks, vectors,
                                       first.getOffsets(), init);

  OpBuilder::InsertionGuard guard(rewriter);
  Block *epilogue = rewriter.createBlock(&fused.getEpilogue());
  Type element = first.getResult().getType().getElementType();
  llvm::DenseMap<Value, Value> scalars;
  for (unsigned i = 0; i < banks.size() + vectors.size(); ++i)
    epilogue->addArgument(element, loc);
  auto bankArguments = epilogue->getArguments().take_front(banks.size());
  auto vectorArguments = epilogue->getArguments().drop_front(banks.size());
  for (Operation *op : leaves) {
    auto product = cast<GroupedMatmulOp>(op);
    size_t ownBanks = product.getBanks().size(), ownVectors = product.getVectors().size();
    SmallVector<Value> arguments(bankArguments.take_front(ownBanks));
    llvm::append_range(arguments, vectorArguments.take_front(ownVectors));
    bankArguments = bankArguments.drop_front(ownBanks);
    vectorArguments = vectorArguments.drop_front(ownVectors);
    if (!product.hasEpilogue()) {
      scalars[product.getResult()] = arguments[0];
      continue;
    }
    IRMapping mapping;
    Block &body = product.getEpilogue().front();
    mapping.map(body.getArguments(), arguments);
    scalars[product.getResult()] = inlineBody(rewriter, body, mapping);
  }
  for (auto [op, argument] : llvm::zip_equal(biases, vectorArguments))
    scalars[op->getResult(0)] = argument;
  for (Operation *op : inOrder) {
    auto linalgOp = cast<linalg::LinalgOp>(op);
    IRMapping mapping;
    for (OpOperand *input : getRead(linalgOp))
      mapping.map(linalgOp.getMatchingBlockArgument(input), scalars.at(input->get()));
    scalars[op->getResult(0)] = inlineBody(rewriter, *linalgOp.getBlock(), mapping);
  }
  YieldOp::create(rewriter, root.getLoc(), scalars.at(root->getResult(0)));

  auto erase = [&](Operation *op) {
    redirectSizes(rewriter, op->getResult(0), cast<DestinationStyleOpInterface>(op).getDpsInits()[0]);
    rewriter.eraseOp(op);
  };
  rewriter.replaceOp(root, fused.getResult());
  for (Operation *op : llvm::reverse(inOrder))
    if (op != root.getOperation())
      erase(op);
  llvm::for_each(leaves, erase);
  for (Operation *op : biases) {
    Value init = cast<FillGroupsOp>(op).getInit();
    redirectSizes(rewriter, op->getResult(0), init);
    if (isOpTriviallyDead(op))
      rewriter.eraseOp(op);
  }
}

namespace {
struct FuseGateUp : moe::impl::FuseGateUpPassBase<FuseGateUp> {
  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    SmallVector<linalg::LinalgOp> roots;
    getOperation().walk([&](linalg::LinalgOp op) {
      if (isEpilogue(op))
        roots.push_back(op);
    });
    // From the last operation up, so that each tree is as large as it can be.
    llvm::DenseSet<Operation *> done;
    for (linalg::LinalgOp root : llvm::reverse(roots)) {
      if (done.contains(root))
        continue;
      Tree tree;
      std::optional<StringRef> reason = tree.collect(root);
      if (reason) {
        auto isProduct = [](OpOperand *input) {
          return isa_and_nonnull<GroupedMatmulOp>(input->get().getDefiningOp());
        };
        if (llvm::any_of(getRead(root), isProduct))
          reportMissed(root, kPass, *reason);
        continue;
      }
      done.insert_range(tree.operations);
      tree.fuse(rewriter);
      ++fused;
    }
  }
};
} // namespace
