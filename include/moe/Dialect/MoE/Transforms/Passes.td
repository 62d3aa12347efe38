//===- Passes.td - Passes on the moe dialect ----------------*- tablegen -*-===//
//
// Declares the passes of the stages 'optimise' and 'group and tile' that work on moe operations.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_TRANSFORMS_PASSES_TD
#define MOE_DIALECT_MOE_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

//===----------------------------------------------------------------------===//
// Optimise
//===----------------------------------------------------------------------===//

def ConvertElementwisePass : Pass<"moe-convert-elementwise", "::mlir::func::FuncOp"> {
  let summary = "Make arithmetic on whole tensors linalg operations, a chain of it one";
  let description = [{
    Operations on tensors that work element by element become `linalg.generic`. One whose result only operations of
    such a chain read becomes part of it, as long as the chain is short enough for registers; each element is computed
    by the same operations as before.

    ```mlir
    %0 = arith.mulf %x, %x : tensor<?x64xf32>
    %1 = arith.addf %0, %y : tensor<?x64xf32>
    ```
    becomes
    ```mlir
    %1 = linalg.generic {...} ins(%x, %y : ...) outs(%x : ...) {
    ^bb0(%a: f32, %b: f32, %out: f32):
      %p = arith.mulf %a, %a : f32
      %s = arith.addf %p, %b : f32
      linalg.yield %s : f32
    }
    ```
  }];
  let dependentDialects = ["::mlir::linalg::LinalgDialect", "::mlir::tensor::TensorDialect"];
}

