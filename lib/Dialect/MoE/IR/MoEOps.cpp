//===- MoEOps.cpp - Operations of the moe dialect -------------------------===//
//
// Verification, type inference and result shapes. Labels refer to docs/Spec.md.
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/PatternMatch.h"
#include "llvm/Support/CheckedArithmetic.h"

using namespace mlir;
using namespace mlir::moe;

#define GET_OP_CLASSES
#include "moe/Dialect/MoE/IR/MoEOps.cpp.inc"

/// Whether two extents can be the same: `?` is compatible with everything.
static bool compatible(int64_t a, int64_t b) {
  return ShapedType::isDynamic(a) || ShapedType::isDynamic(b) || a == b;
}

/// An extent as it is written.
static std::string extent(int64_t size) {
  return ShapedType::isDynamic(size) ? "?" : std::to_string(size);
}

/// Reports `what` on `op`, with a note at the definition of `other`.
static InFlightDiagnostic emitWithNote(Operation *op, const Twine &what, Value other, const Twine &note) {
  InFlightDiagnostic diagnostic = op->emitOpError(what);
  diagnostic.attachNote(other.getLoc()) << note;
  return diagnostic;
}

//===----------------------------------------------------------------------===//
// SelectOp
//===----------------------------------------------------------------------===//

LogicalResult SelectOp::inferReturnTypes(MLIRContext *context, std::optional<Location> location, ValueRange operands,
                                         DictionaryAttr attributes, OpaqueProperties properties, RegionRange regions,
                                         SmallVectorImpl<Type> &types) {
  Adaptor adaptor(operands, attributes, properties, regions);
  auto logits = dyn_cast<RankedTensorType>(adaptor.getLogits().getType());
  if (!logits || logits.getRank() != 2)
    return emitOptionalError(location, "'moe.select' op expected logits of rank 2");
  int64_t experts = logits.getDimSize(1);
  if (ShapedType::isDynamic(experts))
    return emitOptionalError(location, "'moe.select' op expected a static number of experts (last extent of the "
                                       "logits), got ", logits);
  auto policy = dyn_cast_or_null<SelectionPolicyAttrInterface>(
      adaptor.getPolicyAttr());
  if (!policy)
    return emitOptionalError(location, "'moe.select' op expected a policy");
  auto emitError = [&] {
    return mlir::emitError(location.value_or(UnknownLoc::get(context)))
           << "'moe.select' op ";
  };
  auto type = RoutingType::getChecked(emitError, context, logits.getDimSize(0),
                                      experts, policy.getSlots(experts),
                                      policy.getScope());
  if (!type)
    return failure();
  types.push_back(type);
  return success();
}

LogicalResult SelectOp::verify() {
  int64_t experts = getLogits().getType().getDimSize(1);
  // S4: the number of experts is known, and there is one.
  if (ShapedType::isDynamic(experts) || experts < 1)
    return emitWithNote(*this,
                        "expected a static number of experts, at least one, "
                        "as last extent of the logits, got " +
                            Twine(extent(experts)),
                        getLogits(), "the logits are made here");
  // S1: the policy accepts this number of experts.
  if (failed(getPolicy().verifyExperts(experts, [&] {
        InFlightDiagnostic diagnostic = emitOpError();
        diagnostic.attachNote(getLogits().getLoc()) << "the logits have " << experts << " experts";
        return diagnostic;
      })))
    return failure();
  // S2: one bias per expert.
  if (Value bias = getBias()) {
    int64_t count = cast<RankedTensorType>(bias.getType()).getDimSize(0);
    if (!compatible(count, experts))
      return emitWithNote(*this, "expected one bias per expert (" + Twine(experts) + "), got " + Twine(count), bias,
                          "the bias is made here");
  }
  // S3: the scale is a number.
  if (!getScale().isFinite())
    return emitOpError("expected the scale to be finite");
  return success();
}

//===----------------------------------------------------------------------===//
// MakeRoutingOp, RoutingPartsOp
//===----------------------------------------------------------------------===//

LogicalResult MakeRoutingOp::verify() {
  auto ids = getIds().getType(), weights = getWeights().getType();
  RoutingType routing = getRouting().getType();
  // R1: ids and weights are [tokens, slots].
  for (auto [type, value, name] : {std::tuple(ids, Value(getIds()), "ids"), {weights, Value(getWeights()), "weights"}})
    if (!compatible(type.getDimSize(0), routing.getTokens()) || !compatible(type.getDimSize(1), routing.getSlots()))
      return emitWithNote(*this, Twine("expected ") + name + " to be [tokens, slots] of the routing", value,
                          Twine(name) + " are made here");
  return success();
}

