// RUN: moe-opt %s --moe-gpu-flatten-loops | FileCheck %s

// Tests that reads in front of a nested loop are done by each of its iterations.
// CHECK-LABEL: func.func @scatter(
// CHECK-SAME:    %[[ROWS:[^:]+]]: memref<?xindex>, %[[OUT:[^:]+]]: memref<?x64xf32>
// CHECK:         scf.parallel (%[[T:.+]], %[[I:.+]]) = ({{.+}}, {{.+}}) to ({{.+}}, {{.+}})
// CHECK-NEXT:      %[[ROW:.+]] = memref.load %[[ROWS]][%[[T]]]
// CHECK-NEXT:      memref.store {{.+}}, %[[OUT]][%[[ROW]], %[[I]]]
// CHECK-NOT:       scf.parallel
// CHECK:         return
func.func @scatter(%rows: memref<?xindex>, %out: memref<?x64xf32>, %n: index, %x: f32) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c64 = arith.constant 64 : index
  scf.parallel (%t) = (%c0) to (%n) step (%c1) {
    %row = memref.load %rows[%t] : memref<?xindex>
    scf.parallel (%i) = (%c0) to (%c64) step (%c1) {
      memref.store %x, %out[%row, %i] : memref<?x64xf32>
    }
  }
  return
}

// Tests that a loop stays nested where it writes what stands in front of it reads.
// CHECK-LABEL: func.func @own_input(
// CHECK:         scf.parallel
// CHECK-NEXT:      memref.load
// CHECK-NEXT:      scf.parallel
func.func @own_input(%rows: memref<?xindex>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.parallel (%t) = (%c0) to (%n) step (%c1) {
    %row = memref.load %rows[%t] : memref<?xindex>
    scf.parallel (%i) = (%c0) to (%n) step (%c1) {
      memref.store %row, %rows[%i] : memref<?xindex>
    }
  }
  return
}

// Tests that a loop whose length depends on the iteration stays nested.
// CHECK-LABEL: func.func @triangle(
// CHECK:         scf.parallel (%[[T:.+]]) =
// CHECK-NEXT:      scf.parallel ({{.+}}) = ({{.+}}) to (%[[T]])
func.func @triangle(%out: memref<?x?xf32>, %n: index, %x: f32) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.parallel (%t) = (%c0) to (%n) step (%c1) {
    scf.parallel (%i) = (%c0) to (%t) step (%c1) {
      memref.store %x, %out[%t, %i] : memref<?x?xf32>
    }
  }
  return
}
