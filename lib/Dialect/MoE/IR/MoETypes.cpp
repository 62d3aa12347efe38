//===- MoETypes.cpp - Types of the moe dialect ----------------------------===//
//
// Parsing, printing and verification of !moe.routing and !moe.bank.
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/MoE/IR/MoE.h"

#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/CheckedArithmetic.h"

using namespace mlir;
using namespace mlir::moe;

#define GET_TYPEDEF_CLASSES
#include "moe/Dialect/MoE/IR/MoETypes.cpp.inc"

void MoEDialect::registerTypes() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "moe/Dialect/MoE/IR/MoETypes.cpp.inc"
      >();
}

//===----------------------------------------------------------------------===//
// RoutingType
//===----------------------------------------------------------------------===//

// Written by hand since `tokens x experts` is a dimension list, which the declarative format cannot say.
Type RoutingType::parse(AsmParser &parser) {
  SmallVector<int64_t> extents;
  int64_t tokens, experts, slots;
  Scope scope = Scope::token;
  if (parser.parseLess())
    return {};
  if (succeeded(parser.parseOptionalQuestion()))
    tokens = ShapedType::kDynamic;
  else if (parser.parseInteger(tokens))
    return {};
  SMLoc loc = parser.getCurrentLocation();
  StringRef separator;
  if (parser.parseKeyword(&separator) || separator != "x") {
    parser.emitError(loc, "expected 'TOKENS x EXPERTS' with spaces around 'x'");
    return {};
  }
  loc = parser.getCurrentLocation();
  if (succeeded(parser.parseOptionalQuestion())) {
    parser.emitError(loc, "expected a number of experts, got '?': experts that come later make another program");
    return {};
  }
  if (parser.parseInteger(experts) || parser.parseComma() || parser.parseKeyword("slots") || parser.parseEqual() ||
      parser.parseInteger(slots))
    return {};
  if (succeeded(parser.parseOptionalComma())) {
    StringRef word;
    if (parser.parseKeyword("scope") || parser.parseEqual())
      return {};
    loc = parser.getCurrentLocation();
    if (parser.parseKeyword(&word))
      return {};
    std::optional<Scope> parsed = symbolizeScope(word);
    if (!parsed) {
      parser.emitError(loc, "expected the scope to be token, sequence, request or batch, got '") << word << "'";
      return {};
    }
    scope = *parsed;
  }
  if (parser.parseGreater())
    return {};
  return parser.getChecked<RoutingType>(parser.getContext(), tokens, experts, slots, scope);
}

void RoutingType::print(AsmPrinter &printer) const {
  printer << '<';
  if (ShapedType::isDynamic(getTokens()))
    printer << '?';
  else
    printer << getTokens();
  printer << " x " << getExperts() << ", slots = " << getSlots();
  if (getScope() != Scope::token)
    printer << ", scope = " << stringifyScope(getScope());
  printer << '>';
}

LogicalResult RoutingType::verify(llvm::function_ref<InFlightDiagnostic()> emitError, int64_t tokens, int64_t experts,
                                  int64_t slots, Scope) {
  if (tokens < 0 && !ShapedType::isDynamic(tokens))
    return emitError() << "expected the number of tokens to be 0 or more, got " << tokens;
  if (experts < 1)
    return emitError() << "expected at least one expert, got " << experts;
  if (slots < 1)
    return emitError() << "expected at least one slot, got " << slots;
  // Ids are i32 and rows of a plan are counted in 64 bits.
  if (experts > (int64_t(1) << 31) - 1 || slots > (int64_t(1) << 31) - 1)
    return emitError() << "expected experts and slots to fit 31 bits";
  if (!ShapedType::isDynamic(tokens) && !llvm::checkedMul(tokens, slots))
    return emitError() << "expected tokens times slots to fit 63 bits, got "
                       << tokens << " and " << slots;
  return success();
}

RankedTensorType RoutingType::getIdsType() {
  return RankedTensorType::get({getTokens(), getSlots()}, IntegerType::get(getContext(), 32));
}

RankedTensorType RoutingType::getWeightsType() {
  return RankedTensorType::get({getTokens(), getSlots()}, Float32Type::get(getContext()));
}

//===----------------------------------------------------------------------===//
// BankType
//===----------------------------------------------------------------------===//

LogicalResult BankType::verify(llvm::function_ref<InFlightDiagnostic()> emitError,
                               ArrayRef<RankedTensorType> components) {
  if (components.empty())
    return emitError() << "expected a bank to have at least one component";
  for (RankedTensorType component : components) {
    if (!component.hasStaticShape() || component.getRank() < 1)
      return emitError() << "expected every component of a bank to have a static shape of rank 1 or more, got "
                         << component;
    if (component.getDimSize(0) != components.front().getDimSize(0))
      return emitError() << "expected all components of a bank to have the same number of experts, got "
                         << components.front().getDimSize(0) << " and " << component.getDimSize(0);
  }
  for (RankedTensorType component : components) {
    int64_t elements = 1;
    for (int64_t extent : component.getShape()) {
      std::optional<int64_t> product = llvm::checkedMul(elements, extent);
      if (!product)
        return emitError() << "expected the elements of a component to be "
                              "counted in 63 bits, got "
                           << component;
      elements = *product;
    }
  }
  if (components.front().getDimSize(0) < 1)
    return emitError() << "expected a bank to have at least one expert";
  return success();
}

SmallVector<Type> BankType::getExpertTypes() {
  return llvm::map_to_vector(getComponents(), [](RankedTensorType component) -> Type {
    return RankedTensorType::get(component.getShape().drop_front(), component.getElementType());
  });
}
