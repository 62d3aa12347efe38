//===- MoEAttrs.td - Attributes of the moe dialect ----------*- tablegen -*-===//
//
// Policies, scores, normalisations and combinations (each behind its interface), recipes for weights,
// and the facts about the target.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_IR_MOEATTRS_TD
#define MOE_DIALECT_MOE_IR_MOEATTRS_TD

include "moe/Dialect/MoE/IR/MoEBase.td"
include "moe/Dialect/MoE/IR/MoEInterfaces.td"
include "mlir/IR/AttrTypeBase.td"

class MoE_Attr<string name, string attrMnemonic, list<Trait> traits = []> : AttrDef<MoE_Dialect, name, traits> {
  let mnemonic = attrMnemonic;
}

//===----------------------------------------------------------------------===//
// Scores
//===----------------------------------------------------------------------===//

class MoE_Score<string name, string attrMnemonic> : MoE_Attr<name, attrMnemonic,
    [DeclareAttrInterfaceMethods<MoE_ScoreAttrInterface>]>;

def MoE_SoftmaxAttr : MoE_Score<"Softmax", "softmax"> {
  let summary = "softmax over all experts of a token";
  let description = "`score[e] = exp(x[e] - max x) / sum exp(x - max x)`, in f32.";
}
def MoE_SigmoidAttr : MoE_Score<"Sigmoid", "sigmoid"> {
  let summary = "the logistic function of each logit";
  let description = "`score[e] = 1 / (1 + exp(-x[e]))`, in f32.";
}
def MoE_IdentityAttr : MoE_Score<"Identity", "identity"> {
  let summary = "the logits themselves";
}

//===----------------------------------------------------------------------===//
// Selection policies
//===----------------------------------------------------------------------===//

class MoE_Policy<string name, string attrMnemonic> : MoE_Attr<name, attrMnemonic,
    [DeclareAttrInterfaceMethods<MoE_SelectionPolicyAttrInterface>]>;

def MoE_TopKAttr : MoE_Policy<"TopK", "top_k"> {
  let summary = "the k highest scores of each token";
  let description = [{
    Slots hold the k experts with the highest scores, in descending order; of equal scores the lowest expert index
    comes first; NaN counts as lower than every number. The raw weight is the score. `#moe.top_k<2>`.
  }];
  let parameters = (ins "int64_t":$k);
  let assemblyFormat = "`<` $k `>`";
  let genVerifyDecl = 1;
}

//===----------------------------------------------------------------------===//
// Normalisations of the selected weights
//===----------------------------------------------------------------------===//

class MoE_Normalization<string name, string attrMnemonic> : MoE_Attr<name, attrMnemonic,
    [DeclareAttrInterfaceMethods<MoE_NormalizationAttrInterface>]>;

def MoE_KeepAttr : MoE_Normalization<"Keep", "keep"> {
  let summary = "the raw weights, unchanged";
}
def MoE_SumToOneAttr : MoE_Normalization<"SumToOne", "sum_to_one"> {
  let summary = "each weight divided by the sum of the token's weights";
  let description = [{`w[s] / (sum over slots, ascending, of w + epsilon)`. `#moe.sum_to_one`, `#moe.sum_to_one<epsilon = 1.0e-20 : f32>`.}];
  let parameters = (ins OptionalParameter<"::mlir::FloatAttr">:$epsilon);
  let assemblyFormat = "(`<` struct($epsilon)^ `>`)?";
  let genVerifyDecl = 1;
}
def MoE_SoftmaxSelectedAttr : MoE_Normalization<"SoftmaxSelected", "softmax_selected"> {
  let summary = "softmax over the selected slots of a token; empty slots stay 0";
}

//===----------------------------------------------------------------------===//
// Combinations
//===----------------------------------------------------------------------===//

class MoE_CombineKind<string name, string attrMnemonic, list<string> overridden = []> : MoE_Attr<name, attrMnemonic,
    [DeclareAttrInterfaceMethods<MoE_CombineAttrInterface, overridden>]>;

def MoE_WeightedSumAttr : MoE_CombineKind<"WeightedSum", "weighted_sum"> {
  let summary = "sum over slots of weight times expert output";
}
def MoE_SumAttr : MoE_CombineKind<"Sum", "sum"> {
  let summary = "sum over slots of expert output; the weights are not used";
}
def MoE_ConcatSlotsAttr : MoE_CombineKind<"ConcatSlots", "concat_slots", ["keepsSlotsApart"]> {
  let summary = "what the experts of a token give, side by side in the order of its slots";
  let description = [{
    Column `s * M + j` of the result is column j of what the expert in slot s gave, 0 where the slot is empty; the
    weights are not used. For whatever joins the experts of a token in a way of its own: several gates over one
    evaluation, votes, attention over experts.
  }];
}

