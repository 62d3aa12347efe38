//===- Passes.td - Passes about stages ----------------------*- tablegen -*-===//
//
// The check of a stage's contract.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_PIPELINES_PASSES
#define MOE_PIPELINES_PASSES

include "mlir/Pass/PassBase.td"

def VerifyStagePass : Pass<"moe-verify-stage", "::mlir::ModuleOp"> {
  let summary = "Check what may stand at the end of a stage";
  let description = [{
    Each stage promises which dialects and forms of operations its result consists of (`Stages.h`). An operation outside
    the promise is an error that names the operation and the stage.

    ```mlir
    %e = tensor.empty() : tensor<4xf32>  // after stage cpu: error
    ```
  }];
  let options = [Option<"stage", "stage", "std::string", "\"\"",
                        "Name of the stage: import, optimize, tile, cpu, kernels or nvptx">];
}

#endif // MOE_PIPELINES_PASSES
