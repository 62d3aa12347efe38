//===- ExpertBody.cpp - What an expert's program does to rows -------------===//
//
// One visit per operation, top to bottom; a value's kind follows from those of the operands.
//
//===----------------------------------------------------------------------===//

#include "ExpertBody.h"
#include "Structure.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Transforms/RegionUtils.h"

using namespace mlir;
using namespace mlir::moe;

ExpertBody::ExpertBody(ExpertsOp experts, unsigned bodyClass) {
  Block &block = experts.getBodies()[bodyClass].front();
  unsigned next = 0;
  // Each row's weight is as much the row's own as its elements are.
  for (unsigned count = experts.getRows().size() + experts.getWithWeights(); next < count;)
    values[block.getArgument(next++)] = BodyValue::Rows;
  for (unsigned bank : experts.getBanksOf(bodyClass)) {
    unsigned count = cast<BankType>(experts.getBanks()[bank].getType()).getComponents().size();
    for (unsigned component = 0; component < count; ++component) {
      Value argument = block.getArgument(next++);
      values[argument] = BodyValue::Weight;
      components[argument] = {bank, component};
    }
  }
  while (next < block.getNumArguments())
    values[block.getArgument(next++)] = BodyValue::Uniform;
}

void ExpertBody::set(Operation *op, BodyOp what, BodyValue result) {
  operations[op] = what;
  for (Value value : op->getResults())
    values[value] = result;
}

bool ExpertBody::isCount(OpFoldResult size) const {
  auto value = dyn_cast<Value>(size);
  return value && kindOf(value) == BodyValue::Count;
}

bool ExpertBody::all(ValueRange range, BodyValue kind) const {
  return llvm::all_of(range, [&](Value value) { return kindOf(value) == kind; });
}

/// Columns may be cut out of rows; rows may not.
ExpertBody::Failure ExpertBody::visitSlice(Operation *op) {
  auto slice = cast<tensor::ExtractSliceOp>(op);
  bool allRows = isConstantIntValue(slice.getMixedOffsets()[0], 0) && isCount(slice.getMixedSizes()[0]) &&
                 isConstantIntValue(slice.getMixedStrides()[0], 1) && !slice.getDroppedDims().any();
  if (!allRows)
    return "takes some of the rows";
  for (Value operand : slice->getOperands().drop_front())
    if (kindOf(operand) != BodyValue::Uniform && operand != dyn_cast<Value>(slice.getMixedSizes()[0]))
      return "has an extent that depends on the expert";
  set(op, BodyOp::Lift, BodyValue::Rows);
  return std::nullopt;
}

ExpertBody::Failure ExpertBody::visitLinalg(linalg::LinalgOp op) {
  if (!op.hasPureTensorSemantics())
    return "does not work on tensors";
  if (auto contraction = matchContraction(op)) {
    Value weight = contraction->weight->get();
    if (kindOf(contraction->rows->get()) == BodyValue::Rows && kindOf(weight) == BodyValue::Weight) {
      if (!isZeroTensor(contraction->init->get()))
        return "adds its product to something else than zeros";
      set(op, BodyOp::Product, BodyValue::Rows);
      return std::nullopt;
    }
  }
  // The loop that runs over rows is the first dimension of each operand that holds rows.
  std::optional<unsigned> rowLoop;
  for (OpOperand &operand : op->getOpOperands()) {
    if (kindOf(operand.get()) != BodyValue::Rows)
      continue;
    AffineMap map = op.getMatchingIndexingMap(&operand);
    auto loop = dyn_cast<AffineDimExpr>(map.getResult(0));
    if (!loop || (rowLoop && *rowLoop != loop.getPosition()))
      return "does not treat each row alone";
    rowLoop = loop.getPosition();
  }
  if (!rowLoop)
    return "mixes an expert's weights without its rows";
  if (op.getIteratorTypesArray()[*rowLoop] != utils::IteratorType::parallel)
    return "sums over the rows";
  for (OpOperand &operand : op->getOpOperands()) {
    AffineMap map = op.getMatchingIndexingMap(&operand);
    BodyValue kind = kindOf(operand.get());
    if (kind == BodyValue::Rows) {
      for (AffineExpr result : map.getResults().drop_front())
        if (result.isFunctionOfDim(*rowLoop))
          return "does not treat each row alone";
      continue;
    }
    if (op.isDpsInit(&operand))
      return "gives something else than rows";
    if (map.isFunctionOfDim(*rowLoop))
      return "pairs each row with an entry of a tensor that all experts share";
    if (kind == BodyValue::Count)
      return "computes with the number of rows";
    // Per-expert vectors are repeated for each row; a whole matrix per row would be too much.
    if (kind == BodyValue::Weight && cast<RankedTensorType>(operand.get().getType()).getRank() != 1)
      return "reads a weight that is no vector in another way than as the right side of a product";
    if (kind == BodyValue::Weight && op.getBlock()->getNumArguments() != op->getNumOperands())
      return "reads a weight in a form other than linalg.generic";
    // Repeating widens.
    auto widens = [](Operation *user) { return isa<arith::ExtFOp>(user) && user->getResult(0).getType().isF32(); };
    if (kind == BodyValue::Weight && !getElementTypeOrSelf(operand.get()).isF32() &&
        !llvm::all_of(op.getMatchingBlockArgument(&operand).getUsers(), widens))
      return "computes with a vector that is not widened to f32";
  }
  bool asksForRow = false;
  op->walk([&](linalg::IndexOp index) { asksForRow |= index.getDim() == *rowLoop; });
  if (asksForRow)
    return "computes with the position of a row";
  set(op, BodyOp::Lift, BodyValue::Rows);
  return std::nullopt;
}

