//===- MoEOps.td - Operations of the moe dialect ------------*- tablegen -*-===//
//
// Both altitudes: select and experts (what), plan, gather, grouped_matmul and combine (how).
// Constraint labels (S1, E2, ...) are explained in docs/Spec.md and name the tests.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_IR_MOEOPS_TD
#define MOE_DIALECT_MOE_IR_MOEOPS_TD

include "moe/Dialect/MoE/IR/MoEAttrs.td"
include "moe/Dialect/MoE/IR/MoETypes.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"
include "mlir/Interfaces/DestinationStyleOpInterface.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlir/Interfaces/TilingInterface.td"

class MoE_Op<string mnemonic, list<Trait> traits = []> : Op<MoE_Dialect, mnemonic, traits>;

def MoE_Logits : 2DTensorOf<[F32]>;
def MoE_Rows : TensorRankOf<[F32, F16, BF16], [2]>;
def MoE_FloatRows : 2DTensorOf<[F32]>;
def MoE_Ids : 2DTensorOf<[I32]>;
def MoE_Offsets : 1DTensorOf<[Index]>;
def MoE_RowIndices : TensorRankOf<[Index, I32, I64], [1]>;
def MoE_Slots : 2DTensorOf<[Index]>;

//===----------------------------------------------------------------------===//
// Routing
//===----------------------------------------------------------------------===//

def MoE_SelectOp : MoE_Op<"select", [Pure, AttrSizedOperandSegments,
    DeclareOpInterfaceMethods<InferTypeOpInterface>,
    DeclareOpInterfaceMethods<TilingInterface, ["getLoopIteratorTypes", "getIterationDomain"]>]> {
  let summary = "chooses experts for each token from router logits";
  let description = [{
    `logits` is `[tokens, experts]`. The scores are `score(logits)`; `policy` chooses from the scores (plus `bias`, one
    number per expert, if given: it takes part in the choice and not in the weights). The raw weights of the chosen are
    their scores, or the entries of `weigh` at the same places; `normalize` turns them into weights, which are then
    multiplied by `scale`. A policy names the parameters it reads at run time; `with` gives them.

    `scope` says what one row of the logits stands for: a token, a sequence, a request, or the batch.

    ```mlir
    %routing = moe.select %logits policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.sum_to_one)
      : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
    %variable = moe.select %logits policy(#moe.threshold<slots = 8, otherwise = best>)
      with(thresholds = %t : tensor<1x8xf32>) score(#moe.sigmoid) normalize(#moe.uniform)
      : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 8>
    ```
  }];
  let arguments = (ins MoE_Logits:$logits, Optional<1DTensorOf<[F32]>>:$bias, Optional<MoE_Logits>:$weigh,
    Variadic<AnyRankedTensor>:$parameters, OptionalAttr<StrArrayAttr>:$parameter_names,
    MoE_SelectionPolicyAttrInterface:$policy, MoE_ScoreAttrInterface:$score,
    MoE_NormalizationAttrInterface:$normalization, DefaultValuedAttr<F32Attr, "1.0f">:$scale,
    DefaultValuedAttr<MoE_ScopeAttr, "::mlir::moe::Scope::token">:$scope);
  let results = (outs MoE_RoutingType:$routing);
  let assemblyFormat = [{
    $logits (`bias` `(` $bias^ `:` type($bias) `)`)? (`weigh` `(` $weigh^ `:` type($weigh) `)`)? `policy` `(` $policy `)`
    (`with` `(` custom<NamedParameters>($parameters, type($parameters), $parameter_names)^ `)`)? `score` `(` $score `)`
    `normalize` `(` $normalization `)` (`scale` `(` $scale^ `)`)? (`scope` `(` custom<Name>($scope)^ `)`)?
    attr-dict `:` type($logits) `->` qualified(type($routing))
  }];
  let builders = [OpBuilder<(ins "::mlir::Value":$logits, "::mlir::Value":$bias,
    "::mlir::moe::SelectionPolicyAttrInterface":$policy, "::mlir::moe::ScoreAttrInterface":$score,
    "::mlir::moe::NormalizationAttrInterface":$normalization, "::mlir::FloatAttr":$scale), [{
      build($_builder, $_state, logits, bias, /*weigh=*/::mlir::Value(), /*parameters=*/::mlir::ValueRange(),
            /*parameter_names=*/::mlir::ArrayAttr(), policy, score, normalization, scale,
            ::mlir::moe::ScopeAttr::get($_builder.getContext(), ::mlir::moe::Scope::token));
    }]>];
  let extraClassDeclaration = [{
    /// Whether the operand holds one entry per token along its first extent, and so is cut where tokens are.
    bool isPerToken(::mlir::OpOperand &operand);
    /// What the policy chooses from, scores being given.
    ::mlir::moe::SelectionInput getInput(::mlir::Value scores, ::mlir::ValueRange parameters);
    /// Whether a token may have slots without an expert.
    bool mayLeaveSlotsEmpty();
    ::llvm::LogicalResult verifyParameters(int64_t experts);
  }];
  let hasVerifier = 1;
}

