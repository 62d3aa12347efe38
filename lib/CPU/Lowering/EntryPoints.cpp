//===- EntryPoints.cpp - Record signatures of public functions ------------===//
//
// Implements moe-cpu-entry-points: names, roles and types of what the runtime passes and receives.
//
//===----------------------------------------------------------------------===//

#include "moe/CPU/Lowering/Passes.h"
#include "moe/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/IR/SymbolTable.h"
#include "llvm/ADT/SetVector.h"

namespace mlir::moe {
#define GEN_PASS_DEF_ENTRYPOINTSPASS
#include "moe/CPU/Lowering/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

/// The element types of the runtime's tensors.
static bool isPassableElement(Type type) {
  return type.isInteger(1) || type.isInteger(8) || type.isInteger(32) || type.isInteger(64) || type.isF16() ||
         type.isBF16() || type.isF32() || type.isF64();
}

static bool isPassable(Type type) {
  if (auto shaped = dyn_cast<ShapedType>(type); shaped && !isa<VectorType>(type))
    return shaped.hasRank() && shaped.getRank() <= 8 && isPassableElement(shaped.getElementType());
  return type.isIndex();
}

static constexpr StringLiteral kPassable = "a tensor of rank 8 or less of i1, i8, i32, i64, f16, bf16, f32 or f64";

/// {name, role, type} and, where there are, {window} and {extents} of one argument or result whose attributes are `attributes`.
static DictionaryAttr describe(Builder &builder, DictionaryAttr attributes, Type type, const Twine &fallback) {
  StringAttr name, role;
  if (attributes) {
    name = attributes.getAs<StringAttr>(MoEDialect::kNameAttr);
    role = attributes.getAs<StringAttr>(MoEDialect::kRoleAttr);
  }
  if (!name)
    name = builder.getStringAttr(fallback);
  if (!role)
    role = builder.getStringAttr("data");
  NamedAttrList list;
  list.append("name", name);
  list.append("role", role);
  list.append("type", TypeAttr::get(type));
  if (Attribute window = attributes ? attributes.get(MoEDialect::kWindowAttr) : Attribute())
    list.append("window", window);
  if (Attribute extents = attributes ? attributes.get(MoEDialect::kExtentsAttr) : Attribute())
    list.append("extents", extents);
  return list.getDictionary(builder.getContext());
}

/// A step of decoding updates its state in place.
static bool isDecodeStep(func::FuncOp function) {
  return llvm::any_of(llvm::seq(function.getNumArguments()), [&](unsigned i) {
    auto role = function.getArgAttrOfType<StringAttr>(i, MoEDialect::kRoleAttr);
    return role && role.getValue() == "stop";
  });
}

static LogicalResult recordSignature(func::FuncOp function) {
  Builder builder(function.getContext());
  SmallVector<Attribute> inputs, outputs;
  bool writable = isDecodeStep(function);
  for (auto [i, type] : llvm::enumerate(function.getArgumentTypes())) {
    if (!isPassable(type))
      return function.emitError("expected argument ") << i << " of a public function to be " << kPassable
                                                      << ", or an index, got " << type;
    DictionaryAttr attributes = function.getArgAttrDict(i);
    inputs.push_back(describe(builder, attributes, type, "input" + Twine(i)));
    StringAttr role = cast<DictionaryAttr>(inputs.back()).getAs<StringAttr>("role");
    if (isa<TensorType>(type) && role.getValue() != "cache" && !writable)
      function.setArgAttr(i, bufferization::BufferizationDialect::kWritableAttrName, builder.getBoolAttr(false));
  }
  for (auto [i, type] : llvm::enumerate(function.getResultTypes())) {
    if (!isPassable(type) || type.isIndex())
      return function.emitError("expected result ") << i << " of a public function to be " << kPassable
                                                    << ", got " << type;
    outputs.push_back(describe(builder, function.getResultAttrDict(i), type, "result" + Twine(i)));
  }
  function->setAttr(MoEDialect::kSignatureAttr,
                    builder.getDictionaryAttr({builder.getNamedAttr("inputs", builder.getArrayAttr(inputs)),
                                               builder.getNamedAttr("outputs", builder.getArrayAttr(outputs))}));
  return success();
}

/// Loads of experts go to the runtime; nothing else is linked in. Names of the runtime are not to be taken.
static LogicalResult checkName(func::FuncOp function) {
  StringRef name = function.getName();
  if (function.isExternal() && name == "moe_record_load")
    return success();
  if (function.isExternal())
    return function.emitError("expected a body for '") << name << "': programs link with no other code";
  if (name.empty())
    return function.emitError("expected a function to have a name");
  for (StringRef prefix : {"moe_", "omp_", "_mlir_"})
    if (name.starts_with(prefix))
      return function.emitError("expected the name of a function not to begin with '")
             << prefix << "', which is for the runtime; got '" << name << "'";
  return success();
}

/// Every call would need a stack of its own, and how deep it goes is up to the data.
static LogicalResult checkRecursion(ModuleOp module) {
  SymbolTable symbols(module);
  // Functions leave when all that they call has left: what stays calls itself.
  llvm::DenseMap<Operation *, llvm::SetVector<Operation *>> callers;
  llvm::DenseMap<Operation *, unsigned> open;
  SmallVector<Operation *> done;
  for (auto function : module.getOps<func::FuncOp>()) {
    llvm::SetVector<Operation *> callees;
    function.walk([&](func::CallOp call) {
      if (auto callee = symbols.lookup<func::FuncOp>(call.getCallee()))
        callees.insert(callee);
    });
    for (Operation *callee : callees)
      callers[callee].insert(function);
    open[function] = callees.size();
    if (callees.empty())
      done.push_back(function);
  }
  while (!done.empty())
    for (Operation *caller : callers[done.pop_back_val()])
      if (--open[caller] == 0)
        done.push_back(caller);
  for (auto function : module.getOps<func::FuncOp>())
    if (open[function])
      return function.emitError("expected no function to call itself, be it through others; '")
             << function.getName() << "' does or calls one that does";
  return success();
}

/// The one value of `signature` with that role must have `type`.
static LogicalResult checkRole(func::FuncOp forward, ArrayAttr values, StringRef role, Type type) {
  SmallVector<Type> found;
  for (DictionaryAttr value : values.getAsRange<DictionaryAttr>())
    if (value.getAs<StringAttr>("role").getValue() == role)
      found.push_back(value.getAs<TypeAttr>("type").getValue());
  if (found.size() == 1 && found.front() == type)
    return success();
  InFlightDiagnostic diagnostic = forward.emitError("expected 'forward' of a language model to have one value with the role '");
  diagnostic << role << "' and the type " << type << ", got ";
  if (found.size() == 1)
    return diagnostic << found.front();
  return diagnostic << found.size();
}

/// The runtime finds the parts of a language model by their roles.
static LogicalResult checkLanguageModel(ModuleOp module) {
  auto model = module->getAttrOfType<DictionaryAttr>(MoEDialect::kLanguageModelAttr);
  if (!model)
    return success();
  auto forward = module.lookupSymbol<func::FuncOp>("forward");
  auto signature = forward ? forward->getAttrOfType<DictionaryAttr>(MoEDialect::kSignatureAttr) : DictionaryAttr();
  if (!signature)
    return module.emitError("expected a language model to have a public function 'forward'");
  auto inputs = signature.getAs<ArrayAttr>("inputs"), outputs = signature.getAs<ArrayAttr>("outputs");
  Builder builder(module.getContext());
  auto numbers = RankedTensorType::get({ShapedType::kDynamic}, builder.getI32Type());
  for (StringRef role : {"tokens", "positions", "sequences"})
    if (failed(checkRole(forward, inputs, role, numbers)))
      return failure();
  auto logits = RankedTensorType::get({ShapedType::kDynamic, model.getAs<IntegerAttr>("vocabulary").getInt()},
                                      builder.getF32Type());
  return success(succeeded(checkRole(forward, inputs, "first_row", builder.getIndexType())) &&
                 succeeded(checkRole(forward, outputs, "logits", logits)));
}

namespace {
struct EntryPointsPass : moe::impl::EntryPointsPassBase<EntryPointsPass> {
  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      if (failed(checkName(function)))
        return signalPassFailure();
      if (function.isPublic() && !function.isExternal() && failed(recordSignature(function)))
        return signalPassFailure();
    }
    if (failed(checkRecursion(getOperation())) || failed(checkLanguageModel(getOperation())))
      return signalPassFailure();
  }
};
} // namespace
