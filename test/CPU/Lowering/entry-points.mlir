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