def MoE_Priority : I32EnumAttr<"Priority", "who comes first where room is limited", [
    I32EnumAttrCase<"token", 0>, I32EnumAttrCase<"slot", 1>, I32EnumAttrCase<"weight", 2>]> {
  let cppNamespace = "::mlir::moe";
  let genSpecializedAttr = 0;
}
def MoE_PriorityAttr : EnumAttr<MoE_Dialect, MoE_Priority, "priority"> {
  let assemblyFormat = "`<` $value `>`";
}

def MoE_LimitOp : MoE_Op<"limit", [Pure, AllTypesMatch<["routing", "limited"]>]> {
  let summary = "drops what an expert has no room for";
  let description = [{
    Every expert takes at most `capacity[0]` of the (token, slot) pairs that name it, or, with `groups` (the group of
    each token), at most `capacity[g]` from group g. The others become empty slots of weight 0; the weights of those
    that stay are as they were. First come, by `priority`: `token` (in order of token, then slot), `slot` (all first
    slots before all second ones), `weight` (the largest weight first, of equals in order of token). A token of a group
    that `capacity` does not know gets nothing. What one token keeps depends on the others.

    ```mlir
    %limited = moe.limit %routing capacity(%c : tensor<1xindex>) priority(slot) : !moe.routing<? x 8, slots = 2>
    %each = moe.limit %routing capacity(%c : tensor<?xindex>) groups(%sequences : tensor<?xi32>) priority(token)
      : !moe.routing<? x 8, slots = 2>
    ```
  }];
  let arguments = (ins MoE_RoutingType:$routing, 1DTensorOf<[Index]>:$capacity, Optional<1DTensorOf<[I32]>>:$groups,
    MoE_PriorityAttr:$priority);
  let results = (outs MoE_RoutingType:$limited);
  let assemblyFormat = [{
    $routing `capacity` `(` $capacity `:` type($capacity) `)` (`groups` `(` $groups^ `:` type($groups) `)`)?
    `priority` `(` custom<Name>($priority) `)` attr-dict `:` qualified(type($routing))
  }];
  let hasVerifier = 1;
}

def MoE_ReweighOp : MoE_Op<"reweigh", [Pure, AllTypesMatch<["routing", "reweighed"]>]> {
  let summary = "normalises the weights of a routing anew";
  let description = [{
    What `moe.select` does with its raw weights, on the weights of a routing that exists already: one that lost pairs
    to a limit, or that was put together by hand.

    ```mlir
    %again = moe.reweigh %limited normalize(#moe.sum_to_one) : !moe.routing<? x 8, slots = 2>
    ```
  }];
  let arguments = (ins MoE_RoutingType:$routing, MoE_NormalizationAttrInterface:$normalization,
    DefaultValuedAttr<F32Attr, "1.0f">:$scale);
  let results = (outs MoE_RoutingType:$reweighed);
  let assemblyFormat = [{
    $routing `normalize` `(` $normalization `)` (`scale` `(` $scale^ `)`)? attr-dict `:` qualified(type($routing))
  }];
  let hasVerifier = 1;
}

def MoE_SpreadOp : MoE_Op<"spread", [Pure, DeclareOpInterfaceMethods<InferTypeOpInterface>]> {
  let summary = "gives each token the routing of the sequence it belongs to";
  let description = [{
    `routing` has one decision per sequence, request or batch; token t gets that of row `rows[t]`, ids and weights. A
    token of a row that does not exist gets no expert.

    ```mlir
    %tokens = moe.spread %routing over(%sequences : tensor<?xi32>)
      : !moe.routing<? x 8, slots = 2, scope = sequence> -> !moe.routing<? x 8, slots = 2>
    ```
  }];
  let arguments = (ins MoE_RoutingType:$routing, 1DTensorOf<[I32]>:$rows);
  let results = (outs MoE_RoutingType:$spread);
  let assemblyFormat = [{
    $routing `over` `(` $rows `:` type($rows) `)` attr-dict `:` qualified(type($routing)) `->` qualified(type($spread))
  }];
  let hasVerifier = 1;
}

