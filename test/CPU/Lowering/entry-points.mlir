// RUN: moe-opt %s -moe-cpu-entry-points -split-input-file -verify-diagnostics | FileCheck %s

// Tests that names, roles and types are recorded, and that inputs but not caches are the caller's.
// CHECK-LABEL: func.func @f(
// CHECK-SAME: tensor<?x8xf32> {bufferization.writable = false, moe.name = "x"}
// CHECK-SAME: tensor<1x4xf32> {moe.name = "c", moe.role = "cache", moe.window = 5 : i64}
// CHECK-SAME: inputs = [{name = "x", role = "data", type = tensor<?x8xf32>}, {name = "c", role = "cache", type = tensor<1x4xf32>, window = 5 : i64}]
// CHECK-SAME: outputs = [{name = "result0", role = "data", type = tensor<?x8xf32>}]
func.func @f(%x: tensor<?x8xf32> {moe.name = "x"}, %c: tensor<1x4xf32> {moe.name = "c", moe.role = "cache", moe.window = 5 : i64})
    -> tensor<?x8xf32> {
  return %x : tensor<?x8xf32>
}

// Tests that a step of decoding updates its state in place.
// CHECK-LABEL: func.func @decode_step(
// CHECK-NOT: bufferization.writable
// CHECK-SAME: tensor<1xi32> {moe.name = "tokens", moe.role = "tokens"}
// CHECK-NOT: bufferization.writable
// CHECK-SAME: tensor<1xi32> {moe.name = "stop", moe.role = "stop"}
// CHECK-NOT: bufferization.writable
// CHECK: return
func.func @decode_step(%token: tensor<1xi32> {moe.name = "tokens", moe.role = "tokens"},
                       %stop: tensor<1xi32> {moe.name = "stop", moe.role = "stop"}) -> tensor<1xi32> {
  return %token : tensor<1xi32>
}

// Tests that private functions have no entry point.
// CHECK-LABEL: func.func private @g(
// CHECK-NOT: moe.signature
// CHECK: return
func.func private @g(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  return %x : tensor<?x8xf32>
}

// -----

// expected-error@+1 {{expected argument 0 of a public function to be a tensor of rank 8 or less of i1, i8, i32, i64, f16, bf16, f32 or f64, or an index, got 'f32'}}
func.func @scalar(%x: f32) {
  return
}

// -----

// expected-error@+1 {{expected a body for 'outside': programs link with no other code}}
func.func private @outside(tensor<4xf32>)

// -----

// expected-error@+1 {{expected argument 0 of a public function to be a tensor of rank 8 or less of i1, i8, i32, i64, f16, bf16, f32 or f64, or an index, got 'vector<4xf32>'}}
func.func @vector(%x: vector<4xf32>) {
  return
}

// -----

// expected-error@+1 {{expected a function to have a name}}
func.func @""() {
  return
}

// -----

// expected-error@+1 {{expected the name of a function not to begin with 'moe_', which is for the runtime; got 'moe_program'}}
func.func @moe_program() {
  return
}

// -----

// Tests that calls in a circle are refused, and that a function that many call is not one.
func.func private @leaf() {
  return
}
// expected-error@+1 {{expected no function to call itself, be it through others; 'a' does or calls one that does}}
func.func private @a() {
  call @leaf() : () -> ()
  call @b() : () -> ()
  return
}
func.func private @b() {
  call @leaf() : () -> ()
  call @a() : () -> ()
  return
}

// -----

// expected-error@+1 {{expected a language model to have a public function 'forward'}}
module attributes {moe.language_model = {vocabulary = 8 : i64, max_context = 8 : i64}} {
}

// -----

module attributes {moe.language_model = {vocabulary = 8 : i64, max_context = 8 : i64}} {
  // expected-error@+1 {{expected 'forward' of a language model to have one value with the role 'positions' and the type 'tensor<?xi32>', got 0}}
  func.func @forward(%tokens: tensor<?xi32> {moe.role = "tokens"}) {
    return
  }
}

// -----

module attributes {moe.language_model = {vocabulary = 8 : i64, max_context = 8 : i64}} {
  // expected-error@+1 {{expected 'forward' of a language model to have one value with the role 'logits' and the type 'tensor<?x8xf32>', got 'tensor<?x9xf32>'}}
  func.func @forward(%tokens: tensor<?xi32> {moe.role = "tokens"}, %positions: tensor<?xi32> {moe.role = "positions"},
                     %sequences: tensor<?xi32> {moe.role = "sequences"}, %first: index {moe.role = "first_row"},
                     %x: tensor<?x9xf32>) -> (tensor<?x9xf32> {moe.role = "logits"}) {
    return %x : tensor<?x9xf32>
  }
}
