//===- MoEExperts.cpp - moe.experts ---------------------------------------===//
//
// What its bodies get and give. Labels refer to docs/Spec.md.
//
//===----------------------------------------------------------------------===//

#include "Verification.h"

#include "moe/Dialect/MoE/IR/MoE.h"

using namespace mlir;
using namespace mlir::moe;

SmallVector<unsigned> ExpertsOp::getBanksOf(int64_t bodyClass) {
  SmallVector<unsigned> banks;
  for (unsigned bank = 0; bank < getBanks().size(); ++bank)
    if (int64_t of = getBankClass(bank); of < 0 || of == bodyClass)
      banks.push_back(bank);
  return banks;
}

/// E1, E7: rows, routing and result fit.
static LogicalResult verifyRows(ExpertsOp op) {
  RoutingType routing = op.getRouting().getType();
  // E11: rows are tokens.
  if (failed(verifyTokenScope(op, op.getRouting())))
    return failure();
  // E8: there are rows.
  if (op.getRows().empty())
    return op.emitOpError("expected rows");
  for (Value rows : op.getRows()) {
    int64_t count = cast<RankedTensorType>(rows.getType()).getDimSize(0);
    // E1: one row per token of the routing.
    if (!compatible(count, routing.getTokens())) {
      InFlightDiagnostic diagnostic = emitWithNote(
          op, "expected one row per token of the routing (" + Twine(extent(routing.getTokens())) + "), got " + extent(count),
          op.getRouting(), "the routing is made here");
      diagnostic.attachNote(rows.getLoc()) << "the rows are made here";
      return diagnostic;
    }
    if (!compatible(op.getResult().getType().getDimSize(0), count))
      return emitWithNote(op, "expected as many result rows as rows", rows, "the rows are made here");
  }
  // E7: the width of what the experts give is known.
  if (op.getResult().getType().isDynamicDim(1))
    return op.emitOpError() << "expected the result to have a static width, got " << op.getResult().getType();
  // E9: where slots are kept apart, each has as many columns.
  if (op.getCombine().keepsSlotsApart() && op.getResult().getType().getDimSize(1) % routing.getSlots() != 0)
    return emitWithNote(op,
                        "expected the width of the result (" + Twine(op.getResult().getType().getDimSize(1)) +
                            ") to be a multiple of the slots (" + Twine(routing.getSlots()) + ")",
                        op.getRouting(), "the routing is made here");
  return success();
}

/// E4: classes maps each expert to a region.
static LogicalResult verifyClasses(ExpertsOp op) {
  int64_t experts = op.getRouting().getType().getExperts(), bodies = op.getBodies().size();
  if (bodies == 0)
    return op.emitOpError("expected at least one body region");
  auto classes = op.getClasses();
  if (!classes && bodies != 1)
    return op.emitOpError() << "expected 'classes' with " << bodies << " body regions";
  if (!classes)
    return success();
  if (int64_t(classes->size()) != experts)
    return op.emitOpError() << "expected 'classes' to have one entry per expert (" << experts << "), got "
                            << classes->size();
  for (int32_t region : *classes)
    if (region < 0 || region >= bodies)
      return op.emitOpError() << "expected classes between 0 and " << bodies - 1 << ", got " << region;
  return success();
}

/// E2, E10: every bank has one entry per expert, or per expert of its class.
LogicalResult ExpertsOp::verifyBanks() {
  int64_t bodies = getBodies().size();
  if (auto ofBanks = getBankClasses()) {
    if (ofBanks->size() != getBanks().size())
      return emitOpError() << "expected 'bank_classes' to have one entry per bank (" << getBanks().size() << "), got "
                           << ofBanks->size();
    for (int32_t bodyClass : *ofBanks)
      if (bodyClass < -1 || bodyClass >= bodies)
        return emitOpError() << "expected bank classes between -1 and " << bodies - 1 << ", got " << bodyClass;
  }
  for (auto [index, bank] : llvm::enumerate(getBanks())) {
    int64_t bodyClass = getBankClass(index), expected = 0;
    for (int64_t expert = 0; expert < getRouting().getType().getExperts(); ++expert)
      expected += bodyClass < 0 || getClassOf(expert) == bodyClass;
    int64_t experts = cast<BankType>(bank.getType()).getExperts();
    if (experts == expected)
      continue;
    InFlightDiagnostic diagnostic = emitOpError() << "expected banks of " << expected << " experts";
    if (bodyClass >= 0)
      diagnostic << " for class " << bodyClass;
    diagnostic << ", got " << experts;
    diagnostic.attachNote(bank.getLoc()) << "the bank is made here";
    diagnostic.attachNote(getRouting().getLoc()) << "the routing is made here";
    return diagnostic;
  }
  return success();
}