LogicalResult RoutingPartsOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, ValueRange operands,
                                               DictionaryAttr, OpaqueProperties, RegionRange,
                                               SmallVectorImpl<Type> &types) {
  auto routing = dyn_cast<RoutingType>(operands[0].getType());
  if (!routing)
    return emitOptionalError(location, "'moe.routing_parts' op expected a routing");
  types.assign({routing.getIdsType(), routing.getWeightsType()});
  return success();
}

//===----------------------------------------------------------------------===//
// MakeBankOp, BankPartsOp
//===----------------------------------------------------------------------===//

LogicalResult MakeBankOp::inferReturnTypes(MLIRContext *context, std::optional<Location> location, ValueRange operands,
                                           DictionaryAttr, OpaqueProperties, RegionRange,
                                           SmallVectorImpl<Type> &types) {
  SmallVector<RankedTensorType> components;
  for (Value operand : operands) {
    auto type = dyn_cast<RankedTensorType>(operand.getType());
    if (!type)
      return emitOptionalError(location, "'moe.make_bank' op expected ranked tensors");
    components.push_back(type);
  }
  // B1: the type of the bank accepts the components.
  auto emitError = [&] {
    return mlir::emitError(location.value_or(UnknownLoc::get(context)))
           << "'moe.make_bank' op ";
  };
  auto type = BankType::getChecked(emitError, context, ArrayRef<RankedTensorType>(components));
  if (!type)
    return failure();
  types.push_back(type);
  return success();
}

LogicalResult BankPartsOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, ValueRange operands,
                                            DictionaryAttr, OpaqueProperties, RegionRange,
                                            SmallVectorImpl<Type> &types) {
  auto bank = dyn_cast<BankType>(operands[0].getType());
  if (!bank)
    return emitOptionalError(location, "'moe.bank_parts' op expected a bank");
  llvm::append_range(types, bank.getComponents());
  return success();
}

//===----------------------------------------------------------------------===//
// ExpertsOp
//===----------------------------------------------------------------------===//

LogicalResult ExpertsOp::verify() {
  RoutingType routing = getRouting().getType();
  // E1: one row per token of the routing.
  if (!compatible(getRows().getType().getDimSize(0), routing.getTokens())) {
    InFlightDiagnostic diagnostic = emitWithNote(
        *this,
        "expected one row per token of the routing (" +
            Twine(extent(routing.getTokens())) + "), got " +
            extent(getRows().getType().getDimSize(0)),
        getRouting(), "the routing is made here");
    diagnostic.attachNote(getRows().getLoc()) << "the rows are made here";
    if (routing.getScope() != Scope::token)
      diagnostic.attachNote(getRouting().getLoc())
          << "it has one decision per " << stringifyScope(routing.getScope())
          << "; repeat its ids and weights for each token (moe.routing_parts, "
             "moe.make_routing)";
    return diagnostic;
  }
  if (!compatible(getResult().getType().getDimSize(0), getRows().getType().getDimSize(0)))
    return emitWithNote(*this, "expected as many result rows as rows", getRows(), "the rows are made here");
  // E7: the width of what the experts give is known.
  if (getResult().getType().isDynamicDim(1))
    return emitOpError() << "expected the result to have a static width, got "
                         << getResult().getType();
  // E2: every bank has one entry per expert.
  for (Value bank : getBanks()) {
    int64_t experts = cast<BankType>(bank.getType()).getExperts();
    if (experts != routing.getExperts()) {
      InFlightDiagnostic diagnostic =
          emitOpError() << "expected banks of " << routing.getExperts() << " experts, got " << experts;
      diagnostic.attachNote(bank.getLoc()) << "the bank is made here";
      diagnostic.attachNote(getRouting().getLoc()) << "the routing is made here";
      return diagnostic;
    }
  }
  // E3: state tensors have the expert as first extent and keep their type.
  if (getState().size() != getNewState().size())
    return emitOpError() << "expected one new state per state, got " << getNewState().size() << " for "
                         << getState().size();
  for (auto [before, after] : llvm::zip(getState(), getNewState())) {
    auto type = cast<RankedTensorType>(before.getType());
    if (type != after.getType())
      return emitWithNote(*this, "expected the new state to have the type of the state", before,
                          "the state is made here");
    if (type.getRank() < 1 || type.getDimSize(0) != routing.getExperts())
      return emitWithNote(*this, "expected the first extent of a state to be the number of experts", before,
                          "the state is made here");
  }
  // E4: classes maps each expert to a region.
  if (getBodies().empty())
    return emitOpError("expected at least one body region");
  if (auto classes = getClasses()) {
    if (int64_t(classes->size()) != routing.getExperts())
      return emitOpError() << "expected 'classes' to have one entry per expert (" << routing.getExperts() << "), got "
                           << classes->size();
    for (int32_t region : *classes)
      if (region < 0 || region >= int64_t(getBodies().size()))
        return emitOpError() << "expected classes between 0 and " << getBodies().size() - 1 << ", got " << region;
  } else if (getBodies().size() != 1) {
    return emitOpError() << "expected 'classes' with " << getBodies().size() << " body regions";
  }
  return success();
}

