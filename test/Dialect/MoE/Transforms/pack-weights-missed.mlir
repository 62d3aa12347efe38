// RUN: moe-opt %s --moe-pack-weights | FileCheck %s
// RUN: moe-opt %s --moe-pack-weights --remarks-filter-missed=moe-pack.* --remark-format=emitRemark -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK

// Tests that a product stays as it is where one of its banks cannot be packed, and what it shares a bank with.

// CHECK:     ml_program.global private @up(#moe.bank_recipe<[#moe.source<"up", tensor<2x64x48xf32>>]>) : !moe.bank<tensor<2x64x48xf32>>
// CHECK-NOT: panels
// CHECK-NOT: x32xf32>

// REMARK-DAG: a bank is not a plain [E, N, K] of f32, f16 or bf16
// REMARK-DAG: a bank does not come from a global with a recipe
// REMARK-DAG: a bank is an argument that not all callers load from a global, or that is also read otherwise

ml_program.global private @up(#moe.bank_recipe<[#moe.source<"up", tensor<2x64x48xf32>>]>) : !moe.bank<tensor<2x64x48xf32>>

func.func @quantised(%x: tensor<?x48xf32>, %w: tensor<2x64x48xi8>, %scales: tensor<2x64xf32>, %offsets: tensor<3xindex>,
                     %init: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %bank = moe.make_bank %w, %scales : tensor<2x64x48xi8>, tensor<2x64xf32> -> !moe.bank<tensor<2x64x48xi8>, tensor<2x64xf32>>
  %h = moe.grouped_matmul ins(%x : tensor<?x48xf32>) banks(%bank : !moe.bank<tensor<2x64x48xi8>, tensor<2x64xf32>>)
         groups(%offsets : tensor<3xindex>) outs(%init : tensor<?x64xf32>) -> tensor<?x64xf32>
  return %h : tensor<?x64xf32>
}

func.func @made_here(%x: tensor<?x48xf32>, %w: tensor<2x64x48xf32>, %offsets: tensor<3xindex>, %init: tensor<?x64xf32>)
    -> tensor<?x64xf32> {
  %bank = moe.make_bank %w : tensor<2x64x48xf32> -> !moe.bank<tensor<2x64x48xf32>>
  %h = moe.grouped_matmul ins(%x : tensor<?x48xf32>) banks(%bank : !moe.bank<tensor<2x64x48xf32>>)
         groups(%offsets : tensor<3xindex>) outs(%init : tensor<?x64xf32>) -> tensor<?x64xf32>
  return %h : tensor<?x64xf32>
}

// The gate comes from outside, so that the loaded bank must stay plain as well.
func.func @from_outside(%x: tensor<?x48xf32>, %gate: !moe.bank<tensor<2x64x48xf32>>, %offsets: tensor<3xindex>,
                        %init: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %up = ml_program.global_load_const @up : !moe.bank<tensor<2x64x48xf32>>
  %h = moe.grouped_matmul ins(%x : tensor<?x48xf32>)
         banks(%gate, %up : !moe.bank<tensor<2x64x48xf32>>, !moe.bank<tensor<2x64x48xf32>>)
         groups(%offsets : tensor<3xindex>) outs(%init : tensor<?x64xf32>) -> tensor<?x64xf32> {
  ^bb0(%g: f32, %u: f32):
    %p = arith.mulf %g, %u : f32
    moe.yield %p : f32
  }
  return %h : tensor<?x64xf32>
}
