//===- MoEInterfaces.td - Attribute interfaces of the moe dialect ----------===//
//
// A new router, score, normalisation or combination is one attribute that implements one of these
// interfaces. No pass lists them; passes ask the interface.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_IR_MOEINTERFACES_TD
#define MOE_DIALECT_MOE_IR_MOEINTERFACES_TD

include "mlir/IR/OpBase.td"

def MoE_ScoreAttrInterface : AttrInterface<"ScoreAttrInterface"> {
  let cppNamespace = "::mlir::moe";
  let description = [{
    How router logits become scores. `logits` and the result are `tensor<TxExf32>`. A score of one token never
    depends on another token.
  }];
  let methods = [
    InterfaceMethod<"Builds the scores of `logits` (`tensor<TxExf32>`), same type.", "::mlir::Value", "buildScores",
      (ins "::mlir::OpBuilder &":$builder, "::mlir::Location":$loc, "::mlir::Value":$logits)>,
  ];
}

def MoE_SelectionPolicyAttrInterface : AttrInterface<"SelectionPolicyAttrInterface"> {
  let cppNamespace = "::mlir::moe";
  let description = [{
    Which experts a token goes to. A policy sees the scores of all tokens (`tensor<TxExf32>`) and the parameters it
    asked for, and gives ids (`tensor<TxKxi32>`, -1: the slot is empty), K = slots. Methods with a default need only be
    written where the default is wrong.
  }];
  let methods = [
    InterfaceMethod<"Number of slots per token when there are `experts` experts.", "int64_t", "getSlots",
      (ins "int64_t":$experts)>,
    InterfaceMethod<[{
      Whether each token's choice depends on that token's scores and parameters alone. Only then may a pass reorder,
      tile, chunk or shard the tokens of the selection.}], "bool", "isTokenIndependent">,
    InterfaceMethod<[{
      Whether a slot may stay empty (id -1); `withOptional` says whether an optional parameter is given.}], "bool",
      "mayLeaveSlotsEmpty", (ins "bool":$withOptional)>,
    InterfaceMethod<"In plain words, what a token gets: 'the 2 experts with the highest scores'.", "std::string",
      "describe">,
    InterfaceMethod<[{
      Checks the policy against the number of experts; reports on `emitError` what is expected.}],
      "::llvm::LogicalResult", "verifyExperts",
      (ins "int64_t":$experts, "::llvm::function_ref<::mlir::InFlightDiagnostic()>":$emitError)>,
    InterfaceMethod<[{
      Builds the choice: {ids, weights}. Weights left out (a null value) are the scores of the chosen, without bias; a
      policy that computes weights of its own says so by `givesOwnWeights`.}],
      "std::pair<::mlir::Value, ::mlir::Value>", "buildSelection",
      (ins "::mlir::OpBuilder &":$builder, "::mlir::Location":$loc, "const ::mlir::moe::SelectionInput &":$input)>,
    InterfaceMethod<"The parameters that `moe.select` may or must give.",
      "::llvm::SmallVector<::mlir::moe::PolicyParameter>", "getParameters", (ins "int64_t":$experts),
      /*methodBody=*/"", /*defaultImplementation=*/[{ return {}; }]>,
    InterfaceMethod<"What happens when no expert qualifies, in plain words; empty: this cannot happen.",
      "::llvm::StringRef", "whenNothingQualifies", (ins), /*methodBody=*/"", /*defaultImplementation=*/[{ return ""; }]>,
    InterfaceMethod<[{
      Whether the policy can leave an expert out. Weights over the selected mean nothing where all are selected.}],
      "bool", "boundsSelection", (ins), /*methodBody=*/"", /*defaultImplementation=*/[{ return true; }]>,
    InterfaceMethod<[{
      Whether the weights come from the choice itself and are no scores: a bias or other weights then have no place.}],
      "bool", "givesOwnWeights", (ins), /*methodBody=*/"", /*defaultImplementation=*/[{ return false; }]>,
    InterfaceMethod<"Who wins among equals, in plain words.", "::llvm::StringRef", "describeTies", (ins),
      /*methodBody=*/"", /*defaultImplementation=*/[{
        return "of equal scores the lowest expert index comes first; NaN is below every number";
      }]>,
  ];
}

def MoE_NormalizationAttrInterface : AttrInterface<"NormalizationAttrInterface"> {
  let cppNamespace = "::mlir::moe";
  let description = [{
    What happens to the raw weights of the selected experts, `tensor<TxKxf32>` to the same type. `ids`
    (`tensor<TxKxi32>`) tells which slots are empty: their weight is 0 before; whatever it is after counts as 0.
  }];
  let methods = [
    InterfaceMethod<"Builds the final weights.", "::mlir::Value", "buildWeights",
      (ins "::mlir::OpBuilder &":$builder, "::mlir::Location":$loc, "::mlir::Value":$ids, "::mlir::Value":$weights)>,
    InterfaceMethod<"Whether a weight depends on which other experts were selected.", "bool", "isOverSelected", (ins),
      /*methodBody=*/"", /*defaultImplementation=*/[{ return true; }]>,
  ];
}

def MoE_CombineAttrInterface : AttrInterface<"CombineAttrInterface"> {
  let cppNamespace = "::mlir::moe";
  let description = [{
    How the rows that a token's experts give become one row. Everything is a scalar of the row's element type;
    slots are visited in ascending order, so the result never depends on the batch.
  }];
  let methods = [
    InterfaceMethod<"Adds one expert's element `value` with the slot's `weight` to `accumulator`.", "::mlir::Value",
      "buildAccumulate",
      (ins "::mlir::OpBuilder &":$builder, "::mlir::Location":$loc, "::mlir::Value":$accumulator,
           "::mlir::Value":$value, "::mlir::Value":$weight)>,
    InterfaceMethod<[{
      Whether each slot has columns of its own in the result, which is then as many times as wide as there are slots.}],
      "bool", "keepsSlotsApart", (ins), "", "return false;">,
  ];
}

def MoE_RecipeAttrInterface : AttrInterface<"RecipeAttrInterface"> {
  let cppNamespace = "::mlir::moe";
  let description = [{
    How one tensor of the program is made from named tensors of a checkpoint. Recipes are trees whose parts
    are streams; only a transposition holds what it turns, one entry of the outer dimensions that it leaves alone.
  }];
  let methods = [
    InterfaceMethod<"Shape and element type of the tensor the recipe makes.", "::mlir::RankedTensorType",
      "getTensorType">,
    InterfaceMethod<[{
      Makes the tensor, row major and little endian, and hands it to `sink` piece by piece, in order.}],
      "::llvm::Error", "write",
      (ins "::mlir::moe::TensorReader &":$reader,
           "::llvm::function_ref<::llvm::Error(::llvm::ArrayRef<char>)>":$sink)>,
  ];
}

#endif // MOE_DIALECT_MOE_IR_MOEINTERFACES_TD
