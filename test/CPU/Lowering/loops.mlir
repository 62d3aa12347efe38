// RUN: moe-opt %s -pass-pipeline='builtin.module(func.func(moe-cpu-serialize-nested-loops))' | FileCheck %s
// RUN: moe-opt %s -pass-pipeline='builtin.module(func.func(moe-cpu-serialize-nested-loops{all}))' | FileCheck %s --check-prefix=ALL
// RUN: moe-opt %s -convert-scf-to-openmp -moe-cpu-dynamic-schedule | FileCheck %s --check-prefix=OMP

// Tests that the inner loop becomes serial; that all do where asked; that threads take iterations dynamically and none
// is started for a single one.
// CHECK-LABEL: func.func @nested(
// CHECK: scf.parallel
// CHECK-NEXT: scf.for
// CHECK-NOT: scf.parallel
// CHECK: return
// ALL-LABEL: func.func @nested(
// ALL-NOT: scf.parallel
// ALL: scf.for
// ALL-NEXT: scf.for
// OMP-LABEL: func.func @nested(
// OMP-SAME: %{{[^:]+}}: memref<?x?xf32>, %[[N:[^:]+]]: index
// OMP: %[[SECOND:.*]] = arith.addi
// OMP: %[[MORE:.*]] = arith.cmpi slt, %[[SECOND]], %[[N]]
// OMP: omp.parallel if(%[[MORE]])
// OMP: omp.wsloop schedule(dynamic)
func.func @nested(%a: memref<?x?xf32>, %n: index, %v: f32) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.parallel (%i) = (%c0) to (%n) step (%c1) {
    scf.parallel (%j) = (%c0) to (%n) step (%c1) {
      memref.store %v, %a[%i, %j] : memref<?x?xf32>
    }
  }
  return
}
