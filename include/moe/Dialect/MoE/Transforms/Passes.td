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

#endif // MOE_DIALECT_MOE_TRANSFORMS_PASSES_TD
