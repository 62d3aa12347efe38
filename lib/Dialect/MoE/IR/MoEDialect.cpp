//===- MoEDialect.cpp - The moe dialect -----------------------------------===//
//
// Registers the dialect's parts and verifies its discardable attributes.
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/DialectImplementation.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "llvm/ADT/StringSwitch.h"

using namespace mlir;
using namespace mlir::moe;

#include "moe/Dialect/MoE/IR/MoEDialect.cpp.inc"
#include "moe/Dialect/MoE/IR/MoEEnums.cpp.inc"

#include "moe/Dialect/MoE/IR/MoEAttrInterfaces.cpp.inc"

void MoEDialect::initialize() {
  registerTypes();
  registerAttributes();
  addOperations<
#define GET_OP_LIST
#include "moe/Dialect/MoE/IR/MoEOps.cpp.inc"
      >();
}

/// The roles a function's argument or result can have; see docs/Spec.md.
static bool isKnownRole(StringRef role) {
  return llvm::StringSwitch<bool>(role)
      .Cases({"data", "parameters", "tokens", "positions", "sequences"}, true)
      .Cases({"first_row", "cache", "logits", "stop"}, true)
      .Default(false);
}

/// Verifies `moe.name`, `moe.role`, `moe.window` and `moe.extents` on an argument or a result of a function.
static LogicalResult verifyValueAttribute(Operation *op, NamedAttribute attribute) {
  auto text = dyn_cast<StringAttr>(attribute.getValue());
  if (attribute.getName() == MoEDialect::kNameAttr)
    return text ? success() : op->emitError("expected 'moe.name' to be a string");
  if (attribute.getName() == MoEDialect::kRoleAttr) {
    if (!text || !isKnownRole(text))
      return op->emitError("expected 'moe.role' to be one of data, parameters, tokens, positions, sequences, "
                           "first_row, cache, logits, stop; got ")
             << attribute.getValue();
    return success();
  }
  if (attribute.getName() == MoEDialect::kWindowAttr) {
    auto window = dyn_cast<IntegerAttr>(attribute.getValue());
    if (!window || !window.getType().isInteger(64) || window.getInt() < 1 || window.getInt() > INT32_MAX)
      return op->emitError("expected 'moe.window' to be a number of positions from 1 to 2147483647 (i64); got ")
             << attribute.getValue();
    return success();
  }
  if (attribute.getName() == MoEDialect::kExtentsAttr) {
    auto numbers = dyn_cast<DenseI64ArrayAttr>(attribute.getValue());
    if (!numbers || llvm::any_of(numbers.asArrayRef(), [](int64_t n) { return n < 0 || n > INT32_MAX; }))
      return op->emitError("expected 'moe.extents' to be numbers from 0 to 2147483647, array<i64: ...>; got ")
             << attribute.getValue();
    return success();
  }
  return op->emitError("unknown attribute '")
         << attribute.getName().getValue() << "' on an argument or a result";
}

LogicalResult MoEDialect::verifyRegionArgAttribute(Operation *op, unsigned, unsigned, NamedAttribute attribute) {
  return verifyValueAttribute(op, attribute);
}

LogicalResult MoEDialect::verifyRegionResultAttribute(Operation *op, unsigned, unsigned, NamedAttribute attribute) {
  return verifyValueAttribute(op, attribute);
}

/// Verifies `moe.language_model`: the entries that the runtime is told. Lists may be left out.
static LogicalResult verifyLanguageModel(Operation *op, DictionaryAttr model) {
  int64_t vocabulary = 0;
  for (StringRef name : {"vocabulary", "max_context"}) {
    auto number = model.getAs<IntegerAttr>(name);
    if (!number || !number.getType().isInteger(64) || number.getInt() < 1 || number.getInt() > INT32_MAX)
      return op->emitError("expected '") << name << "' of 'moe.language_model' to be an i64 of 1 to 2147483647";
    if (name == "vocabulary")
      vocabulary = number.getInt();
  }
  for (StringRef name : {"eos", "moe_layers"}) {
    if (!model.contains(name))
      continue;
    auto numbers = model.getAs<DenseI32ArrayAttr>(name);
    if (!numbers)
      return op->emitError("expected '") << name << "' of 'moe.language_model' to be an array<i32: ...>";
    int64_t limit = name == "eos" ? vocabulary : INT32_MAX;
    if (!llvm::all_of(numbers.asArrayRef(), [&](int32_t number) { return number >= 0 && number < limit; }))
      return op->emitError("expected '") << name << "' of 'moe.language_model' to hold numbers from 0 to " << limit - 1;
  }
  for (NamedAttribute entry : model)
    if (!llvm::is_contained({"vocabulary", "max_context", "eos", "moe_layers"}, entry.getName().getValue()))
      return op->emitError("unknown entry '") << entry.getName().getValue() << "' of 'moe.language_model'";
  return success();
}

LogicalResult MoEDialect::verifyOperationAttribute(Operation *op, NamedAttribute attribute) {
  StringRef name = attribute.getName();
  if (name == kTargetAttr) {
    if (!isa<CPUTargetAttr>(attribute.getValue()))
      return op->emitError("expected 'moe.target' to be a #moe.cpu attribute");
    return success();
  }
  if (name == kDeviceAttr) {
    if (!isa<GPUTargetAttr>(attribute.getValue()))
      return op->emitError("expected 'moe.device' to be a #moe.gpu attribute");
    return success();
  }
  if (name == kOffsetAttr || name == kWeightsSizeAttr || name == kSharedBytesAttr) {
    auto offset = dyn_cast<IntegerAttr>(attribute.getValue());
    if (!offset || !offset.getType().isInteger(64) || offset.getInt() < 0)
      return op->emitError("expected '") << name << "' to be a number of bytes (i64)";
    return success();
  }
  if (name == kLanguageModelAttr || name == kSignatureAttr) {
    auto entries = dyn_cast<DictionaryAttr>(attribute.getValue());
    if (!entries)
      return op->emitError("expected '") << name << "' to be a dictionary";
    return name == kLanguageModelAttr ? verifyLanguageModel(op, entries) : success();
  }
  if (name == kParametersAttr) {
    if (!isa<DenseI32ArrayAttr>(attribute.getValue()))
      return op->emitError("expected 'moe.parameters' to be the sizes of a kernel's parameters, array<i32: ...>");
    return success();
  }
  if (name == kKeepMathAttr) {
    if (!isa<UnitAttr>(attribute.getValue()))
      return op->emitError("expected 'moe.keep_math' to have no value");
    return success();
  }
  if (name == kSummaryAttr) {
    if (!isa<StringAttr>(attribute.getValue()))
      return op->emitError("expected 'moe.summary' to be a string");
    return success();
  }
  return op->emitError("unknown attribute '") << name << "'";
}
