// RUN: moe-opt %s --pass-pipeline='builtin.module(func.func(moe-cpu-vectorize{parallel=false},canonicalize,cse))' --split-input-file | FileCheck %s

// Tests that a maximum over rows starts from the neutral element in each lane and keeps lanes without a value.
// CHECK-LABEL: func.func @row_max(
// CHECK:         %[[LOWEST:.+]] = arith.constant dense<0xFF800000> : vector<16xf32>
// CHECK:         %[[LANES:.+]] = scf.for {{.+}} iter_args(%[[ACC:.+]] = %[[LOWEST]])
// CHECK:           arith.maximumf %{{.+}}, %[[ACC]] : vector<16xf32>
// CHECK:         %[[TAIL:.+]] = arith.maximumf %{{.+}}, %[[LANES]] : vector<16xf32>
// CHECK:         arith.select %{{.+}}, %[[TAIL]], %[[LANES]]
// CHECK:         arith.maximumf %{{.+}}, %{{.+}} : vector<8xf32>
func.func @row_max(%a: memref<40xf32>, %m: memref<f32>) {
  linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> ()>], iterator_types = ["reduction"]}
    ins(%a : memref<40xf32>) outs(%m : memref<f32>) {
  ^bb0(%x: f32, %acc: f32):
    %s = arith.maximumf %x, %acc : f32
    linalg.yield %s : f32
  }
  return
}

// -----

// Tests that a sum over columns has the columns in lanes and adds row after row.
// CHECK-LABEL: func.func @column_sum(
// CHECK:         vector.load %{{.+}} : memref<16xf32>
// CHECK:         scf.for {{.+}} -> (vector<16xf32>)
// CHECK:           arith.addf %{{.+}}, %{{.+}} : vector<16xf32>
// CHECK-NOT:     vector.extract
// CHECK:         return
func.func @column_sum(%a: memref<?x16xf32>, %m: memref<16xf32>) {
  linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (j)>], iterator_types = ["reduction", "parallel"]}
    ins(%a : memref<?x16xf32>) outs(%m : memref<16xf32>) {
  ^bb0(%x: f32, %acc: f32):
    %s = arith.addf %x, %acc : f32
    linalg.yield %s : f32
  }
  return
}

// -----

// Tests that outputs which depend on each other, here a maximum and its place, are carried through scalar loops.
// CHECK-LABEL: func.func @argmax(
// CHECK:         scf.for {{.+}} -> (f32, index)
// CHECK:           arith.select
// CHECK:           arith.select
// CHECK-NOT:     vector
// CHECK:         return
func.func @argmax(%a: memref<?xf32>, %m: memref<f32>, %p: memref<index>) {
  linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> ()>, affine_map<(i) -> ()>], iterator_types = ["reduction"]}
    ins(%a : memref<?xf32>) outs(%m, %p : memref<f32>, memref<index>) {
  ^bb0(%x: f32, %best: f32, %place: index):
    %i = linalg.index 0 : index
    %g = arith.cmpf ogt, %x, %best : f32
    %v = arith.select %g, %x, %best : f32
    %k = arith.select %g, %i, %place : index
    linalg.yield %v, %k : f32, index
  }
  return
}

// -----

// Tests that neighbouring results close their trees together: four vectors are halved in pairs, and stored as one.
// CHECK-LABEL: func.func @scores(
// CHECK:         %[[SUMS:.+]]:4 = scf.for
// CHECK:         %[[LOW:.+]] = vector.shuffle %[[SUMS]]#0, %[[SUMS]]#1 [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23]
// CHECK:         %[[HIGH:.+]] = vector.shuffle %[[SUMS]]#0, %[[SUMS]]#1 [8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31]
// CHECK:         %[[FIRST:.+]] = arith.addf %[[LOW]], %[[HIGH]] : vector<16xf32>
// CHECK:         %[[SECOND:.+]] = arith.addf %{{.+}}, %{{.+}} : vector<16xf32>
// CHECK:         vector.shuffle %[[FIRST]], %[[SECOND]] [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27]
// CHECK:         arith.addf %{{.+}}, %{{.+}} : vector<16xf32>
// CHECK:         arith.addf %{{.+}}, %{{.+}} : vector<8xf32>
// CHECK:         arith.addf %{{.+}}, %{{.+}} : vector<4xf32>
// CHECK:         vector.store %{{.+}} : memref<4xf32>, vector<4xf32>
func.func @scores(%q: memref<32xf32>, %keys: memref<4x32xf32>, %s: memref<4xf32>) {
  linalg.generic {indexing_maps = [affine_map<(n, k) -> (k)>, affine_map<(n, k) -> (n, k)>, affine_map<(n, k) -> (n)>],
                  iterator_types = ["parallel", "reduction"]}
    ins(%q, %keys : memref<32xf32>, memref<4x32xf32>) outs(%s : memref<4xf32>) {
  ^bb0(%x: f32, %y: f32, %acc: f32):
    %p = arith.mulf %x, %y : f32
    %r = arith.addf %acc, %p : f32
    linalg.yield %r : f32
  }
  return
}
