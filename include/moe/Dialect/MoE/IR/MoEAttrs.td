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
include "mlir/IR/EnumAttr.td"

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

/// `answers` names the methods with a default that the policy answers itself.
class MoE_Policy<string name, string attrMnemonic, list<string> answers = []> : MoE_Attr<name, attrMnemonic,
    [DeclareAttrInterfaceMethods<MoE_SelectionPolicyAttrInterface, answers>]>;

def MoE_TopKAttr : MoE_Policy<"TopK", "top_k", ["getParameters"]> {
  let summary = "the k highest scores of each token";
  let description = [{
    Slots hold the k experts with the highest scores, in descending order; of equal scores the lowest expert index
    comes first; NaN counts as lower than every number. The raw weight is the score. `#moe.top_k<2>`.

    Parameter `k` (`tensor<Txi32>` or `tensor<1xi32>`, optional): how many of the k slots each token fills, at least 0;
    more counts as k.
  }];
  let parameters = (ins "int64_t":$k);
  let assemblyFormat = "`<` $k `>`";
  let genVerifyDecl = 1;
}

def MoE_GroupScore : I32EnumAttr<"GroupScore", "what a group of experts is judged by", [
    I32EnumAttrCase<"max", 0>, I32EnumAttrCase<"top2_sum", 1>, I32EnumAttrCase<"given", 2>]> {
  let cppNamespace = "::mlir::moe";
  let genSpecializedAttr = 0;
}