def MoE_MakeRoutingOp : MoE_Op<"make_routing", [Pure]> {
  let summary = "a routing from plain tensors of ids and weights";
  let description = [{
    Says routing that comes from outside: domain ids, recorded or overridden choices. An id of -1 is an empty slot,
    and so is every other id outside [0, experts).

    ```mlir
    %routing = moe.make_routing %ids, %weights
      : tensor<?x2xi32>, tensor<?x2xf32> -> !moe.routing<? x 8, slots = 2>
    ```
  }];
  let arguments = (ins MoE_Ids:$ids, MoE_FloatRows:$weights);
  let results = (outs MoE_RoutingType:$routing);
  let assemblyFormat = "$ids `,` $weights attr-dict `:` type($ids) `,` type($weights) `->` qualified(type($routing))";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def MoE_RoutingPartsOp : MoE_Op<"routing_parts", [Pure, DeclareOpInterfaceMethods<InferTypeOpInterface>]> {
  let summary = "the ids and weights of a routing as plain tensors";
  let description = [{
    ```mlir
    %ids, %weights = moe.routing_parts %routing : !moe.routing<? x 8, slots = 2> -> tensor<?x2xi32>, tensor<?x2xf32>
    ```
  }];
  let arguments = (ins MoE_RoutingType:$routing);
  let results = (outs MoE_Ids:$ids, MoE_FloatRows:$weights);
  let assemblyFormat = "$routing attr-dict `:` qualified(type($routing)) `->` type($ids) `,` type($weights)";
  let hasFolder = 1;
}

//===----------------------------------------------------------------------===//
// Banks
//===----------------------------------------------------------------------===//

def MoE_MakeBankOp : MoE_Op<"make_bank", [Pure, DeclareOpInterfaceMethods<InferTypeOpInterface>]> {
  let summary = "a bank from its component tensors";
  let description = [{
    ```mlir
    %bank = moe.make_bank %data : tensor<8x96x64xf32> -> !moe.bank<tensor<8x96x64xf32>>
    ```
  }];
  let arguments = (ins Variadic<AnyStaticShapeTensor>:$components);
  let results = (outs MoE_BankType:$bank);
  let assemblyFormat = "$components attr-dict `:` type($components) `->` type($bank)";
  let hasFolder = 1;
}

def MoE_BankPartsOp : MoE_Op<"bank_parts", [Pure, DeclareOpInterfaceMethods<InferTypeOpInterface>]> {
  let summary = "the component tensors of a bank";
  let description = [{
    ```mlir
    %data = moe.bank_parts %bank : !moe.bank<tensor<8x96x64xf32>> -> tensor<8x96x64xf32>
    ```
  }];
  let arguments = (ins MoE_BankType:$bank);
  let results = (outs Variadic<AnyStaticShapeTensor>:$components);
  let assemblyFormat = "$bank attr-dict `:` type($bank) `->` type($components)";
  let hasFolder = 1;
}

//===----------------------------------------------------------------------===//
// Experts
//===----------------------------------------------------------------------===//

def MoE_ExpertsOp : MoE_Op<"experts", [AttrSizedOperandSegments, RecursiveMemoryEffects, IsolatedFromAbove,
    SingleBlockImplicitTerminator<"YieldOp">]> {
  let summary = "applies to each token the experts it is routed to, and combines what they give";
  let description = [{
    Each body region is the program of one expert *class*: an ordinary tensor program over the rows that came to the
    expert. Its block arguments are the rows of each operand of `rows` (`tensor<?xH>`), with `with_weights` the weight
    of each row's slot (`tensor<?xf32>`), then for each bank its components for this expert, then the shared operands
    as they are, then the expert's slice of each state tensor. It yields the output rows (`tensor<?xM>`, as many as
    came in), then the new state slices.

    `classes` maps each expert to its region; without it there is one region for all. `bank_classes` says for each
    bank whether it is of all experts (-1) or of one class alone: then only that class's body gets it, and its entries
    are the experts of the class, ascending. So experts may differ in size and in kind.

    Row i of the result is `combine` over the slots of token i; a token with no expert gets zeros. State tensors have
    the expert as first extent; a state result is its operand with the slices of experts that ran replaced.

    ```mlir
    %y = moe.experts rows(%x : tensor<?x64xf32>) routed_by(%routing : !moe.routing<? x 8, slots = 2>)
           banks(%up, %down : !moe.bank<tensor<8x96x64xf32>>, !moe.bank<tensor<8x64x96xf32>>)
           combine(#moe.weighted_sum) -> tensor<?x64xf32> {
    ^bb0(%rows: tensor<?x64xf32>, %u: tensor<96x64xf32>, %d: tensor<64x96xf32>):
      ...
      moe.yield %out : tensor<?x64xf32>
    }
    ```
  }];
  let arguments = (ins Variadic<MoE_FloatRows>:$rows, MoE_RoutingType:$routing, UnitAttr:$with_weights,
    Variadic<MoE_BankType>:$banks, Variadic<AnyType>:$shared, Variadic<AnyRankedTensor>:$state,
    MoE_CombineAttrInterface:$combine, OptionalAttr<DenseI32ArrayAttr>:$classes,
    OptionalAttr<DenseI32ArrayAttr>:$bank_classes);
  let results = (outs MoE_FloatRows:$result, Variadic<AnyRankedTensor>:$new_state);
  let regions = (region VariadicRegion<SizedRegion<1>>:$bodies);
  let assemblyFormat = [{
    `rows` `(` $rows `:` type($rows) `)` `routed_by` `(` $routing `:` qualified(type($routing)) `)`
    (`with_weights` $with_weights^)? (`banks` `(` $banks^ `:` type($banks) `)`)?
    (`shared` `(` $shared^ `:` type($shared) `)`)? (`state` `(` $state^ `:` type($state) `)`)?
    `combine` `(` $combine `)` (`classes` `(` $classes^ `)`)? (`bank_classes` `(` $bank_classes^ `)`)?
    attr-dict `->` type($result) (`,` type($new_state)^)? $bodies
  }];
  let builders = [
    // One class of experts, without shared operands or state; the body is empty.
    OpBuilder<(ins "::mlir::Type":$result, "::mlir::ValueRange":$rows, "::mlir::Value":$routing,
      "::mlir::ValueRange":$banks, "::mlir::moe::CombineAttrInterface":$combine, CArg<"bool", "false">:$withWeights), [{
      build($_builder, $_state, result, ::mlir::TypeRange(), rows, routing, withWeights, banks, ::mlir::ValueRange(),
            ::mlir::ValueRange(), combine, ::mlir::DenseI32ArrayAttr(), ::mlir::DenseI32ArrayAttr(), /*bodiesCount=*/1);
    }]>
  ];
  let extraClassDeclaration = [{
    /// The class of an expert: the number of its region.
    int64_t getClassOf(int64_t expert) { return getClasses() ? (*getClasses())[expert] : 0; }
    /// The class that a bank is of, or -1 for all experts.
    int64_t getBankClass(int64_t bank) { return getBankClasses() ? (*getBankClasses())[bank] : -1; }
    /// The banks that the body of a class gets, by number.
    ::llvm::SmallVector<unsigned> getBanksOf(int64_t bodyClass);
    ::llvm::LogicalResult verifyBanks();
  }];
  let hasRegionVerifier = 1;
  let hasVerifier = 1;
}

