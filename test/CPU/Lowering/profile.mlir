// RUN: moe-opt %s -moe-cpu-profile | FileCheck %s

// Tests that an outermost loop becomes a function named after its location, between the runtime's brackets.
// CHECK-LABEL: func.func @layer(
// CHECK-SAME: %{{[^:]+}}: memref<?xf32>
// CHECK: %[[NAME:.*]] = llvm.mlir.addressof @moe_kernel_name.layer.experts.gate_up
// CHECK-NEXT: call @moe_profile_begin(%[[NAME]])
// CHECK-NEXT: call @layer.experts.gate_up(
// CHECK-NEXT: call @moe_profile_end(%[[NAME]])
// CHECK-NOT: scf.parallel
// CHECK: func.func private @layer.experts.gate_up(
// CHECK-SAME: no_inline
// CHECK: scf.parallel
func.func @layer(%a: memref<?xf32>, %n: index, %v: f32) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.parallel (%i) = (%c0) to (%n) step (%c1) {
    memref.store %v, %a[%i] : memref<?xf32>
    scf.reduce
  } loc("gate_up"("experts"))
  return
}
