//===- ConvertElementwise.cpp - moe-convert-elementwise -------------------===//
//
// Arithmetic on whole tensors becomes linalg, a chain of it one operation: each would be a loop over all elements,
// and the analysis that finds buffers takes time with the cube of what may share one.
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/MoE/Transforms/Passes.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/SetVector.h"

namespace mlir::moe {
#define GEN_PASS_DEF_CONVERTELEMENTWISEPASS
#include "moe/Dialect/MoE/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;

/// More than this would not stay in registers.
static constexpr size_t kMaxOps = 32;
static constexpr size_t kMaxInputs = 8;

static bool isTensor(Value value) { return isa<RankedTensorType>(value.getType()); }

static bool isElementwise(Operation *op) {
  return OpTrait::hasElementwiseMappableTraits(op) && op->getNumResults() == 1 && isTensor(op->getResult(0)) &&
         llvm::any_of(op->getOperands(), isTensor);
}

namespace {
/// Operations that become one, the last first, and the tensors that they read.
struct Chain {
  SmallVector<Operation *> ops;
  llvm::SetVector<Value> inputs;

  Value getResult() const { return ops.front()->getResult(0); }
  ArrayRef<int64_t> getShape() const { return cast<RankedTensorType>(getResult().getType()).getShape(); }
  /// Takes up an operation whose result, if it is not the first, only the chain reads.
  bool add(Operation *op);
};

struct ConvertElementwisePass : moe::impl::ConvertElementwisePassBase<ConvertElementwisePass> {
  void runOnOperation() override {
    SmallVector<Block *> blocks;
    getOperation().walk([&](Block *block) { blocks.push_back(block); });
    for (Block *block : blocks)
      convert(*block);
  }

  static void convert(Block &block);
};
} // namespace

bool Chain::add(Operation *op) {
  llvm::SetVector<Value> together = inputs;
  together.remove(op->getResult(0));
  for (Value operand : op->getOperands())
    if (isTensor(operand))
      together.insert(operand);
  if (!ops.empty() && (ops.size() == kMaxOps || together.size() > kMaxInputs))
    return false;
  inputs = std::move(together);
  ops.push_back(op);
  return true;
}

/// The linalg operation that computes the chain, where its last operation stands.
static Value buildGeneric(const Chain &chain) {
  Operation *last = chain.ops.front();
  OpBuilder builder(last);
  Location loc = last->getLoc();
  auto type = cast<RankedTensorType>(chain.getResult().getType());
  // Where an input has the type, bufferization may compute in place.
  Value init;
  for (Value input : chain.inputs)
    if (input.getType() == type)
      init = init ? init : input;
  if (!init)
    init = tensor::EmptyOp::create(builder, loc, tensor::getMixedSizes(builder, loc, chain.inputs.front()),
                                   type.getElementType());
  SmallVector<AffineMap> maps(chain.inputs.size() + 1, builder.getMultiDimIdentityMap(type.getRank()));
  SmallVector<utils::IteratorType> iterators(type.getRank(), utils::IteratorType::parallel);
  auto buildBody = [&](OpBuilder &body, Location, ValueRange arguments) {
    IRMapping elements;
    elements.map(chain.inputs.getArrayRef(), arguments.drop_back());
    for (Operation *op : llvm::reverse(chain.ops)) {
      // Operands that are no tensors are the same for all elements.
      SmallVector<Value> operands;
      for (Value operand : op->getOperands())
        operands.push_back(elements.lookupOrDefault(operand));
      Operation *scalar = body.create(op->getLoc(), op->getName().getIdentifier(), operands,
                                      getElementTypeOrSelf(op->getResult(0).getType()), op->getAttrs());
      elements.map(op->getResult(0), scalar->getResult(0));
    }
    linalg::YieldOp::create(body, loc, elements.lookup(chain.getResult()));
  };
  return linalg::GenericOp::create(builder, loc, type, chain.inputs.getArrayRef(), init, maps, iterators, buildBody)
      .getResult(0);
}

void ConvertElementwisePass::convert(Block &block) {
  std::vector<std::unique_ptr<Chain>> chains;
  llvm::DenseMap<Operation *, Chain *> chainOf;
  /// The chain of all that read the result, if there is one and it has the same shape.
  auto findChain = [&](Operation *op) -> Chain * {
    Chain *chain = nullptr;
    for (Operation *user : op->getUsers()) {
      Chain *its = chainOf.lookup(user);
      if (!its || (chain && chain != its))
        return nullptr;
      chain = its;
    }
    ArrayRef<int64_t> shape = cast<RankedTensorType>(op->getResult(0).getType()).getShape();
    return chain && chain->getShape() == shape ? chain : nullptr;
  };
  for (Operation &op : llvm::reverse(block)) {
    if (!isElementwise(&op))
      continue;
    Chain *chain = findChain(&op);
    if (!chain || !chain->add(&op)) {
      chain = chains.emplace_back(std::make_unique<Chain>()).get();
      chain->add(&op);
    }
    chainOf[&op] = chain;
  }
  // From the last, since an input of one may be the result of one before it.
  for (std::unique_ptr<Chain> &chain : chains) {
    chain->getResult().replaceAllUsesWith(buildGeneric(*chain));
    for (Operation *op : chain->ops)
      op->erase();
  }
}
