// RUN: moe-opt %s --moe-gpu-linalg-to-threads --split-input-file --verify-diagnostics | FileCheck %s

// Tests that a sum is carried by its loop and that memory is touched before and after it only.
// CHECK-LABEL: func.func @sum(
// CHECK-SAME:    %[[X:[^:]+]]: memref<?x8xf32>, %[[SUM:[^:]+]]: memref<?xf32>
// CHECK:         scf.parallel (%[[ROW:.+]]) =
// CHECK:           %[[OLD:.+]] = memref.load %[[SUM]][%[[ROW]]]
// CHECK:           %[[ALL:.+]] = scf.for %[[K:.+]] = {{.+}} iter_args(%[[PART:.+]] = %[[OLD]])
// CHECK-NEXT:        %[[ELEMENT:.+]] = memref.load %[[X]][%[[ROW]], %[[K]]]
// CHECK-NEXT:        %[[NEXT:.+]] = arith.addf %[[PART]], %[[ELEMENT]]
// CHECK-NEXT:        scf.yield %[[NEXT]]
// CHECK:           memref.store %[[ALL]], %[[SUM]][%[[ROW]]]
func.func @sum(%x: memref<?x8xf32>, %sum: memref<?xf32>) {
  linalg.generic {indexing_maps = [affine_map<(m, k) -> (m, k)>, affine_map<(m, k) -> (m)>],
                  iterator_types = ["parallel", "reduction"]} ins(%x : memref<?x8xf32>) outs(%sum : memref<?xf32>) {
  ^bb0(%in: f32, %out: f32):
    %s = arith.addf %out, %in : f32
    linalg.yield %s : f32
  }
  return
}

// -----

// Tests that what is overwritten is not read, and that indices are those of the loop.
// CHECK-LABEL: func.func @indices(
// CHECK-SAME:    %[[OUT:[^:]+]]: memref<4xindex>
// CHECK:         scf.parallel (%[[I:.+]]) =
// CHECK-NEXT:      memref.store %[[I]], %[[OUT]][%[[I]]]
func.func @indices(%out: memref<4xindex>) {
  linalg.generic {indexing_maps = [affine_map<(i) -> (i)>], iterator_types = ["parallel"]} outs(%out : memref<4xindex>) {
  ^bb0(%old: index):
    %i = linalg.index 0 : index
    linalg.yield %i : index
  }
  return
}

// -----

// Tests that a single element is a kernel of one thread.
// CHECK-LABEL: func.func @scalar(
// CHECK-SAME:    %[[VALUE:[^:]+]]: f32, %[[OUT:[^:]+]]: memref<f32>
// CHECK:         %[[ONE:.+]] = arith.constant 1 : index
// CHECK:         scf.parallel ({{.+}}) = ({{.+}}) to (%[[ONE]]) step (%[[ONE]])
// CHECK-NEXT:      memref.store %[[VALUE]], %[[OUT]][]
func.func @scalar(%value: f32, %out: memref<f32>) {
  linalg.fill ins(%value : f32) outs(%out : memref<f32>)
  return
}

// -----

func.func @overlapping(%x: memref<8x8xf32>, %out: memref<8xf32>) {
  // expected-error @below {{cannot be computed by independent threads: expected each element of a result to be one index of the parallel dimensions}}
  linalg.generic {indexing_maps = [affine_map<(m, n) -> (m, n)>, affine_map<(m, n) -> (m)>],
                  iterator_types = ["parallel", "parallel"]} ins(%x : memref<8x8xf32>) outs(%out : memref<8xf32>) {
  ^bb0(%in: f32, %old: f32):
    linalg.yield %in : f32
  }
  return
}
