// RUN: moe-opt %s -moe-verify-stage=stage=tile -split-input-file -verify-diagnostics
// RUN: not moe-opt %s -moe-verify-stage=stage=bake 2>&1 | FileCheck %s
// CHECK: unknown stage 'bake', expected import, optimize, tile, cpu

// Tests that moe operations may not stand at the end of stage tile.
func.func @f(%ids: tensor<?x2xi32>, %weights: tensor<?x2xf32>) {
  // expected-error@+1 {{'moe.make_routing' op is not allowed at the end of stage 'tile'}}
  %r = moe.make_routing %ids, %weights : tensor<?x2xi32>, tensor<?x2xf32> -> !moe.routing<? x 8, slots = 2>
  return
}

// -----

// Tests that weights are no globals any more by then.
ml_program.global private @w(#moe.source<"w", tensor<4xf32>>) : tensor<4xf32>
func.func @g() -> tensor<4xf32> {
  // expected-error@+1 {{is not allowed at the end of stage 'tile': weights are views of the function's parameters by then}}
  %w = ml_program.global_load_const @w : tensor<4xf32>
  return %w : tensor<4xf32>
}