LogicalResult ExpertsOp::verifyRegions() {
  auto rowsType = getRows().getType();
  SmallVector<Type> expected = {RankedTensorType::get({ShapedType::kDynamic, rowsType.getDimSize(1)},
                                                      rowsType.getElementType())};
  for (Value bank : getBanks())
    llvm::append_range(expected, cast<BankType>(bank.getType()).getExpertTypes());
  llvm::append_range(expected, getShared().getTypes());
  SmallVector<Type> results = {RankedTensorType::get({ShapedType::kDynamic, getResult().getType().getDimSize(1)},
                                                     getResult().getType().getElementType())};
  for (Value state : getState()) {
    auto type = cast<RankedTensorType>(state.getType());
    results.push_back(RankedTensorType::get(type.getShape().drop_front(), type.getElementType()));
    expected.push_back(results.back());
  }
  for (Region &body : getBodies()) {
    // E5: block arguments are rows, bank components, shared operands, state slices.
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

//===----------------------------------------------------------------------===//
// PlanOp
//===----------------------------------------------------------------------===//

LogicalResult PlanOp::inferReturnTypes(MLIRContext *context, std::optional<Location> location, ValueRange operands,
                                       DictionaryAttr, OpaqueProperties, RegionRange, SmallVectorImpl<Type> &types) {
  auto routing = dyn_cast<RoutingType>(operands[0].getType());
  if (!routing)
    return emitOptionalError(location, "'moe.plan' op expected a routing");
  int64_t tokens = routing.getTokens();
  int64_t rows = ShapedType::isDynamic(tokens) ? tokens : tokens * routing.getSlots();
  Type index = IndexType::get(context);
  types.assign({RankedTensorType::get({routing.getExperts() + 1}, index), RankedTensorType::get({rows}, index),
                RankedTensorType::get({tokens, routing.getSlots()}, index)});
  return success();
}

LogicalResult PlanOp::reifyResultShapes(OpBuilder &builder, ReifiedRankedShapedTypeDims &shapes) {
  RoutingType routing = getRouting().getType();
  Value ids = RoutingPartsOp::create(builder, getLoc(), getRouting()).getIds();
  OpFoldResult tokens = tensor::getMixedSize(builder, getLoc(), ids, 0);
  OpFoldResult slots = builder.getIndexAttr(routing.getSlots());
  OpFoldResult rows;
  if (ShapedType::isDynamic(routing.getTokens())) {
    Value factor = arith::ConstantIndexOp::create(builder, getLoc(), routing.getSlots());
    rows = arith::MulIOp::create(builder, getLoc(), cast<Value>(tokens), factor).getResult();
  } else {
    rows = builder.getIndexAttr(routing.getTokens() * routing.getSlots());
  }
  shapes.assign({{builder.getIndexAttr(routing.getExperts() + 1)}, {rows}, {tokens, slots}});
  return success();
}

//===----------------------------------------------------------------------===//
// GatherOp, GroupedMatmulOp, CombineOp
//===----------------------------------------------------------------------===//

static void reifyFromInit(OpBuilder &builder, Operation *op, Value init, ReifiedRankedShapedTypeDims &shapes) {
  shapes.push_back(tensor::getMixedSizes(builder, op->getLoc(), init));
}

LogicalResult GatherOp::reifyResultShapes(OpBuilder &builder, ReifiedRankedShapedTypeDims &shapes) {
  reifyFromInit(builder, *this, getInit(), shapes);
  return success();
}

LogicalResult GatherOp::verify() {
  auto source = getSource().getType(), init = getInit().getType();
  // G1: one result row per index.
  if (!compatible(init.getDimSize(0), getIndices().getType().getDimSize(0)))
    return emitWithNote(*this, "expected one row per index", getIndices(), "the indices are made here");
  // G2: rows keep their width.
  if (!compatible(source.getDimSize(1), init.getDimSize(1)))
    return emitWithNote(*this, "expected the rows of source and init to have one width", getSource(),
                        "the source is made here");
  // G3: elements may only be widened.
  if (init.getElementType() != source.getElementType() && !init.getElementType().isF32())
    return emitOpError() << "expected the init to have element type " << source.getElementType() << " or f32";
  if (getResult().getType() != init)
    return emitOpError("expected the result to have the type of the init");
  return success();
}

LogicalResult GroupedMatmulOp::reifyResultShapes(OpBuilder &builder, ReifiedRankedShapedTypeDims &shapes) {
  reifyFromInit(builder, *this, getInit(), shapes);
  return success();
}

/// Checks one bank against groups, rows and init.
LogicalResult GroupedMatmulOp::verifyBank(Value bank) {
  int64_t columns = getInit().getType().getDimSize(1);
  int64_t inner = getRows().getType().getDimSize(1);
  auto type = cast<BankType>(bank.getType());
  ArrayRef<int64_t> shape = type.getData().getShape();
  auto report = [&](const Twine &what, Value other, StringRef note) {
    InFlightDiagnostic diagnostic =
        emitWithNote(*this, what, bank, "the bank is made here");
    diagnostic.attachNote(other.getLoc()) << note;
    return diagnostic;
  };
  // M3: one matrix per group.
  if (type.getExperts() != getGroups())
    return report("expected one matrix per group (" + Twine(getGroups()) +
                      "), got " + Twine(type.getExperts()),
                  getOffsets(), "the offsets are made here");
  // M4: [E, N, K], or packed [E, panels, K, width].
  if (shape.size() != 3 && shape.size() != 4)
    return emitWithNote(*this, "expected banks of rank 3 or, packed, 4", bank,
                        "the bank is made here");
  if (!compatible(shape[2], inner))
    return report("expected the rows to have the bank's inner extent " +
                      Twine(shape[2]) + ", got " + extent(inner),
                  getRows(), "the rows are made here");
  bool fits = type.isPacked() ? shape[1] * shape[3] >= columns &&
                                    (shape[1] - 1) * shape[3] < columns
                              : shape[1] == columns;
  if (ShapedType::isDynamic(columns) || !fits)
    return report("expected the init to have as many columns as the bank has "
                  "outputs, got " +
                      extent(columns),
                  getInit(), "the init is made here");
  return success();
}

LogicalResult GroupedMatmulOp::verify() {
  if (getResult().getType() != getInit().getType())
    return emitOpError("expected the result to have the type of the init");
  // M1: at least one bank.
  if (getBanks().empty())
    return emitOpError("expected at least one bank");
  // M2: a static number of groups.
  if (getOffsets().getType().isDynamicDim(0) || getGroups() < 1)
    return emitWithNote(*this, "expected a static number of offsets, groups + 1, at least 2", getOffsets(),
                        "the offsets are made here");
  for (Value bank : getBanks())
    if (failed(verifyBank(bank)))
      return failure();
  // M5: one result row per row, or per index.
  Value counted = getIndices() ? getIndices() : Value(getRows());
  if (!compatible(cast<RankedTensorType>(counted.getType()).getDimSize(0), getInit().getType().getDimSize(0)))
    return emitWithNote(*this, "expected one result row per row or index", counted, "they are made here");
  // M6: several banks need an epilogue.
  if (!hasEpilogue() && getBanks().size() != 1)
    return emitOpError("expected an epilogue that joins the products of the banks");
  return success();
}

LogicalResult GroupedMatmulOp::verifyRegions() {
  if (!hasEpilogue())
    return success();
  Block &block = getEpilogue().front();
  Type element = getInit().getType().getElementType();
  // M7: one argument per bank, one value out.
  if (block.getNumArguments() != getBanks().size() ||
      llvm::any_of(block.getArgumentTypes(), [&](Type type) { return type != element; }))
    return emitOpError() << "expected the epilogue to take one " << element << " per bank (" << getBanks().size() << ")";
  auto yield = dyn_cast<YieldOp>(block.getTerminator());
  if (!yield || yield.getValues().size() != 1 || yield.getValues()[0].getType() != element)
    return emitOpError() << "expected the epilogue to yield one " << element;
  return success();
}

LogicalResult CombineOp::reifyResultShapes(OpBuilder &builder, ReifiedRankedShapedTypeDims &shapes) {
  reifyFromInit(builder, *this, getInit(), shapes);
  return success();
}

LogicalResult CombineOp::verify() {
  auto slots = getSlots().getType(), weights = getWeights().getType(), init = getInit().getType();
  if (getResult().getType() != init)
    return emitOpError("expected the result to have the type of the init");
  // C1: slots and weights are [tokens, slots].
  if (!compatible(slots.getDimSize(0), weights.getDimSize(0)) || !compatible(slots.getDimSize(1), weights.getDimSize(1)))
    return emitWithNote(*this, "expected slots and weights to have one shape", getWeights(),
                        "the weights are made here");
  // C2: one result row per token.
  if (!compatible(slots.getDimSize(0), init.getDimSize(0)))
    return emitWithNote(*this, "expected one result row per token", getSlots(), "the slots are made here");
  // C3: rows keep their width.
  if (!compatible(getRows().getType().getDimSize(1), init.getDimSize(1)))
    return emitWithNote(*this, "expected rows and init to have one width", getRows(), "the rows are made here");
  return success();
}