def MoE_YieldOp : MoE_Op<"yield", [Pure, Terminator, ReturnLike, ParentOneOf<["ExpertsOp", "GroupedMatmulOp"]>]> {
  let summary = "gives the values of a body or epilogue region";
  let description = [{
    ```mlir
    moe.yield %out : tensor<?x64xf32>
    ```
  }];
  let arguments = (ins Variadic<AnyType>:$values);
  let assemblyFormat = "attr-dict ($values^ `:` type($values))?";
  let builders = [OpBuilder<(ins), [{ /* for the implicit terminator */ }]>];
}

//===----------------------------------------------------------------------===//
// How: plan, gather, grouped product, combine
//===----------------------------------------------------------------------===//

def MoE_PlanOp : MoE_Op<"plan", [Pure, DeclareOpInterfaceMethods<InferTypeOpInterface>,
    DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface, ["reifyResultShapes"]>]> {
  let summary = "sorts the (token, slot) pairs of a routing by expert";
  let description = [{
    Gives `offsets` (`[experts + 1]`, ascending from 0: rows offsets[e] up to offsets[e+1] belong to expert e),
    `tokens` (`[tokens * slots]`: the token of each row; entries from offsets[experts] on are 0) and `slots`
    (`[tokens, slots]`: the row of each pair, -1 for an empty slot). Rows of one expert are in order of token, then slot.

    ```mlir
    %offsets, %tokens, %slots = moe.plan %routing
      : !moe.routing<? x 8, slots = 2> -> tensor<9xindex>, tensor<?xindex>, tensor<?x2xindex>
    ```
  }];
  let arguments = (ins MoE_RoutingType:$routing);
  let results = (outs MoE_Offsets:$offsets, 1DTensorOf<[Index]>:$tokens, MoE_Slots:$slots);
  let assemblyFormat = "$routing attr-dict `:` qualified(type($routing)) `->` type($offsets) `,` type($tokens) `,` type($slots)";
  let hasVerifier = 1;
}