def MoE_GroupLimitedTopKAttr : MoE_Policy<"GroupLimitedTopK", "group_limited_top_k", ["getParameters"]> {
  let summary = "the k highest scores within the best groups of experts";
  let description = [{
    Experts form `groups` groups of equal size, in order. Each token first chooses the `keep` groups judged best:
    `judge = max` by the best score in it, `top2_sum` by the sum of the two best (of the one, in a group of one),
    `given` by parameter `group_scores` (`tensor<TxGxf32>`). Then it takes the k highest scores, those of the other
    groups counting as `excluded` (default negative infinity; published code also uses 0). Ties and NaN are decided as
    by `top_k`, among groups as well.

    `#moe.group_limited_top_k<k = 8, groups = 8, keep = 4, judge = top2_sum>`,
    `#moe.group_limited_top_k<k = 6, groups = 8, keep = 3, judge = max, excluded = 0.0 : f32>`.
  }];
  let parameters = (ins "int64_t":$k, "int64_t":$groups, "int64_t":$keep, EnumParameter<MoE_GroupScore>:$judge,
                        OptionalParameter<"::mlir::FloatAttr">:$excluded);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def MoE_PerGroupTopKAttr : MoE_Policy<"PerGroupTopK", "per_group_top_k"> {
  let summary = "the k highest scores of every group of experts";
  let description = [{
    Experts form `groups` groups of equal size, in order; slots hold the k best of the first group, then of the second,
    and so on: every group gets the same number of rows. Not `group_limited_top_k`, which chooses groups.
    `#moe.per_group_top_k<k = 1, groups = 8>`.
  }];
  let parameters = (ins "int64_t":$k, "int64_t":$groups);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def MoE_TopPAttr : MoE_Policy<"TopP", "top_p", ["getParameters"]> {
  let summary = "the highest scores until their sum passes p";
  let description = [{
    In descending order, every expert up to and including the first with which the sum of scores is greater than p
    (strictly; added in this order, f32). At most `slots`. `#moe.top_p<slots = 8>`; the parameter `p`
    (`tensor<Txf32>` or `tensor<1xf32>`) is required.
  }];
  let parameters = (ins "int64_t":$slots);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def MoE_GapAttr : MoE_Policy<"Gap", "gap", ["getParameters"]> {
  let summary = "one expert where the best score leads clearly, else two";
  let description = [{
    The second expert is taken unless the first score exceeds the second by more than parameter `gap`
    (`tensor<Txf32>` or `tensor<1xf32>`).
  }];
}

def MoE_Fallback : I32EnumAttr<"Fallback", "what a token gets when no expert qualifies", [
    I32EnumAttrCase<"nothing", 0>, I32EnumAttrCase<"best", 1>]> {
  let cppNamespace = "::mlir::moe";
  let genSpecializedAttr = 0;
}

def MoE_ThresholdAttr : MoE_Policy<"Threshold", "threshold", ["getParameters", "whenNothingQualifies"]> {
  let summary = "every expert whose score passes a threshold";
  let description = [{
    The experts whose score is greater than parameter `thresholds` (`tensor<TxExf32>`; an extent of 1 stands for all
    tokens or all experts), or with `inclusive` also those equal to it; in descending order, at most `slots`. A token
    for which none qualifies gets nothing, or with `otherwise = best` the expert with the highest score.
    `#moe.threshold<slots = 8, otherwise = best>`, `#moe.threshold<slots = 8, otherwise = nothing, inclusive = true>`.
  }];
  let parameters = (ins "int64_t":$slots, EnumParameter<MoE_Fallback>:$otherwise,
                        DefaultValuedParameter<"bool", "false">:$inclusive);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def MoE_RanksAttr : MoE_Policy<"Ranks", "ranks"> {
  let summary = "experts by their rank among the scores of the token";
  let description = [{
    Slot s holds the expert at rank `ranks[s]`, 0 being the highest score; ranks ascend. `#moe.ranks<[1]>` is the
    second best alone.
  }];
  let parameters = (ins ArrayRefParameter<"int64_t">:$ranks);
  let assemblyFormat = "`<` `[` $ranks `]` `>`";
  let genVerifyDecl = 1;
}

def MoE_SequentialMaskedAttr : MoE_Policy<"SequentialMasked", "sequential_masked", ["givesOwnWeights"]> {
  let summary = "picks one after the other, each weighed by a softmax of its own";
  let description = [{
    k times: take the expert with the highest score z_m among those left. Its weight is its share in a softmax over
    those left, without any expert j for which `(z_m - z_j) / max(|z_j|, z_m) > 2 * jitter`. Then it is left no more.
    The weights do not sum to one. Scores are meant to be the logits (`score(#moe.identity)`).
    `#moe.sequential_masked<k = 2, jitter = 0.01 : f32>`.
  }];
  let parameters = (ins "int64_t":$k, "::mlir::FloatAttr":$jitter);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def MoE_RandomAttr : MoE_Policy<"Random", "random", ["getParameters", "describeTies"]> {
  let summary = "one expert drawn uniformly";
  let description = [{
    Expert `(h * E) >> 32`, h being 32 bits mixed from parameters `key` (`tensor<1xi32>`) and `counter`
    (`tensor<Txi32>`: what the draw of a token belongs to; its position, its sequence, its token id). The same key and
    counter draw the same expert whatever else is in the batch. Scores are not read; the raw weight is the score.
  }];
}

def MoE_SampleAttr : MoE_Policy<"Sample", "sample", ["getParameters", "describeTies"]> {
  let summary = "one expert drawn in proportion to the scores";
  let description = [{
    The first expert with which the sum of scores, in order of index, is greater than u times their whole sum; u is
    drawn from parameters `key` and `counter` as by `random`, as a multiple of 2^-24 in [0, 1). Where there is none (NaN,
    or no positive score) the last.
  }];
}

def MoE_AllAttr : MoE_Policy<"All", "all", ["boundsSelection", "describeTies"]> {
  let summary = "every expert, in order of index";
}

def MoE_ExpertChoiceAttr : MoE_Policy<"ExpertChoice", "expert_choice",
    ["getParameters", "whenNothingQualifies", "describeTies"]> {
  let summary = "each expert takes the tokens that score highest for it";
  let description = [{
    Every expert takes as many tokens as parameter `capacity` (`tensor<Gxindex>`) says, those with the highest scores in
    its column, of equals the first; NaN is below every number. With parameter `groups` (`tensor<Txi32>`) it chooses
    within each group of tokens g separately, `capacity[g]` each; a group that capacity does not know gets nothing.
    Slot e of a token is expert e, or empty. Tokens are coupled, later ones with earlier ones too.
  }];
}

//===----------------------------------------------------------------------===//
// Normalisations of the selected weights
//===----------------------------------------------------------------------===//

class MoE_Normalization<string name, string attrMnemonic, list<string> answers = []> : MoE_Attr<name, attrMnemonic,
    [DeclareAttrInterfaceMethods<MoE_NormalizationAttrInterface, answers>]>;

def MoE_KeepAttr : MoE_Normalization<"Keep", "keep", ["isOverSelected"]> {
  let summary = "the raw weights, unchanged";
}
def MoE_SumToOneAttr : MoE_Normalization<"SumToOne", "sum_to_one"> {
  let summary = "each weight divided by the sum of the token's weights";
  let description = [{
    `w[s] / d`, d being the sum of w over slots, ascending; plus `epsilon`, or no less than `floor`, where given.
    `#moe.sum_to_one`, `#moe.sum_to_one<epsilon = 1.0e-20 : f32>`, `#moe.sum_to_one<floor = 1.0e-30 : f32>`.
  }];
  let parameters = (ins OptionalParameter<"::mlir::FloatAttr">:$epsilon, OptionalParameter<"::mlir::FloatAttr">:$floor);
  let assemblyFormat = "(`<` struct($epsilon, $floor)^ `>`)?";
  let builders = [AttrBuilder<(ins "::mlir::FloatAttr":$epsilon), [{ return $_get($_ctxt, epsilon, ::mlir::FloatAttr()); }]>];
  let genVerifyDecl = 1;
}
def MoE_SoftmaxSelectedAttr : MoE_Normalization<"SoftmaxSelected", "softmax_selected"> {
  let summary = "softmax over the selected slots of a token; empty slots stay 0";
}
def MoE_UniformAttr : MoE_Normalization<"Uniform", "uniform"> {
  let summary = "one divided by the number of experts the token got";
}
def MoE_OneAttr : MoE_Normalization<"One", "one", ["isOverSelected"]> {
  let summary = "weight 1 for every expert the token got";
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
def MoE_PadAttr : MoE_Recipe<"Pad", "pad"> {
  let summary = "the last dimension lengthened to `size` entries by zeros";
  let description = [{
    `#moe.pad<#moe.source<"w", tensor<8x36xbf16>>, size = 40>` makes `tensor<8x40xbf16>`: rows at multiples of 16 bytes.
  }];
  let parameters = (ins "::mlir::moe::RecipeAttrInterface":$part, "int64_t":$size);
  let assemblyFormat = "`<` $part `,` struct($size) `>`";
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

def MoE_GPUTargetAttr : MoE_Attr<"GPUTarget", "gpu"> {
  let summary = "facts about the GPU compiled for";
  let description = [{
    NVIDIA's name of the chip, as `ptxas` knows it ("sm_90a"), or "host": kernels are then compiled for the CPU. The
    most tokens of one call that the program must take. Stands on the module as `moe.device`.
  }];
  let parameters = (ins StringRefParameter<>:$chip, "int64_t":$maxTokens);
  let assemblyFormat = "`<` $chip `,` struct($maxTokens) `>`";
  let genVerifyDecl = 1;
}

#endif // MOE_DIALECT_MOE_IR_MOEATTRS_TD
