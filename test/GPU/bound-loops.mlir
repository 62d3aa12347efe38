// RUN: moe-opt %s --moe-gpu-bound-loops | FileCheck %s

// Tests that a loop runs to a bound that the host knows, and that threads behind the end do nothing.
// CHECK-LABEL: func.func @bounded(
// CHECK-SAME:    %{{[^:]+}}: memref<index>, %[[OUT:[^:]+]]: memref<?xindex>, %[[MOST:[^:]+]]: index
// CHECK:         %[[END:.+]] = arith.minsi
// CHECK:         scf.parallel (%[[I:.+]]) = (%{{.+}}) to (%[[MOST]])
// CHECK-NEXT:      %[[INSIDE:.+]] = arith.cmpi slt, %[[I]], %[[END]]
// CHECK-NEXT:      scf.if %[[INSIDE]]
// CHECK-NEXT:        memref.store %[[I]], %[[OUT]][%[[I]]]
func.func @bounded(%a: memref<index>, %out: memref<?xindex>, %most: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %n = memref.load %a[] : memref<index>
  %end = arith.minsi %n, %most : index
  scf.parallel (%i) = (%c0) to (%end) step (%c1) {
    memref.store %i, %out[%i] : memref<?xindex>
  }
  return
}

// Tests that a loop without a bound is left alone.
// CHECK-LABEL: func.func @unbounded(
// CHECK:         %[[N:.+]] = memref.load
// CHECK:         scf.parallel ({{.+}}) = (%{{.+}}) to (%[[N]])
// CHECK-NEXT:      memref.store
func.func @unbounded(%a: memref<index>, %out: memref<?xindex>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %n = memref.load %a[] : memref<index>
  scf.parallel (%i) = (%c0) to (%n) step (%c1) {
    memref.store %i, %out[%i] : memref<?xindex>
  }
  return
}
