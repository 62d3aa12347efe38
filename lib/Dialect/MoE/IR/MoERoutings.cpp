//===- MoERoutings.cpp - Operations that make and change routings ---------===//
//
// Verification and type inference of select, limit, reweigh, spread, make_routing and routing_parts.
//
//===----------------------------------------------------------------------===//

#include "Verification.h"

#include "moe/Dialect/MoE/IR/MoE.h"

#include "mlir/IR/OpImplementation.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace mlir::moe;

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
  auto type = RoutingType::getChecked(emitError, context, logits.getDimSize(0), experts, policy.getSlots(experts),
                                      adaptor.getScope());
  if (!type)
    return failure();
  types.push_back(type);
  return success();
}

/// The specification of the parameter called `name`, or nothing.
static std::optional<PolicyParameter> findParameter(ArrayRef<PolicyParameter> known, StringRef name) {
  const auto *found = llvm::find_if(known, [&](const PolicyParameter &parameter) { return parameter.name == name; });
  return found == known.end() ? std::nullopt : std::optional(*found);
}

static Type getElementType(MLIRContext *context, PolicyParameter::Element element) {
  switch (element) {
  case PolicyParameter::Element::f32:
    return Float32Type::get(context);
  case PolicyParameter::Element::i32:
    return IntegerType::get(context, 32);
  case PolicyParameter::Element::index:
    return IndexType::get(context);
  }
  llvm_unreachable("all kinds of elements are listed");
}

/// Whether a parameter may have this type when there are `tokens` tokens.
static bool accepts(const PolicyParameter &parameter, RankedTensorType type, int64_t tokens) {
  if (type.getElementType() != getElementType(type.getContext(), parameter.element) ||
      type.getRank() != int64_t(parameter.shape.size()))
    return false;
  return llvm::all_of(llvm::zip(parameter.shape, type.getShape()), [&](auto pair) {
    auto [expected, got] = pair;
    return expected == PolicyParameter::kAny || got == 1 ||
           compatible(got, expected == PolicyParameter::kTokens ? tokens : expected);
  });
}

/// The type of a parameter as an error names it.
static std::string describeType(MLIRContext *context, const PolicyParameter &parameter, int64_t tokens) {
  std::string text;
  llvm::raw_string_ostream out(text);
  out << "tensor<";
  for (int64_t expected : parameter.shape) {
    if (expected == PolicyParameter::kAny)
      out << '?';
    else
      out << extent(expected == PolicyParameter::kTokens ? tokens : expected);
    out << 'x';
  }
  out << getElementType(context, parameter.element) << ">";
  if (llvm::any_of(parameter.shape, [](int64_t expected) { return expected != PolicyParameter::kAny && expected != 1; }))
    out << " (or an extent of 1 that stands for all)";
  return text;
}

LogicalResult SelectOp::verifyParameters(int64_t experts) {
  SmallVector<PolicyParameter> known = getPolicy().getParameters(experts);
  size_t names = getParameterNames() ? getParameterNames()->size() : 0;
  if (names != getParameters().size())
    return emitOpError() << "expected one name per parameter, got " << names << " for " << getParameters().size();
  llvm::StringSet<> given;
  for (size_t index = 0; index < names; ++index) {
    StringRef name = cast<StringAttr>((*getParameterNames())[index]).getValue();
    Value value = getParameters()[index];
    if (!given.insert(name).second)
      return emitOpError() << "expected each parameter once, got '" << name << "' twice";
    std::optional<PolicyParameter> parameter = findParameter(known, name);
    if (!parameter) {
      InFlightDiagnostic diagnostic = emitWithNote(*this, "expected no parameter '" + name + "'", value, "it is made here");
      diagnostic.attachNote(getLoc()) << getPolicy() << " does not read it";
      if (name == "capacity" && getPolicy().isTokenIndependent())
        diagnostic.attachNote(getLoc()) << "a capacity counts the tokens of an expert, but this policy decides each token "
                                           "alone; apply moe.limit to the routing";
      return diagnostic;
    }
    auto type = cast<RankedTensorType>(value.getType());
    int64_t tokens = getLogits().getType().getDimSize(0);
    if (!accepts(*parameter, type, tokens)) {
      InFlightDiagnostic diagnostic = emitOpError() << "expected parameter '" << name << "' to be "
                                                    << describeType(getContext(), *parameter, tokens) << ", got " << type;
      diagnostic.attachNote(value.getLoc()) << "it is made here";
      return diagnostic;
    }
  }
  for (const PolicyParameter &parameter : known)
    if (parameter.required && !given.contains(parameter.name))
      return emitOpError() << "expected parameter '" << parameter.name << "', which " << getPolicy() << " reads";
  return success();
}

bool SelectOp::isPerToken(OpOperand &operand) {
  if (operand.get() == getLogits() || operand.get() == getWeigh())
    return true;
  for (auto [index, value] : llvm::enumerate(getParameters())) {
    if (operand.get() != value)
      continue;
    StringRef name = cast<StringAttr>((*getParameterNames())[index]).getValue();
    int64_t experts = getLogits().getType().getDimSize(1);
    auto parameter = findParameter(getPolicy().getParameters(experts), name);
    return parameter->shape.front() == PolicyParameter::kTokens &&
           cast<RankedTensorType>(value.getType()).getDimSize(0) != 1;
  }
  return false;
}

