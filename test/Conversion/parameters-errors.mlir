// What cannot lie in the weights file.
// RUN: moe-opt %s --moe-parameters -split-input-file -verify-diagnostics

// expected-error @+1 {{expected the global to have a recipe, such as #moe.source<"name", type>, as value}}
ml_program.global private @no_recipe(dense<1.0> : tensor<4xf32>) : tensor<4xf32>
func.func @f() -> tensor<4xf32> {
  %w = ml_program.global_load_const @no_recipe : tensor<4xf32> // expected-note {{it is loaded here}}
  return %w : tensor<4xf32>
}

// -----

// expected-error @+1 {{expected a weight to be a tensor of static shape whose elements are whole bytes, got 'tensor<4xi1>'}}
ml_program.global private @bits(#moe.source<"w", tensor<4xi1>>) : tensor<4xi1>
func.func @f() -> tensor<4xi1> {
  %w = ml_program.global_load_const @bits : tensor<4xi1> // expected-note {{it is loaded here}}
  return %w : tensor<4xi1>
}

// -----

// expected-error @+1 {{expected the recipe to make a 'tensor<4xf32>', got 'tensor<5xf32>'}}
ml_program.global private @other_shape(#moe.source<"w", tensor<5xf32>>) : tensor<4xf32>
func.func @f() -> tensor<4xf32> {
  %w = ml_program.global_load_const @other_shape : tensor<4xf32> // expected-note {{it is loaded here}}
  return %w : tensor<4xf32>
}

// -----

ml_program.global private @large(#moe.source<"a", tensor<1152921504606846976xf32>>) : tensor<1152921504606846976xf32>
// expected-error @+1 {{expected the weights file to stay below 2^63 bytes}}
ml_program.global private @too_much(#moe.source<"b", tensor<1152921504606846976xf32>>) : tensor<1152921504606846976xf32>
func.func @f() -> (tensor<1152921504606846976xf32>, tensor<1152921504606846976xf32>) {
  %a = ml_program.global_load_const @large : tensor<1152921504606846976xf32>
  %b = ml_program.global_load_const @too_much : tensor<1152921504606846976xf32>
  return %a, %b : tensor<1152921504606846976xf32>, tensor<1152921504606846976xf32>
}
