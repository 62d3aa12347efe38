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
