//===- EntryPoints.cpp - Record signatures of public functions ------------===//
//
// Implements moe-cpu-entry-points: names, roles and types of what the runtime passes and receives.
//
//===----------------------------------------------------------------------===//

#include "moe/CPU/Lowering/Passes.h"
#include "moe/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"

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
  if (auto shaped = dyn_cast<ShapedType>(type))
    return shaped.hasRank() && shaped.getRank() <= 8 && isPassableElement(shaped.getElementType());
  return type.isIndex();
}

static constexpr StringLiteral kPassable = "a tensor of rank 8 or less of i1, i8, i32, i64, f16, bf16, f32 or f64";

/// {name, role, type} and, of a ring, {window} of one argument or result whose attributes are `attributes`.
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
  return list.getDictionary(builder.getContext());
}

static LogicalResult recordSignature(func::FuncOp function) {
  Builder builder(function.getContext());
  SmallVector<Attribute> inputs, outputs;
  for (auto [i, type] : llvm::enumerate(function.getArgumentTypes())) {
    if (!isPassable(type))
      return function.emitError("expected argument ") << i << " of a public function to be " << kPassable
                                                      << ", or an index, got " << type;
    DictionaryAttr attributes = function.getArgAttrDict(i);
    inputs.push_back(describe(builder, attributes, type, "input" + Twine(i)));
    StringAttr role = cast<DictionaryAttr>(inputs.back()).getAs<StringAttr>("role");
    if (isa<TensorType>(type) && role.getValue() != "cache")
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

namespace {
struct EntryPointsPass : moe::impl::EntryPointsPassBase<EntryPointsPass> {
  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      // Loads of experts go to the runtime; nothing else is linked in.
      if (function.isExternal() && function.getName() != "moe_record_load") {
        function.emitError("expected a body for '") << function.getName() << "': programs link with no other code";
        return signalPassFailure();
      }
      if (function.isPublic() && !function.isExternal() && failed(recordSignature(function)))
        return signalPassFailure();
    }
  }
};
} // namespace
