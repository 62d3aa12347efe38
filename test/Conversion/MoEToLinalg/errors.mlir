// What convert-moe-to-linalg cannot lower is an error at the operation.
// RUN: moe-opt %s --convert-moe-to-linalg=record-load=true -split-input-file -verify-diagnostics

// expected-error @+1 {{expected a recipe for each of the 2 components of bank 'w', got 1}}
ml_program.global private @w(#moe.source<"w", tensor<2x4xi8>>) : !moe.bank<tensor<2x4xi8>, tensor<2xf16>>

// -----

// expected-error @+1 {{expected a recipe for each of the 1 components of bank 'w', got 0}}
ml_program.global private @w(dense<1.0> : tensor<2x4xf32>) : !moe.bank<tensor<2x4xf32>>

// -----

// expected-error @+1 {{expected the recipe of 'w' to make a 'tensor<2x4xf32>', got 'tensor<2x4xf16>'}}
ml_program.global private @w(#moe.source<"w", tensor<2x4xf16>>) : !moe.bank<tensor<2x4xf32>>

// -----

func.func @routing_in_arith(%a: !moe.routing<? x 8, slots = 2>, %b: !moe.routing<? x 8, slots = 2>, %which: i1)
    -> !moe.routing<? x 8, slots = 2> {
  // expected-error @+1 {{failed to legalize operation 'arith.select' that was explicitly marked illegal}}
  %c = arith.select %which, %a, %b : !moe.routing<? x 8, slots = 2>
  return %c : !moe.routing<? x 8, slots = 2>
}

// -----

// expected-error @+1 {{expected the name 'moe_record_load' to be free for the function that records loads}}
func.func @moe_record_load() {
  return
}
func.func @plan(%routing: !moe.routing<? x 8, slots = 2>) {
  %offsets, %tokens, %slots = moe.plan %routing
    : !moe.routing<? x 8, slots = 2> -> tensor<9xindex>, tensor<?xindex>, tensor<?x2xindex>
  return
}

// -----

func.func @quantised_bank(%x: tensor<?x4xf32>,
                          %w: !moe.bank<tensor<2x6x4xi8>, tensor<2x6xf16>>, // expected-note {{the bank is made here}}
                          %offsets: tensor<3xindex>, %init: tensor<?x6xf32>) {
  // expected-error @+1 {{expected banks of one component of f32, f16 or bf16, got '!moe.bank<tensor<2x6x4xi8>, tensor<2x6xf16>>'}}
  %y = moe.grouped_matmul ins(%x : tensor<?x4xf32>) banks(%w : !moe.bank<tensor<2x6x4xi8>, tensor<2x6xf16>>)
         groups(%offsets : tensor<3xindex>) outs(%init : tensor<?x6xf32>) -> tensor<?x6xf32>
  return
}
