//===- Passes.td - Conversions out of the moe dialect -------*- tablegen -*-===//
//
// Operations become loops on tensors; weights become views of one parameter buffer.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_CONVERSION_PASSES_TD
#define MOE_CONVERSION_PASSES_TD

include "mlir/Pass/PassBase.td"

def ConvertMoEToLinalgPass : Pass<"convert-moe-to-linalg", "::mlir::ModuleOp"> {
  let summary = "Lower the moe dialect to loops, slices and linalg on tensors";
  let description = [{
    The reference path: every operation in its plainest form. A `!moe.routing` becomes its ids and its weights, a
    `!moe.bank` its components, in functions, calls, loops and globals alike. The order of summation is that of
    `docs/Spec.md`, so the result is the one that every faster form must give.

    ```mlir
    %offsets, %tokens, %slots = moe.plan %routing : ...
    ```

    becomes a counting sort in three `scf.for`, and

    ```mlir
    %y = moe.experts rows(%x : ...) routed_by(%routing : ...) banks(%w : ...) combine(#moe.weighted_sum) -> ... {
      ...
    }
    ```

    becomes that sort, a gather of all rows, a loop over experts around the body with slices of rows and banks, and
    a sum of each token's rows. `linalg.softmax`, which has no loop of its own, becomes the four that it is made of.
  }];
  let options = [
    Option<"recordLoad", "record-load", "bool", /*default=*/"false",
      "After each plan, hand its offsets to the external function 'moe_record_load'">,
  ];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::func::FuncDialect", "::mlir::linalg::LinalgDialect",
    "::mlir::math::MathDialect", "::mlir::ml_program::MLProgramDialect", "::mlir::scf::SCFDialect",
    "::mlir::tensor::TensorDialect"
  ];
}

def ConvertMoEToKernelsPass : Pass<"convert-moe-to-kernels", "::mlir::ModuleOp"> {
  let summary = "Lower the moe dialect to tensor programs whose elements are independent";
  let description = [{
    `convert-moe-to-linalg` for devices with thousands of threads: products, plans, gathers and combinations become
    operations that are parallel in all dimensions of their result. The order of summation is the same. What has no such
    form here keeps its plain one.

    ```mlir
    %y = moe.grouped_matmul ins(%x : tensor<?x64xf32>) banks(%w : !moe.bank<tensor<8x96x64xf32>>)
           groups(%offsets : tensor<9xindex>) outs(%init : tensor<?x96xf32>) -> tensor<?x96xf32>
    ```

    becomes a `linalg.generic` over rows and columns: each element finds its group in the offsets, then sums in one
    `scf.for` over K.
  }];
  let options = [
    Option<"recordLoad", "record-load", "bool", /*default=*/"false",
      "After each plan, hand its offsets to the external function 'moe_record_load'">,
  ];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::func::FuncDialect", "::mlir::linalg::LinalgDialect",
    "::mlir::math::MathDialect", "::mlir::ml_program::MLProgramDialect", "::mlir::scf::SCFDialect",
    "::mlir::tensor::TensorDialect"
  ];
}

def ParametersPass : Pass<"moe-parameters", "::mlir::ModuleOp"> {
  let summary = "Read weights from one buffer instead of globals";
  let description = [{
    Gives each used weight (`ml_program.global` with a recipe) a place in the weights file: the first at byte 4096,
    each at a multiple of 64. The places stand on the globals as `moe.offset`, the size of the file on the module as
    `moe.weights_size`; unused weights are erased. Functions that load weights, themselves or through callees, take
    the file as leading argument.

    ```mlir
    ml_program.global private @w(#moe.source<"w", tensor<4xf32>>) : tensor<4xf32>
    func.func @f() -> tensor<4xf32> {
      %w = ml_program.global_load_const @w : tensor<4xf32>
    ```

    becomes

    ```mlir
    ml_program.global private @w(#moe.source<"w", tensor<4xf32>>) {moe.offset = 4096 : i64} : tensor<4xf32>
    func.func @f(%parameters: memref<?xi8> {moe.name = "parameters", moe.role = "parameters"}) -> tensor<4xf32> {
      %view = memref.view %parameters[%c4096][] : memref<?xi8> to memref<4xf32>
      %w = bufferization.to_tensor %view restrict : memref<4xf32> to tensor<4xf32>
    ```
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::bufferization::BufferizationDialect", "::mlir::func::FuncDialect",
    "::mlir::memref::MemRefDialect", "::mlir::ml_program::MLProgramDialect"
  ];
}

#endif // MOE_CONVERSION_PASSES_TD
