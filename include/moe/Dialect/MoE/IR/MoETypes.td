//===- MoETypes.td - Types of the moe dialect ---------------*- tablegen -*-===//
//
// Routing as a first-class value, and expert weights as a tuple of tensors.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_IR_MOETYPES_TD
#define MOE_DIALECT_MOE_IR_MOETYPES_TD

include "moe/Dialect/MoE/IR/MoEBase.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/BuiltinTypeInterfaces.td"
include "mlir/IR/EnumAttr.td"

class MoE_Type<string name, string typeMnemonic, list<Trait> traits = []> : TypeDef<MoE_Dialect, name, traits> {
  let mnemonic = typeMnemonic;
}

def MoE_Scope : I32EnumAttr<"Scope", "at which level a routing was decided", [
    I32EnumAttrCase<"token", 0>, I32EnumAttrCase<"sequence", 1>, I32EnumAttrCase<"request", 2>,
    I32EnumAttrCase<"batch", 3>]> {
  let cppNamespace = "::mlir::moe";
  let genSpecializedAttr = 0;
}

def MoE_ScopeAttr : EnumAttr<MoE_Dialect, MoE_Scope, "scope"> {
  let assemblyFormat = "`<` $value `>`";
}

def MoE_RoutingType : MoE_Type<"Routing", "routing"> {
  let summary = "which experts each token goes to, and with which weight";
  let description = [{
    A routing of `tokens` tokens over `experts` experts with at most `slots` experts a token. It consists of ids
    (`tensor<tokens x slots x i32>`; -1 marks an empty slot) and weights (`tensor<tokens x slots x f32>`, 0 where the
    slot is empty); `moe.make_routing` and `moe.routing_parts` convert. `scope` says whether one decision stands for
    a token, a whole sequence, a request or the batch.

    ```mlir
    !moe.routing<? x 8, slots = 2>
    !moe.routing<16 x 64, slots = 8, scope = sequence>
    ```
  }];
  let parameters = (ins "int64_t":$tokens, "int64_t":$experts, "int64_t":$slots, "::mlir::moe::Scope":$scope);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// `tensor<tokens x slots x i32>`.
    ::mlir::RankedTensorType getIdsType();
    /// `tensor<tokens x slots x f32>`.
    ::mlir::RankedTensorType getWeightsType();
  }];
}

def MoE_BankType : MoE_Type<"Bank", "bank"> {
  let summary = "one weight of every expert: a tuple of tensors whose first extent is the expert";
  let description = [{
    A plain bank has one component; a quantised bank has more (data, scales, zero points). The first extent of each
    component is the number of experts E. The main component is `[E, N, K]` (row n holds the K weights of output n,
    as checkpoints store it) or, packed for kernels, `[E, ceil(N / W), K, W]`: panels of W outputs, zero-padded.

    ```mlir
    !moe.bank<tensor<8x96x64xbf16>>
    !moe.bank<tensor<8x96x64xi8>, tensor<8x96x2xf16>>
    ```
  }];
  let parameters = (ins ArrayRefParameter<"::mlir::RankedTensorType">:$components);
  let assemblyFormat = "`<` $components `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    int64_t getExperts() { return getComponents().front().getDimSize(0); }
    ::mlir::RankedTensorType getData() { return getComponents().front(); }
    /// Whether the main component is in panels: `[E, panels, K, width]`.
    bool isPacked() { return getData().getRank() == 4; }
    /// Types of the components for one expert, without the first extent: what a body region gets.
    ::llvm::SmallVector<::mlir::Type> getExpertTypes();
  }];
}

#endif // MOE_DIALECT_MOE_IR_MOETYPES_TD