def DecomposeExpertsPass : Pass<"moe-decompose-experts", "::mlir::func::FuncOp"> {
  let summary = "Run the program of one expert on the rows of all experts at once";
  let description = [{
    `moe.experts` becomes `moe.plan`, a `moe.gather` of the rows in the order of the experts, the body's operations over
    all these rows, and a `moe.combine`. Operation by operation:

    - a product of rows and a weight of a bank (`[N, K]`, any float storage type, also widened by an operation of its
      own), starting from zeros: `moe.grouped_matmul`;
    - an operation that treats each row alone: the same operation on all rows. A vector that each expert has for
      itself is gathered to one per row;
    - an operation on shared operands and constants: moved out as it is.

    Anything else, several classes of experts, or state: the operation stays and is lowered to a loop over experts; a
    missed-optimisation remark names the operation and the reason. Where slots can be empty, rows past the last
    expert's hold unspecified values, which nobody reads.

    ```mlir
    %y = moe.experts rows(%x : tensor<?x64xf32>) routed_by(%routing : !moe.routing<? x 8, slots = 2>)
           banks(%w : !moe.bank<tensor<8x64x64xf32>>) combine(#moe.weighted_sum) -> tensor<?x64xf32> {
    ^bb0(%rows: tensor<?x64xf32>, %weight: tensor<64x64xf32>):
      ...
      %out = linalg.matmul indexing_maps = [...] ins(%rows, %weight : ...) outs(%zeros : ...) -> tensor<?x64xf32>
      moe.yield %out : tensor<?x64xf32>
    }
    ```
    becomes
    ```mlir
    %offsets, %tokens, %slots = moe.plan %routing : ...
    %rows = moe.gather ins(%x : ...) at(%tokens : ...) outs(%empty : ...) -> tensor<?x64xf32>
    %out = moe.grouped_matmul ins(%rows : ...) banks(%w : ...) groups(%offsets : ...) outs(%init : ...) -> tensor<?x64xf32>
    %ids, %weights = moe.routing_parts %routing : ...
    %y = moe.combine ins(%out : ...) at(%slots : ...) weights(%weights : ...) kind(#moe.weighted_sum)
           outs(%zeros : ...) -> tensor<?x64xf32>
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect", "::mlir::moe::MoEDialect",
                           "::mlir::tensor::TensorDialect"];
  let statistics = [Statistic<"decomposed", "decomposed", "experts operations decomposed">];
}

def GroupDensePass : Pass<"moe-group-dense", "::mlir::ModuleOp"> {
  let summary = "Make products with dense weights grouped products of one group";
  let description = [{
    A product of rows and a weight `[N, K]` that starts from zeros becomes a `moe.grouped_matmul` with one group that
    holds all rows, so that dense layers, routers and attention projections use the kernels of the experts. The weight
    comes from a global with a recipe, loaded in the function itself or by all callers of a private function; the global
    and the arguments become banks of one matrix. Where the same global is also read otherwise (an embedding that is the
    output head too), it stays and a second global `NAME_bank` is added. A missed-optimisation remark says which
    product is left alone, and why.

    ```mlir
    ml_program.global private @w(#moe.source<"w", tensor<96x64xf32>>) : tensor<96x64xf32>
    ...
    %w = ml_program.global_load_const @w : tensor<96x64xf32>
    %y = linalg.matmul indexing_maps = [...] ins(%x, %w : ...) outs(%zeros : ...) -> tensor<?x96xf32>
    ```
    becomes
    ```mlir
    ml_program.global private @w(#moe.bank_recipe<[#moe.stack<[#moe.source<"w", tensor<96x64xf32>>]>]>)
      : !moe.bank<tensor<1x96x64xf32>>
    ...
    %w = ml_program.global_load_const @w : !moe.bank<tensor<1x96x64xf32>>
    %offsets = tensor.from_elements %c0, %tokens : tensor<2xindex>
    %y = moe.grouped_matmul ins(%x : ...) banks(%w : ...) groups(%offsets : ...) outs(%init : ...) -> tensor<?x96xf32>
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::ml_program::MLProgramDialect",
                           "::mlir::moe::MoEDialect", "::mlir::tensor::TensorDialect"];
  let statistics = [Statistic<"grouped", "grouped", "products made grouped">];
}

def FuseGateUpPass : Pass<"moe-fuse-gate-up", "::mlir::func::FuncOp"> {
  let summary = "Make elementwise operations on grouped products the epilogue of one product";
  let description = [{
    A tree of elementwise operations whose leaves are `moe.grouped_matmul`s over the same rows becomes one
    `moe.grouped_matmul` with the banks of all leaves and the tree as epilogue. Gate and up projection of an expert are
    then one walk over the rows, and neither product is ever stored. All operations of the tree but its root must be
    used inside the tree only; a missed-optimisation remark says where that fails.

    ```mlir
    %g = moe.grouped_matmul ins(%x : ...) at(%tokens : ...) banks(%gate : ...) groups(%offsets : ...) outs(%e : ...) -> ...
    %u = moe.grouped_matmul ins(%x : ...) at(%tokens : ...) banks(%up : ...) groups(%offsets : ...) outs(%e : ...) -> ...
    %h = linalg.mul ins(%g, %u : ...) outs(%e : ...) -> tensor<?x96xf32>
    ```
    becomes
    ```mlir
    %h = moe.grouped_matmul ins(%x : ...) at(%tokens : ...) banks(%gate, %up : ...) groups(%offsets : ...)
           outs(%e : ...) -> tensor<?x96xf32> {
    ^bb0(%g: f32, %u: f32):
      %p = arith.mulf %g, %u : f32
      moe.yield %p : f32
    }
    ```
  }];
  let dependentDialects = ["::mlir::moe::MoEDialect"];
  let statistics = [Statistic<"fused", "fused", "trees made an epilogue">];
}

def FuseGatherPass : Pass<"moe-fuse-gather", "::mlir::func::FuncOp"> {
  let summary = "Fold the gather of rows into the loads of the grouped products that read them";
  let description = [{
    A `moe.gather` whose result only feeds `moe.grouped_matmul` goes away: the products read the source at the same
    indices, so that the gathered rows are never copied as a whole. Gathers that widen or have other readers stay; a
    missed-optimisation remark says why.

    ```mlir
    %rows = moe.gather ins(%x : tensor<?x64xf32>) at(%tokens : tensor<?xindex>) outs(%e : tensor<?x64xf32>)
              -> tensor<?x64xf32>
    %h = moe.grouped_matmul ins(%rows : tensor<?x64xf32>) banks(%w : !moe.bank<tensor<8x96x64xf32>>)
           groups(%offsets : tensor<9xindex>) outs(%init : tensor<?x96xf32>) -> tensor<?x96xf32>
    ```
    becomes
    ```mlir
    %h = moe.grouped_matmul ins(%x : tensor<?x64xf32>) at(%tokens : tensor<?xindex>)
           banks(%w : !moe.bank<tensor<8x96x64xf32>>) groups(%offsets : tensor<9xindex>)
           outs(%init : tensor<?x96xf32>) -> tensor<?x96xf32>
    ```
  }];
  let dependentDialects = ["::mlir::tensor::TensorDialect"];
  let statistics = [Statistic<"fused", "fused", "gathers folded into grouped products">];
}

def FuseCombinePass : Pass<"moe-fuse-combine", "::mlir::func::FuncOp"> {
  let summary = "Let the weighted return to the tokens start from the tensor that is added to it";
  let description = [{
    A `moe.combine` that starts from zeros and whose result is only added to another tensor (what the shared experts
    gave, or the residual stream) starts from that tensor. Where the addition wrote into the residual, so does the
    combine. An operation that computes what it adds (`routed + gate * shared`) is split before its addition.

    Order of additions: `other + w[0] * row[0] + w[1] * row[1] + ...`, slots ascending, where it was `other +
    (0 + w[0] * row[0] + ...)`. Of two additions in a row the first, nearest to the combine, is taken: `residual +
    (shared + routed)` keeps its outer addition.

    ```mlir
    %routed = moe.combine ins(%rows : ...) at(%slots : ...) weights(%weights : ...) kind(#moe.weighted_sum)
                outs(%zeros : ...) -> tensor<?x64xf32>
    %y = linalg.add ins(%routed, %shared : ...) outs(%shared : ...) -> tensor<?x64xf32>
    ```
    becomes
    ```mlir
    %y = moe.combine ins(%rows : ...) at(%slots : ...) weights(%weights : ...) kind(#moe.weighted_sum)
           outs(%shared : ...) -> tensor<?x64xf32>
    ```
  }];
  let dependentDialects = ["::mlir::linalg::LinalgDialect", "::mlir::moe::MoEDialect", "::mlir::tensor::TensorDialect"];
  let statistics = [Statistic<"fused", "fused", "additions made the start of a combine">];
}

def ExplainRoutingPass : Pass<"moe-explain-routing", "::mlir::ModuleOp"> {
  let summary = "Say of every routing who decides it and from what";
  let description = [{
    A remark for each routing, arguments included, and no change: what one decision stands for; whether tokens are decided
    alone, given from outside or depend on one another, and why; how many slots a token has and whether some may be empty;
    what the policy chooses, what happens when nothing qualifies, and who wins among equals. Whether tokens are
    independent is followed through the values a routing is made from: through products, elementwise operations,
    reshapes, calls both ways, bodies of experts, other routings. Loops, such as those of attention, are not followed: what
    they compute is taken row by row, and said to be.

    ```text
    remark: routing: one decision per token, 8 experts; each is decided alone (only the token's own rows and what is the
    same for all are read); at most 2 slots, none empty; gets the 2 experts with the highest score; of equal scores the
    lowest expert index comes first; NaN is below every number
    ```
  }];
  let statistics = [Statistic<"explained", "explained", "routings explained">];
}

def VerifyIndependencePass : Pass<"moe-verify-independence", "::mlir::ModuleOp"> {
  let summary = "Refuse language models whose routings depend on the batch";
  let description = [{
    The runtime cuts the tokens of a language model's call into pieces and puts several sequences into one. Where a routing
    that `forward` computes lets tokens depend on one another (a capacity, expert choice, a vote, a mean over a request), or
    may, results would change with either, so such a model is an error that says which routing and why. Functions that
    `forward` does not reach, and modules that are no language model, may have any routing.
  }];
}

def FuseGatingPass : Pass<"moe-fuse-gating", "::mlir::func::FuncOp"> {
  let summary = "Choose experts tile by tile, right after the router's product";
  let description = [{
    The product that gives the router logits, the scores, the selection and the normalisation become one parallel loop
    over tiles of tokens: the logits of a tile are used while they are in the cache, and no tensor of all logits exists.
    Only for policies that decide each token alone. A token's choice does not depend on the tile it falls in, since
    neither its product nor its scores do.

    ```mlir
    %logits = moe.grouped_matmul ins(%x : ...) banks(%router : ...) groups(%all : ...) outs(%init : ...) -> tensor<?x8xf32>
    %routing = moe.select %logits policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.keep)
      : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
    ```
    becomes
    ```mlir
    %parts:2 = scf.forall (%t) = (0) to (%tokens) step (24) shared_outs(%i = %ids, %w = %weights) -> (...) {
      %logits = moe.grouped_matmul ins(%x_tile : ...) ... -> tensor<?x8xf32>
      %chosen = moe.select %logits ... : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
      %tile_ids, %tile_weights = moe.routing_parts %chosen : ...
      scf.forall.in_parallel { ... }
    }
    %routing = moe.make_routing %parts#0, %parts#1 : ... -> !moe.routing<? x 8, slots = 2>
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::moe::MoEDialect", "::mlir::scf::SCFDialect",
                           "::mlir::tensor::TensorDialect"];
  let options = [Option<"tileSize", "tile-size", "int64_t", "24",
                        "Tokens per tile; a multiple of the rows of a full kernel tile on every CPU (12 and 6)">];
  let statistics = [Statistic<"fused", "fused", "selections fused with their product">];
}

def TileSelectPass : Pass<"moe-tile-select", "::mlir::func::FuncOp"> {
  let summary = "Choose experts in a parallel loop over tokens";
  let description = [{
    Each selection whose policy decides each token alone becomes a parallel loop with one token an iteration: what one
    thread of a device does.

    ```mlir
    %routing = moe.select %logits policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.keep)
      : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
    ```
    becomes
    ```mlir
    %parts:2 = scf.forall (%t) in (%tokens) shared_outs(%i = %ids, %w = %weights) -> (...) {
      %own = tensor.extract_slice %logits[%t, 0] [1, 8] [1, 1] : tensor<?x8xf32> to tensor<1x8xf32>
      %chosen = moe.select %own ... : tensor<1x8xf32> -> !moe.routing<1 x 8, slots = 2>
      %token_ids, %token_weights = moe.routing_parts %chosen : ...
      scf.forall.in_parallel { ... }
    }
    %routing = moe.make_routing %parts#0, %parts#1 : ... -> !moe.routing<? x 8, slots = 2>
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::moe::MoEDialect", "::mlir::scf::SCFDialect",
                           "::mlir::tensor::TensorDialect"];
}

//===----------------------------------------------------------------------===//
// Group and tile
//===----------------------------------------------------------------------===//

def PackWeightsPass : Pass<"moe-pack-weights", "::mlir::ModuleOp"> {
  let summary = "Store the banks of grouped products in panels of 32 outputs";
  let description = [{
    A bank `[E, N, K]` that grouped products read and that comes from a global with a recipe, loaded in the function
    or by all callers of a private function, becomes `[E, ceil(N / 32), K, 32]`: K rows of 32 outputs lie one after the
    other, as the kernels read them, whatever the vector width. The recipe is rewritten, so that weights are packed once,
    while compiling, and expert by expert. A global that is read otherwise too stays and gets a sister `NAME_packed`.
    Products with a bank that cannot be packed stay as they are, with a missed-optimisation remark: they take the
    plain, slow lowering.

    ```mlir
    ml_program.global private @w(#moe.bank_recipe<[#moe.stack<[#moe.source<"e0", tensor<70x64xf32>>]>]>)
      : !moe.bank<tensor<1x70x64xf32>>
    ```
    becomes
    ```mlir
    ml_program.global private @w(#moe.bank_recipe<[#moe.stack<[#moe.panels<#moe.source<"e0", tensor<70x64xf32>>, width = 32>]>]>)
      : !moe.bank<tensor<1x3x64x32xf32>>
    ```
  }];
  let dependentDialects = ["::mlir::ml_program::MLProgramDialect", "::mlir::moe::MoEDialect"];
  let statistics = [Statistic<"packed", "packed", "globals packed">];
}

def TileGroupedMatmulPass : Pass<"moe-tile-grouped-matmul", "::mlir::func::FuncOp"> {
  let summary = "Turn grouped products over packed banks into one parallel loop over a run-time list of work";
  let description = [{
    The counts of the groups become, at run time, a list of items (group, first row, rows, kernel class): heavy groups
    are split, and stand first so that the last items are short. One `scf.forall` over (chunk of panels, item) runs for
    each item the kernel of its class: `single` (one row, the weights streamed once), `few` (one low register tile)
    or `full` (register tiles of falling height over a local copy of the item's rows, padded to whole tiles). Rows
    are read through the indices of the product, so gathered rows never exist as a whole. All classes sum with K
    ascending in one chain: which class, tile or item computes a row never changes a bit of it.

    Classes, tiles and block sizes are the cost model's (CostModel.cpp), from the shape of the product and the
    module's `moe.target`. Inside another parallel loop the same kernels run in serial loops. Products with banks that
    are not packed stay, with a missed-optimisation remark.

    ```mlir
    %h = moe.grouped_matmul ins(%x : tensor<?x64xf32>) at(%tokens : tensor<?xindex>)
           banks(%w : !moe.bank<tensor<8x3x64x32xf32>>) groups(%offsets : tensor<9xindex>)
           outs(%init : tensor<?x96xf32>) -> tensor<?x96xf32>
    ```
    becomes
    ```mlir
    ... // %list, %count from %offsets
    %h = scf.forall (%chunk, %item) in (1, %count) shared_outs(%o = %init) -> (tensor<?x96xf32>) {
      %part = scf.index_switch %class -> tensor<?x96xf32> case 0 { ... } case 1 { ... } default { ... }
      scf.forall.in_parallel {
        tensor.parallel_insert_slice %part into %o[%begin, 0] [%rows, 96] [1, 1]
          : tensor<?x96xf32> into tensor<?x96xf32>
      }
    }
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::bufferization::BufferizationDialect",
                           "::mlir::linalg::LinalgDialect", "::mlir::math::MathDialect", "::mlir::scf::SCFDialect",
                           "::mlir::tensor::TensorDialect"];
  let options = [
    Option<"forceClass", "force-class", "std::string", /*default=*/"\"\"",
           "Run every item in one kernel class: single, few or full">,
    Option<"maxItemRows", "max-item-rows", "int64_t", /*default=*/"0",
           "Rows of one item at most; 0 lets the cost model choose">,
    Option<"blockSize", "block-size", "int64_t", /*default=*/"0",
           "Sum this many k at a time; 0 lets the cost model choose">,
    Option<"printDecisions", "print-decisions", "bool", /*default=*/"false",
           "Print what the cost model decided for each product, as a remark">];
  let statistics = [Statistic<"tiled", "tiled", "grouped products tiled">];
}

def TileRowsPass : Pass<"moe-tile-rows", "::mlir::func::FuncOp"> {
  let summary = "Run combines and gathers in parallel over blocks of rows";
  let description = [{
    `moe.combine` and `moe.gather` become an `scf.forall` over blocks of their result's rows. Tokens sum the rows of
    their own experts, so blocks never meet. What stands in a parallel loop already stays, as does a single block.

    ```mlir
    %y = moe.combine ins(%rows : ...) at(%slots : ...) weights(%weights : ...) kind(#moe.weighted_sum) outs(%init : ...) -> ...
    ```
    becomes
    ```mlir
    %y = scf.forall (%t) = (0) to (%tokens) step (8) shared_outs(%o = %init) -> (tensor<?x64xf32>) {
      %part = moe.combine ins(%rows : ...) at(%my_slots : ...) weights(%my_weights : ...) ... -> ...
      scf.forall.in_parallel {
        tensor.parallel_insert_slice %part into %o[%t, 0] [%size, 64] [1, 1] : ...
      }
    }
    ```
  }];
  let dependentDialects = ["::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect", "::mlir::scf::SCFDialect",
                           "::mlir::tensor::TensorDialect"];
  let options = [Option<"rows", "rows", "int64_t", /*default=*/"8", "Rows of a block">];
  let statistics = [Statistic<"tiled", "tiled", "operations tiled">];
}

#endif // MOE_DIALECT_MOE_TRANSFORMS_PASSES_TD