SelectionInput SelectOp::getInput(Value scores, ValueRange parameters) {
  SelectionInput input = {scores, {}};
  for (auto [index, value] : llvm::enumerate(parameters))
    input.parameters.emplace_back(cast<StringAttr>((*getParameterNames())[index]).getValue(), value);
  return input;
}

bool SelectOp::mayLeaveSlotsEmpty() {
  int64_t experts = getLogits().getType().getDimSize(1);
  bool optional = llvm::any_of(getPolicy().getParameters(experts), [&](const PolicyParameter &parameter) {
    return !parameter.required && getInput({}, getParameters()).lookup(parameter.name);
  });
  return getPolicy().mayLeaveSlotsEmpty(optional);
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
  // S5: what weighs has the shape of the logits.
  if (Value weigh = getWeigh()) {
    auto type = cast<RankedTensorType>(weigh.getType());
    if (!compatible(type.getDimSize(0), getLogits().getType().getDimSize(0)) || !compatible(type.getDimSize(1), experts))
      return emitWithNote(*this, "expected 'weigh' to have the shape of the logits", weigh, "it is made here");
  }
  // S6: the policy gets the parameters it reads, and no others.
  if (failed(verifyParameters(experts)))
    return failure();
  // S7: a policy that gives weights of its own is given none.
  if (getPolicy().givesOwnWeights() && (getBias() || getWeigh())) {
    InFlightDiagnostic diagnostic = emitWithNote(*this, Twine("expected no ") + (getBias() ? "bias" : "'weigh'"),
                                                 getBias() ? getBias() : getWeigh(), "it is made here");
    diagnostic.attachNote(getLoc()) << getPolicy() << " weighs its choice itself, by the scores it chooses from";
    return diagnostic;
  }
  // S8: weights over the selected need a selection.
  if (getNormalization().isOverSelected() && !getPolicy().boundsSelection()) {
    InFlightDiagnostic diagnostic = emitOpError() << "expected weights that do not depend on what is selected";
    diagnostic.attachNote(getLoc()) << getNormalization() << " weighs over the selected experts";
    diagnostic.attachNote(getLoc()) << getPolicy() << " selects every expert: nothing bounds the selection";
    return diagnostic;
  }
  return success();
}

//===----------------------------------------------------------------------===//
// LimitOp, ReweighOp, SpreadOp
//===----------------------------------------------------------------------===//

LogicalResult LimitOp::verify() {
  RoutingType routing = getRouting().getType();
  // L1: tokens are counted, so there must be one decision per token.
  if (routing.getScope() != Scope::token) {
    InFlightDiagnostic diagnostic =
        emitWithNote(*this, "expected a routing with one decision per token, got one per " +
                                Twine(stringifyScope(routing.getScope())),
                     getRouting(), "it is decided here");
    diagnostic.attachNote(getLoc()) << "a capacity counts tokens; give each token its decision first (moe.spread)";
    return diagnostic;
  }
  // L2: one group per token.
  if (Value groups = getGroups()) {
    if (!compatible(cast<RankedTensorType>(groups.getType()).getDimSize(0), routing.getTokens()))
      return emitWithNote(*this, "expected one group per token of the routing (" + Twine(extent(routing.getTokens())) + ")",
                          groups, "the groups are made here");
    return success();
  }
  // L3: one capacity, or groups that say which.
  if (!compatible(getCapacity().getType().getDimSize(0), 1))
    return emitWithNote(*this, "expected one capacity without groups, got " +
                                   Twine(getCapacity().getType().getDimSize(0)),
                        getCapacity(), "the capacity is made here");
  return success();
}

LogicalResult ReweighOp::verify() {
  // W1: the scale is a number.
  if (!getScale().isFinite())
    return emitOpError("expected the scale to be finite");
  return success();
}

LogicalResult SpreadOp::inferReturnTypes(MLIRContext *context, std::optional<Location> location, ValueRange operands,
                                         DictionaryAttr, OpaqueProperties, RegionRange, SmallVectorImpl<Type> &types) {
  auto routing = dyn_cast<RoutingType>(operands[0].getType());
  auto rows = dyn_cast<RankedTensorType>(operands[1].getType());
  if (!routing || !rows || rows.getRank() != 1)
    return emitOptionalError(location, "'moe.spread' op expected a routing and a row per token");
  auto emitError = [&] {
    return mlir::emitError(location.value_or(UnknownLoc::get(context))) << "'moe.spread' op ";
  };
  auto type = RoutingType::getChecked(emitError, context, rows.getDimSize(0), routing.getExperts(), routing.getSlots(),
                                      Scope::token);
  if (!type)
    return failure();
  types.push_back(type);
  return success();
}

LogicalResult SpreadOp::verify() {
  // P1: what is decided per token already has nothing to spread.
  if (getRouting().getType().getScope() == Scope::token)
    return emitWithNote(*this, "expected a routing with one decision per sequence, request or batch", getRouting(),
                        "this one has one per token");
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