/// E3: state tensors have the expert as first extent and keep their type.
static LogicalResult verifyState(ExpertsOp op) {
  if (op.getState().size() != op.getNewState().size())
    return op.emitOpError() << "expected one new state per state, got " << op.getNewState().size() << " for "
                            << op.getState().size();
  for (auto [before, after] : llvm::zip(op.getState(), op.getNewState())) {
    auto type = cast<RankedTensorType>(before.getType());
    if (type != after.getType())
      return emitWithNote(op, "expected the new state to have the type of the state", before, "the state is made here");
    if (type.getRank() < 1 || type.getDimSize(0) != op.getRouting().getType().getExperts())
      return emitWithNote(op, "expected the first extent of a state to be the number of experts", before,
                          "the state is made here");
  }
  return success();
}

LogicalResult ExpertsOp::verify() {
  return success(succeeded(verifyRows(*this)) && succeeded(verifyClasses(*this)) && succeeded(verifyBanks()) &&
                 succeeded(verifyState(*this)));
}

LogicalResult ExpertsOp::verifyRegions() {
  auto rowsOf = [](RankedTensorType type, int64_t width) {
    return RankedTensorType::get({ShapedType::kDynamic, width}, type.getElementType());
  };
  SmallVector<Type> first, last(getShared().getTypes());
  for (Value rows : getRows())
    first.push_back(rowsOf(cast<RankedTensorType>(rows.getType()), cast<RankedTensorType>(rows.getType()).getDimSize(1)));
  auto result = getResult().getType();
  if (getWithWeights())
    first.push_back(RankedTensorType::get({ShapedType::kDynamic}, Float32Type::get(getContext())));
  int64_t width = result.getDimSize(1);
  if (getCombine().keepsSlotsApart())
    width /= getRouting().getType().getSlots();
  SmallVector<Type> results = {rowsOf(result, width)};
  for (Value state : getState()) {
    auto type = cast<RankedTensorType>(state.getType());
    results.push_back(RankedTensorType::get(type.getShape().drop_front(), type.getElementType()));
    last.push_back(results.back());
  }
  for (auto [index, body] : llvm::enumerate(getBodies())) {
    // E5: block arguments are rows, weights, bank components, shared operands, state slices.
    SmallVector<Type> expected(first);
    for (unsigned bank : getBanksOf(index))
      llvm::append_range(expected, cast<BankType>(getBanks()[bank].getType()).getExpertTypes());
    llvm::append_range(expected, last);
    if (body.front().getArgumentTypes() != TypeRange(expected)) {
      InFlightDiagnostic diagnostic = emitOpError("expected body arguments of types (");
      llvm::interleaveComma(expected, diagnostic);
      diagnostic << "), got (";
      llvm::interleaveComma(body.front().getArgumentTypes(), diagnostic);
      return diagnostic << ")";
    }
    // E6: the body yields rows, then state slices.
    Operation *terminator = body.front().getTerminator();
    if (!isa<YieldOp>(terminator) || terminator->getOperandTypes() != TypeRange(results)) {
      InFlightDiagnostic diagnostic = emitOpError("expected the body to yield (");
      llvm::interleaveComma(results, diagnostic);
      diagnostic << ")";
      diagnostic.attachNote(terminator->getLoc()) << "it ends here";
      return diagnostic;
    }
  }
  return success();
}
