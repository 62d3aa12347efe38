//===- MoEOps.cpp - Operations of the moe dialect -------------------------===//
//
// Verification, type inference and result shapes; routings have a file of their own. Labels refer to docs/Spec.md.
//
//===----------------------------------------------------------------------===//

#include "Verification.h"

#include "moe/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/PatternMatch.h"
#include "llvm/Support/CheckedArithmetic.h"

using namespace mlir;
using namespace mlir::moe;

/// `name = %value : type, ...`.
static ParseResult parseNamedParameters(OpAsmParser &parser,
                                        SmallVectorImpl<OpAsmParser::UnresolvedOperand> &parameters,
                                        SmallVectorImpl<Type> &types, ArrayAttr &names) {
  SmallVector<Attribute> list;
  auto parseOne = [&]() -> ParseResult {
    std::string name;
    if (parser.parseKeywordOrString(&name) || parser.parseEqual() || parser.parseOperand(parameters.emplace_back()) ||
        parser.parseColonType(types.emplace_back()))
      return failure();
    list.push_back(parser.getBuilder().getStringAttr(name));
    return success();
  };
  if (parser.parseCommaSeparatedList(parseOne))
    return failure();
  names = parser.getBuilder().getArrayAttr(list);
  return success();
}

static void printNamedParameters(OpAsmPrinter &printer, Operation *, OperandRange parameters, TypeRange types,
                                 ArrayAttr names) {
  llvm::interleaveComma(llvm::zip_equal(names, parameters, types), printer, [&](auto parameter) {
    auto [name, value, type] = parameter;
    printer.printKeywordOrString(cast<StringAttr>(name).getValue());
    printer << " = " << value << " : " << type;
  });
}

/// The name of a case of an enumeration, without its attribute's brackets.
template <typename EnumAttr>
static ParseResult parseName(OpAsmParser &parser, EnumAttr &attribute) {
  using Enum = decltype(attribute.getValue());
  auto value = FieldParser<Enum, Enum>::parse(parser);
  if (failed(value))
    return failure();
  attribute = EnumAttr::get(parser.getContext(), *value);
  return success();
}

template <typename EnumAttr> static void printName(OpAsmPrinter &printer, Operation *, EnumAttr attribute) {
  printer << stringifyEnum(attribute.getValue());
}

#define GET_OP_CLASSES
#include "moe/Dialect/MoE/IR/MoEOps.cpp.inc"

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

LogicalResult PlanOp::verify() {
  // P2: rows are tokens.
  return verifyTokenScope(*this, getRouting());
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

/// M8: one vector per group, with one element per column.
static LogicalResult verifyGroupVectors(Operation *op, Value vectors, Value offsets, Value init) {
  auto type = cast<BankType>(vectors.getType());
  RankedTensorType data = type.getData();
  int64_t groups = cast<RankedTensorType>(offsets.getType()).getDimSize(0) - 1;
  int64_t columns = cast<RankedTensorType>(init.getType()).getDimSize(1);
  if (type.getComponents().size() != 1 || data.getRank() != 2 || !isa<FloatType>(data.getElementType()) ||
      data.getElementTypeBitWidth() > 32)
    return emitWithNote(op, "expected vectors of one component of rank 2 of f32, f16 or bf16", vectors,
                        "the vectors are made here");
  if (data.getDimSize(0) != groups || data.getDimSize(1) != columns) {
    InFlightDiagnostic diagnostic =
        emitWithNote(op,
                     "expected one vector of " + extent(columns) + " elements per group (" + Twine(groups) +
                         "), got " + Twine(data.getDimSize(0)) + " of " + Twine(data.getDimSize(1)),
                     vectors, "the vectors are made here");
    diagnostic.attachNote(offsets.getLoc()) << "the offsets are made here";
    return diagnostic;
  }
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
  for (Value vectors : getVectors())
    if (failed(verifyGroupVectors(*this, vectors, getOffsets(), getInit())))
      return failure();
  // M5: one result row per row, or per index.
  Value counted = getIndices() ? getIndices() : Value(getRows());
  if (!compatible(cast<RankedTensorType>(counted.getType()).getDimSize(0), getInit().getType().getDimSize(0)))
    return emitWithNote(*this, "expected one result row per row or index", counted, "they are made here");
  // M6: several banks, or vectors, need an epilogue.
  if (!hasEpilogue() && getBanks().size() + getVectors().size() != 1)
    return emitOpError("expected an epilogue that joins the products of the banks and the vectors");
  return success();
}

LogicalResult GroupedMatmulOp::verifyRegions() {
  if (!hasEpilogue())
    return success();
  Block &block = getEpilogue().front();
  Type element = getInit().getType().getElementType();
  // M7: one argument per bank and per vector, one value out.
  size_t expected = getBanks().size() + getVectors().size();
  if (block.getNumArguments() != expected ||
      llvm::any_of(block.getArgumentTypes(), [&](Type type) { return type != element; }))
    return emitOpError() << "expected the epilogue to take one " << element << " per bank and vector (" << expected
                         << ")";
  auto yield = dyn_cast<YieldOp>(block.getTerminator());
  if (!yield || yield.getValues().size() != 1 || yield.getValues()[0].getType() != element)
    return emitOpError() << "expected the epilogue to yield one " << element;
  return success();
}

LogicalResult FillGroupsOp::reifyResultShapes(OpBuilder &builder, ReifiedRankedShapedTypeDims &shapes) {
  reifyFromInit(builder, *this, getInit(), shapes);
  return success();
}

LogicalResult FillGroupsOp::verify() {
  if (getResult().getType() != getInit().getType())
    return emitOpError("expected the result to have the type of the init");
  // V1: a static number of groups.
  if (getOffsets().getType().isDynamicDim(0) || getOffsets().getType().getDimSize(0) < 2)
    return emitWithNote(*this, "expected a static number of offsets, groups + 1, at least 2", getOffsets(),
                        "the offsets are made here");
  // V2: the vectors are those of the groups.
  return verifyGroupVectors(*this, getVectors(), getOffsets(), getInit());
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
  // C5: rows are added up.
  if (getKind().keepsSlotsApart())
    return emitOpError() << "expected a kind that adds rows up, got " << getKind();
  return success();
}