def MoE_GatherOp : MoE_Op<"gather", [Pure, DestinationStyleOpInterface,
    DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface, ["reifyResultShapes"]>,
    DeclareOpInterfaceMethods<TilingInterface, ["getLoopIteratorTypes", "getIterationDomain",
      "getTiledImplementation", "getResultTilePosition", "generateResultTileValue"]>]> {
  let summary = "copies rows by index";
  let description = [{
    `result[r, :] = source[indices[r], :]`, converted to the element type of `init` where it is wider. Indices must
    lie in the source.

    ```mlir
    %rows = moe.gather ins(%x : tensor<?x64xf32>) at(%tokens : tensor<?xindex>) outs(%init : tensor<?x64xf32>)
              -> tensor<?x64xf32>
    ```
  }];
  let arguments = (ins MoE_Rows:$source, MoE_RowIndices:$indices, MoE_Rows:$init);
  let results = (outs MoE_Rows:$result);
  let assemblyFormat = [{
    `ins` `(` $source `:` type($source) `)` `at` `(` $indices `:` type($indices) `)`
    `outs` `(` $init `:` type($init) `)` attr-dict `->` type($result)
  }];
  let extraClassDeclaration = "::mlir::MutableOperandRange getDpsInitsMutable() { return getInitMutable(); }";
  let hasVerifier = 1;
}

def MoE_GroupedMatmulOp : MoE_Op<"grouped_matmul", [AttrSizedOperandSegments, RecursiveMemoryEffects,
    DestinationStyleOpInterface, DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface, ["reifyResultShapes"]>,
    DeclareOpInterfaceMethods<TilingInterface, ["getLoopIteratorTypes", "getIterationDomain",
      "getTiledImplementation", "getResultTilePosition", "generateResultTileValue"]>]> {
  let summary = "matrix products of ragged groups of rows with one matrix per group, and an epilogue";
  let description = [{
    For each group e and each row r with offsets[e] <= r < offsets[e+1], for each column n < N:

      product_i = sum over k ascending of rows[r', k] * bank_i[e, n, k]    (one per bank, f32)
      result[r, n] = epilogue(product_0, product_1, ..., vector_0[e, n], vector_1[e, n], ...)

    where r' = indices[r] if `at` is given and r otherwise. Without an epilogue region there is one bank and the result
    is its product. `vectors` are banks of one vector per group, such as biases, widened to f32. Rows outside all groups keep the value of `init`.

    ```mlir
    %h = moe.grouped_matmul ins(%x : tensor<?x64xf32>) at(%tokens : tensor<?xindex>)
           banks(%gate, %up : !moe.bank<tensor<8x96x64xf32>>, !moe.bank<tensor<8x96x64xf32>>)
           groups(%offsets : tensor<9xindex>) outs(%init : tensor<?x96xf32>) -> tensor<?x96xf32> {
    ^bb0(%g: f32, %u: f32):
      %p = arith.mulf %g, %u : f32
      moe.yield %p : f32
    }
    ```
  }];
  let arguments = (ins MoE_FloatRows:$rows, Optional<MoE_RowIndices>:$indices, Variadic<MoE_BankType>:$banks,
    Variadic<MoE_BankType>:$vectors, MoE_Offsets:$offsets, MoE_FloatRows:$init);
  let results = (outs MoE_FloatRows:$result);
  let regions = (region MaxSizedRegion<1>:$epilogue);
  let assemblyFormat = [{
    `ins` `(` $rows `:` type($rows) `)` (`at` `(` $indices^ `:` type($indices) `)`)?
    `banks` `(` $banks `:` type($banks) `)` (`vectors` `(` $vectors^ `:` type($vectors) `)`)?
    `groups` `(` $offsets `:` type($offsets) `)`
    `outs` `(` $init `:` type($init) `)` attr-dict `->` type($result) ($epilogue^)?
  }];
  let extraClassDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable() { return getInitMutable(); }
    int64_t getGroups() { return getOffsets().getType().getDimSize(0) - 1; }
    bool hasEpilogue() { return !getEpilogue().empty(); }
    ::llvm::LogicalResult verifyBank(::mlir::Value bank);
  }];
  let builders = [
    OpBuilder<(ins "::mlir::Type":$result, "::mlir::Value":$rows, "::mlir::Value":$indices,
      "::mlir::ValueRange":$banks, "::mlir::Value":$offsets, "::mlir::Value":$init), [{
      build($_builder, $_state, result, rows, indices, banks, /*vectors=*/::mlir::ValueRange(), offsets, init);
    }]>
  ];
  let hasCanonicalizer = 1;
  let hasVerifier = 1;
  let hasRegionVerifier = 1;
}

