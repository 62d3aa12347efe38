//===- MoEBase.td - The moe dialect -------------------------*- tablegen -*-===//
//
// Defines the dialect itself; types, attributes, interfaces and operations have files of their own.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_IR_MOEBASE_TD
#define MOE_DIALECT_MOE_IR_MOEBASE_TD

include "mlir/IR/OpBase.td"
include "mlir/IR/EnumAttr.td"

def MoE_Dialect : Dialect {
  let name = "moe";
  let cppNamespace = "::mlir::moe";
  let summary = "Mixture-of-Experts models: routing, expert dispatch, ragged groups, weighted return";
  let description = [{
    The dialect says what the upstream dialects cannot: which expert a token goes to (`moe.select` and the
    `!moe.routing` value it makes), what one expert computes (`moe.experts` and its body region), matrix products
    over ragged groups of rows (`moe.grouped_matmul`) and the weighted return to the tokens (`moe.combine`).
    Everything else of a model is `linalg`, `tensor`, `arith`, `math` and `scf`.

    There are two altitudes. *What*: `moe.select` and `moe.experts`, which importers and people write. *How*:
    `moe.plan`, `moe.gather`, `moe.grouped_matmul` and `moe.combine` over plain offset tensors, which the optimiser
    makes and fuses. All operations work on tensors and are gone before bufferisation.
  }];
  let dependentDialects = [
    "arith::ArithDialect", "linalg::LinalgDialect", "math::MathDialect", "scf::SCFDialect", "tensor::TensorDialect"
  ];
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
  let hasOperationAttrVerify = 1;
  let hasRegionArgAttrVerify = 1;
  let hasRegionResultAttrVerify = 1;
  let extraClassDeclaration = [{
    void registerTypes();
    void registerAttributes();

    /// Discardable attributes the compiler understands; see docs/Spec.md, "Attributes of functions and modules".
    static constexpr llvm::StringLiteral kNameAttr = "moe.name";
    static constexpr llvm::StringLiteral kRoleAttr = "moe.role";
    static constexpr llvm::StringLiteral kWindowAttr = "moe.window";
    static constexpr llvm::StringLiteral kExtentsAttr = "moe.extents";
    static constexpr llvm::StringLiteral kOffsetAttr = "moe.offset";
    static constexpr llvm::StringLiteral kTargetAttr = "moe.target";
    static constexpr llvm::StringLiteral kDeviceAttr = "moe.device";
    static constexpr llvm::StringLiteral kParametersAttr = "moe.parameters";
    static constexpr llvm::StringLiteral kSharedBytesAttr = "moe.shared_bytes";
    static constexpr llvm::StringLiteral kKeepMathAttr = "moe.keep_math";
    static constexpr llvm::StringLiteral kLanguageModelAttr = "moe.language_model";
    static constexpr llvm::StringLiteral kSummaryAttr = "moe.summary";
    static constexpr llvm::StringLiteral kSignatureAttr = "moe.signature";
    static constexpr llvm::StringLiteral kWeightsSizeAttr = "moe.weights_size";
  }];
}

#endif // MOE_DIALECT_MOE_IR_MOEBASE_TD