ExpertBody::Failure ExpertBody::visit(Operation *op) {
  SetVector<Value> captured;
  getUsedValuesDefinedAbove(op->getRegions(), captured);
  if (!all(captured.getArrayRef(), BodyValue::Uniform))
    return "uses rows or weights inside its region";
  if (!isMemoryEffectFree(op))
    return "has side effects";
  if (all(op->getOperands(), BodyValue::Uniform)) {
    set(op, BodyOp::Hoist, BodyValue::Uniform);
    return std::nullopt;
  }
  if (auto dim = dyn_cast<tensor::DimOp>(op)) {
    std::optional<int64_t> index = dim.getConstantIndex();
    if (!index)
      return "asks for an extent that is not known";
    if (kindOf(dim.getSource()) == BodyValue::Rows && *index == 0) {
      set(op, BodyOp::Drop, BodyValue::Count);
      return std::nullopt;
    }
    // Other extents are those of the lifted rows; weights have static extents.
    set(op, BodyOp::Hoist, BodyValue::Uniform);
    return std::nullopt;
  }
  if (auto empty = dyn_cast<tensor::EmptyOp>(op)) {
    SmallVector<OpFoldResult> sizes = empty.getMixedSizes();
    if (!isCount(sizes[0]) || llvm::any_of(ArrayRef(sizes).drop_front(), [&](OpFoldResult s) { return isCount(s); }))
      return "has the number of rows as another extent than the first";
    set(op, BodyOp::Lift, BodyValue::Rows);
    return std::nullopt;
  }
  if (op->getNumResults() == 1) {
    Value source = getWidened(op->getResult(0));
    if (source && kindOf(source) == BodyValue::Weight) {
      set(op, BodyOp::Drop, BodyValue::Weight);
      components[op->getResult(0)] = componentOf(source);
      return std::nullopt;
    }
  }
  if (auto slice = dyn_cast<tensor::ExtractSliceOp>(op); slice && kindOf(slice.getSource()) == BodyValue::Rows)
    return visitSlice(op);
  if (auto linalgOp = dyn_cast<linalg::LinalgOp>(op))
    return visitLinalg(linalgOp);
  if (OpTrait::hasElementwiseMappableTraits(op) && isa<RankedTensorType>(op->getResult(0).getType())) {
    for (Value operand : op->getOperands())
      if (kindOf(operand) != (isa<TensorType>(operand.getType()) ? BodyValue::Rows : BodyValue::Uniform))
        return "combines rows with something else than rows";
    set(op, BodyOp::Lift, BodyValue::Rows);
    return std::nullopt;
  }
  return "is not known to treat each row alone";
}

FailureOr<ExpertBody> ExpertBody::analyse(ExpertsOp experts, unsigned bodyClass,
                                          llvm::function_ref<void(Operation *, const Twine &)> whyNot) {
  if (!experts.getState().empty()) {
    whyNot(experts, "has state");
    return failure();
  }
  ExpertBody body(experts, bodyClass);
  Block &block = experts.getBodies()[bodyClass].front();
  for (Operation &op : block.without_terminator()) {
    if (Failure reason = body.visit(&op)) {
      whyNot(&op, *reason);
      return failure();
    }
  }
  Value out = block.getTerminator()->getOperand(0);
  if (body.kindOf(out) != BodyValue::Rows) {
    whyNot(block.getTerminator(), "gives something else than rows computed from the expert's rows");
    return failure();
  }
  return body;
}