def MoE_FillGroupsOp : MoE_Op<"fill_groups", [Pure, DestinationStyleOpInterface,
    DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface, ["reifyResultShapes"]>]> {
  let summary = "each row gets the vector of its group";
  let description = [{
    `result[r, :] = vectors[e, :]` for each group e and each row r with offsets[e] <= r < offsets[e+1], widened to f32;
    rows outside all groups keep the value of `init`.

    ```mlir
    %biases = moe.fill_groups ins(%bias : !moe.bank<tensor<8x96xf32>>) groups(%offsets : tensor<9xindex>)
                outs(%init : tensor<?x96xf32>) -> tensor<?x96xf32>
    ```
  }];
  let arguments = (ins MoE_BankType:$vectors, MoE_Offsets:$offsets, MoE_FloatRows:$init);
  let results = (outs MoE_FloatRows:$result);
  let assemblyFormat = [{
    `ins` `(` $vectors `:` qualified(type($vectors)) `)` `groups` `(` $offsets `:` type($offsets) `)`
    `outs` `(` $init `:` type($init) `)` attr-dict `->` type($result)
  }];
  let extraClassDeclaration = "::mlir::MutableOperandRange getDpsInitsMutable() { return getInitMutable(); }";
  let hasVerifier = 1;
}

def MoE_CombineOp : MoE_Op<"combine", [Pure, DestinationStyleOpInterface,
    DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface, ["reifyResultShapes"]>,
    DeclareOpInterfaceMethods<TilingInterface, ["getLoopIteratorTypes", "getIterationDomain",
      "getTiledImplementation", "getResultTilePosition", "generateResultTileValue"]>]> {
  let summary = "each token sums the rows its experts gave";
  let description = [{
    `result[t, :] = init[t, :]`, then for each slot s ascending with slots[t, s] >= 0:
    `kind` adds `rows[slots[t, s], :]` with `weights[t, s]`. Parallel over tokens and columns only: no two iterations
    write the same element.

    ```mlir
    %y = moe.combine ins(%rows : tensor<?x64xf32>) at(%slots : tensor<?x2xindex>) weights(%weights : tensor<?x2xf32>)
           kind(#moe.weighted_sum) outs(%init : tensor<?x64xf32>) -> tensor<?x64xf32>
    ```
  }];
  let arguments = (ins MoE_FloatRows:$rows, MoE_Slots:$slots, MoE_FloatRows:$weights, MoE_CombineAttrInterface:$kind,
    MoE_FloatRows:$init);
  let results = (outs MoE_FloatRows:$result);
  let assemblyFormat = [{
    `ins` `(` $rows `:` type($rows) `)` `at` `(` $slots `:` type($slots) `)` `weights` `(` $weights `:` type($weights) `)`
    `kind` `(` $kind `)` `outs` `(` $init `:` type($init) `)` attr-dict `->` type($result)
  }];
  let extraClassDeclaration = "::mlir::MutableOperandRange getDpsInitsMutable() { return getInitMutable(); }";
  let hasVerifier = 1;
}

#endif // MOE_DIALECT_MOE_IR_MOEOPS_TD