//===----------------------------------------------------------------------===//
// Recipes: program tensors from checkpoint tensors
//===----------------------------------------------------------------------===//

class MoE_Recipe<string name, string attrMnemonic> : MoE_Attr<name, attrMnemonic,
    [DeclareAttrInterfaceMethods<MoE_RecipeAttrInterface>]>;

def MoE_SourceAttr : MoE_Recipe<"Source", "source"> {
  let summary = "a tensor of the checkpoint, by name";
  let description = [{`#moe.source<"model.norm.weight", tensor<64xf32>>`. Name, shape and type must be those of the file.}];
  let parameters = (ins StringRefParameter<>:$name, "::mlir::RankedTensorType":$type);
  let assemblyFormat = "`<` $name `,` $type `>`";
  let genVerifyDecl = 1;
}
def MoE_StackAttr : MoE_Recipe<"Stack", "stack"> {
  let summary = "recipes of one type, stacked along a new first dimension";
  let parameters = (ins ArrayRefParameter<"::mlir::moe::RecipeAttrInterface">:$parts);
  let assemblyFormat = "`<` `[` $parts `]` `>`";
  let genVerifyDecl = 1;
}
def MoE_ConcatAttr : MoE_Recipe<"Concat", "concat"> {
  let summary = "recipes joined along their first dimension";
  let parameters = (ins ArrayRefParameter<"::mlir::moe::RecipeAttrInterface">:$parts);
  let assemblyFormat = "`<` `[` $parts `]` `>`";
  let genVerifyDecl = 1;
}
def MoE_SliceAttr : MoE_Recipe<"Slice", "slice"> {
  let summary = "`size` entries from `offset` along one dimension, every `stride`-th";
  let description = [{
    `#moe.slice<a, offset = 4, size = 2>` takes entries 4 and 5 of the first dimension,
    `#moe.slice<a, offset = 1, size = 8, dim = 2, stride = 2>` the odd ones of the third.
  }];
  let parameters = (ins "::mlir::moe::RecipeAttrInterface":$part, "int64_t":$offset, "int64_t":$size,
                        DefaultValuedParameter<"int64_t", "0">:$dim, DefaultValuedParameter<"int64_t", "1">:$stride);
  let assemblyFormat = "`<` $part `,` struct($offset, $size, $dim, $stride) `>`";
  let genVerifyDecl = 1;
}
def MoE_TransposeAttr : MoE_Recipe<"Transpose", "transpose"> {
  let summary = "the dimensions permuted: result dimension i is dimension permutation[i] of the part";
  let parameters = (ins "::mlir::moe::RecipeAttrInterface":$part, ArrayRefParameter<"int64_t">:$permutation);
  let assemblyFormat = "`<` $part `,` `[` $permutation `]` `>`";
  let genVerifyDecl = 1;
}
def MoE_ReshapeAttr : MoE_Recipe<"Reshape", "reshape"> {
  let summary = "the same elements under another shape";
  let parameters = (ins "::mlir::moe::RecipeAttrInterface":$part, "::mlir::RankedTensorType":$type);
  let assemblyFormat = "`<` $part `,` $type `>`";
  let genVerifyDecl = 1;
}
def MoE_PanelsAttr : MoE_Recipe<"Panels", "panels"> {
  let summary = "[N, K] packed for kernels: [ceil(N / width), K, width], missing outputs zero";
  let parameters = (ins "::mlir::moe::RecipeAttrInterface":$part, "int64_t":$width);
  let assemblyFormat = "`<` $part `,` struct($width) `>`";
  let genVerifyDecl = 1;
}
def MoE_BankRecipeAttr : MoE_Attr<"BankRecipe", "bank_recipe"> {
  let summary = "one recipe per component of a bank";
  let parameters = (ins ArrayRefParameter<"::mlir::moe::RecipeAttrInterface">:$components);
  let assemblyFormat = "`<` `[` $components `]` `>`";
  let genVerifyDecl = 1;
}

//===----------------------------------------------------------------------===//
// Target
//===----------------------------------------------------------------------===//

def MoE_CPUTargetAttr : MoE_Attr<"CPUTarget", "cpu"> {
  let summary = "facts about the CPU compiled for, resolved once before tiling";
  let description = [{
    LLVM's name of the CPU, its features ("+avx2,+fma"), the width of a vector register in bits, and the sizes in
    bytes of a core's first and second level caches. Stands on the module as `moe.target`.
  }];
  let parameters = (ins StringRefParameter<>:$cpu, StringRefParameter<>:$features, "int64_t":$vectorBits,
                        "int64_t":$l1Bytes, "int64_t":$l2Bytes);
  let assemblyFormat = "`<` $cpu `,` $features `,` struct($vectorBits, $l1Bytes, $l2Bytes) `>`";
  let genVerifyDecl = 1;
}

#endif // MOE_DIALECT_MOE_IR_MOEATTRS_TD
