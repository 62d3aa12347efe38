//===- Structure.cpp - Recognising shapes of linalg operations ------------===//
//
// Products with weights, widenings, elementwise operations, additions, zeros.
//
//===----------------------------------------------------------------------===//

#include "Structure.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace mlir::moe;

/// `value` without one widening of a float.
static Value skipExtension(Value value) {
  if (auto extension = value.getDefiningOp<arith::ExtFOp>())
    return extension.getIn();
  return value;
}

/// Whether `block` yields `accumulator + a * b`, a and b being widened where they are narrower.
static bool isMultiplyAdd(Block &block) {
  if (block.getNumArguments() != 3 || block.getTerminator()->getNumOperands() != 1)
    return false;
  Value a = block.getArgument(0), b = block.getArgument(1), accumulator = block.getArgument(2);
  auto isProductOf = [&](Value x, Value y) {
    x = skipExtension(x);
    y = skipExtension(y);
    return (x == a && y == b) || (x == b && y == a);
  };
  Value sum = block.getTerminator()->getOperand(0);
  if (auto fma = sum.getDefiningOp<math::FmaOp>())
    return fma.getC() == accumulator && isProductOf(fma.getA(), fma.getB());
  auto add = sum.getDefiningOp<arith::AddFOp>();
  if (!add || (add.getLhs() != accumulator && add.getRhs() != accumulator))
    return false;
  Value other = add.getLhs() == accumulator ? add.getRhs() : add.getLhs();
  auto multiply = other.getDefiningOp<arith::MulFOp>();
  return multiply && multiply.getType().isF32() && isProductOf(multiply.getLhs(), multiply.getRhs());
}

std::optional<Contraction> moe::matchContraction(linalg::LinalgOp op) {
  if (op.getNumLoops() != 3 || op.getNumDpsInputs() != 2 || op.getNumDpsInits() != 1 || !op.hasPureTensorSemantics())
    return std::nullopt;
  Contraction result{op.getDpsInputOperand(0), op.getDpsInputOperand(1), op.getDpsInitOperand(0)};
  auto dimensionsOf = [&](OpOperand *operand) -> std::optional<std::pair<unsigned, unsigned>> {
    AffineMap map = op.getMatchingIndexingMap(operand);
    if (map.getNumResults() != 2 || !map.isProjectedPermutation())
      return std::nullopt;
    return std::pair(map.getDimPosition(0), map.getDimPosition(1));
  };
  auto rows = dimensionsOf(result.rows), weight = dimensionsOf(result.weight), init = dimensionsOf(result.init);
  if (!rows || !weight || !init)
    return std::nullopt;
  auto [m, k] = *rows;
  auto [n, weightK] = *weight;
  if (k != weightK || *init != std::pair(m, n))
    return std::nullopt;
  SmallVector<utils::IteratorType> iterators = op.getIteratorTypesArray();
  using utils::IteratorType;
  if (iterators[m] != IteratorType::parallel || iterators[n] != IteratorType::parallel ||
      iterators[k] != IteratorType::reduction)
    return std::nullopt;
  if (!getElementTypeOrSelf(result.rows->get()).isF32() || !getElementTypeOrSelf(result.init->get()).isF32() ||
      !isMultiplyAdd(*op.getBlock()))
    return std::nullopt;
  return result;
}

Value moe::getWidened(Value value) {
  if (!getElementTypeOrSelf(value).isF32())
    return {};
  Operation *op = value.getDefiningOp();
  if (auto extension = dyn_cast_or_null<arith::ExtFOp>(op))
    return extension.getIn();
  auto generic = dyn_cast_or_null<linalg::LinalgOp>(op);
  if (!generic || generic.getNumDpsInputs() != 1 || !isElementwise(generic))
    return {};
  auto extension = generic.getBlock()->getTerminator()->getOperand(0).getDefiningOp<arith::ExtFOp>();
  if (!extension || extension.getIn() != generic.getBlock()->getArgument(0))
    return {};
  return generic.getDpsInputOperand(0)->get();
}

bool moe::isZeroTensor(Value value) {
  Operation *op = value.getDefiningOp();
  if (auto fill = dyn_cast_or_null<linalg::FillOp>(op))
    return matchPattern(fill.value(), m_AnyZeroFloat());
  return matchPattern(value, m_AnyZeroFloat());
}

bool moe::isUndefinedTensor(Value value) {
  while (auto slice = value.getDefiningOp<tensor::ExtractSliceOp>())
    value = slice.getSource();
  return value.getDefiningOp<tensor::EmptyOp>() != nullptr;
}

bool moe::isElementwise(linalg::LinalgOp op) {
  if (!op.hasPureTensorSemantics() || op.getNumDpsInits() != 1 || op.getNumDpsInputs() == 0 ||
      op.getNumParallelLoops() != op.getNumLoops() ||
      op.getBlock()->getNumArguments() != op->getNumOperands() || op.payloadUsesValueFromOperand(op.getDpsInitOperand(0)))
    return false;
  return llvm::all_of(op.getIndexingMapsArray(), [](AffineMap map) { return map.isIdentity(); });
}

std::optional<std::pair<OpOperand *, OpOperand *>> moe::matchAddition(Operation *op) {
  if (isa<arith::AddFOp>(op) && isa<RankedTensorType>(op->getResult(0).getType()))
    return std::pair(&op->getOpOperand(0), &op->getOpOperand(1));
  auto generic = dyn_cast<linalg::LinalgOp>(op);
  if (!generic || !generic.hasPureTensorSemantics() || generic.getNumDpsInits() != 1 ||
      generic.getNumParallelLoops() != generic.getNumLoops() ||
      generic.getBlock()->getNumArguments() != op->getNumOperands() ||
      !llvm::all_of(generic.getIndexingMapsArray(), [](AffineMap map) { return map.isIdentity(); }))
    return std::nullopt;
  auto add = generic.getBlock()->getTerminator()->getOperand(0).getDefiningOp<arith::AddFOp>();
  if (!add)
    return std::nullopt;
  auto lhs = dyn_cast<BlockArgument>(add.getLhs()), rhs = dyn_cast<BlockArgument>(add.getRhs());
  if (!lhs || !rhs || lhs.getOwner() != generic.getBlock() || rhs.getOwner() != generic.getBlock() || lhs == rhs)
    return std::nullopt;
  // The result must be the sum of two operands; a third one would be read by nothing.
  return std::pair(&op->getOpOperand(lhs.getArgNumber()), &op->getOpOperand(rhs.getArgNumber()));
}

bool moe::isReadOnlyBy(Value value, llvm::function_ref<bool(Operation *)> readers) {
  return llvm::all_of(value.getUsers(), [&](Operation *user) { return isa<tensor::DimOp>(user) || readers(user); });
}

void moe::redirectSizes(RewriterBase &rewriter, Value value, Value like) {
  for (OpOperand &use : llvm::make_early_inc_range(value.getUses()))
    if (isa<tensor::DimOp>(use.getOwner()))
      rewriter.modifyOpInPlace(use.getOwner(), [&] { use.set(like); });
}
