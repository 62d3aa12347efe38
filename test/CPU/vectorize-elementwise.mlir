// RUN: moe-opt %s --pass-pipeline='builtin.module(func.func(moe-cpu-vectorize,canonicalize,cse))' --split-input-file | FileCheck %s

// Tests that elementwise bodies are vectors with a masked tail, and that product and sum stay two operations.
// CHECK-LABEL: func.func @elementwise(
// CHECK:         scf.for
// CHECK:           %[[X:.+]] = vector.load
// CHECK:           %[[P:.+]] = arith.mulf %[[X]], %[[X]] : vector<16xf32>
// CHECK:           %[[S:.+]] = arith.addf %[[P]], %[[X]] : vector<16xf32>
// CHECK:           %[[E:.+]] = math.exp %[[S]] : vector<16xf32>
// CHECK:           vector.store %[[E]]
// CHECK:         %[[MASK:.+]] = vector.constant_mask [4] : vector<16xi1>
// CHECK:         vector.maskedload %{{.+}}, %[[MASK]]
// CHECK:         math.exp %{{.+}} : vector<16xf32>
// CHECK:         vector.maskedstore %{{.+}}, %[[MASK]]
// CHECK-NOT:     math.exp
// CHECK:         return
func.func @elementwise(%a: memref<100xf32>, %b: memref<100xf32>) {
  linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>], iterator_types = ["parallel"]}
    ins(%a : memref<100xf32>) outs(%b : memref<100xf32>) {
  ^bb0(%x: f32, %y: f32):
    %p = arith.mulf %x, %x : f32
    %s = arith.addf %p, %x : f32
    %e = math.exp %s : f32
    linalg.yield %e : f32
  }
  return
}

// -----

// Tests that rows looked up through an index are moved as vectors.
// CHECK-LABEL: func.func @lookup(
// CHECK-SAME:    %[[IDS:[^:]+]]: memref<4xindex>, %[[TABLE:[^:]+]]: memref<?x32xf32>, %[[OUT:[^:]+]]: memref<4x32xf32>
// CHECK:         scf.for %[[ROW:.+]] =
// CHECK:           scf.for %[[COLUMN:.+]] =
// CHECK:             %[[ID:.+]] = memref.load %[[IDS]][%[[ROW]]]
// CHECK:             %[[V:.+]] = vector.load %[[TABLE]][%[[ID]], %[[COLUMN]]]
// CHECK:             vector.store %[[V]], %[[OUT]][%[[ROW]], %[[COLUMN]]]
func.func @lookup(%ids: memref<4xindex>, %table: memref<?x32xf32>, %out: memref<4x32xf32>) {
  linalg.generic {indexing_maps = [affine_map<(i, j) -> (i)>, affine_map<(i, j) -> (i, j)>], iterator_types = ["parallel", "parallel"]}
    ins(%ids : memref<4xindex>) outs(%out : memref<4x32xf32>) {
  ^bb0(%id: index, %y: f32):
    %j = linalg.index 1 : index
    %v = memref.load %table[%id, %j] : memref<?x32xf32>
    linalg.yield %v : f32
  }
  return
}

// -----

// Tests that divisions, which trap in lanes beyond the end, stay scalar, those that MLIR takes for harmless as well.
// CHECK-LABEL: func.func @division(
// CHECK-NOT:     vector
// CHECK:         arith.divsi %{{.+}}, %{{.+}} : i32
// CHECK-NOT:     vector
// CHECK:         arith.remui %{{.+}}, %{{.+}} : i32
// CHECK-NOT:     vector
// CHECK:         return
func.func @division(%a: memref<?xi32>, %b: memref<?xi32>) {
  linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>], iterator_types = ["parallel"]}
    ins(%a : memref<?xi32>) outs(%b : memref<?xi32>) {
  ^bb0(%x: i32, %y: i32):
    %q = arith.divsi %x, %y : i32
    linalg.yield %q : i32
  }
  linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>], iterator_types = ["parallel"]}
    ins(%a : memref<?xi32>) outs(%b : memref<?xi32>) {
  ^bb0(%x: i32, %y: i32):
    %q = arith.remui %x, %y : i32
    linalg.yield %q : i32
  }
  return
}

// -----

// Tests that a large op is split over threads in chunks of rows, and a small one is not.
// CHECK-LABEL: func.func @chunks(
// CHECK:         scf.parallel (%[[FROM:.+]]) = (%{{.+}}) to (%[[ROWS:.+]]) step (%{{.+}})
// CHECK:           %[[NEXT:.+]] = arith.addi %[[FROM]]
// CHECK:           %[[TO:.+]] = arith.minsi %[[NEXT]], %[[ROWS]]
// CHECK:           scf.for %{{.+}} = %[[FROM]] to %[[TO]]
// CHECK:         scf.for
// CHECK-NOT:     scf.parallel
// CHECK:         return
func.func @chunks(%a: memref<?x64xf32>, %b: memref<4x64xf32>, %x: f32) {
  linalg.fill ins(%x : f32) outs(%a : memref<?x64xf32>)
  linalg.fill ins(%x : f32) outs(%b : memref<4x64xf32>)
  return
}

// -----

// Tests that a product of what may be a single row is split over its columns.
// CHECK-LABEL: func.func @columns(
// CHECK-DAG:     %[[COLUMNS:.+]] = arith.constant 2048 : index
// CHECK:         scf.parallel (%{{.+}}) = (%{{.+}}) to (%[[COLUMNS]])
func.func @columns(%a: memref<?x2048xf32>, %b: memref<2048x2048xf32>, %c: memref<?x2048xf32>) {
  linalg.matmul indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (n, k)>, affine_map<(m, n, k) -> (m, n)>]
    ins(%a, %b : memref<?x2048xf32>, memref<2048x2048xf32>) outs(%c : memref<?x2048xf32>)
  return
}

// -----

// Tests that nothing is made parallel inside of a parallel loop.
// CHECK-LABEL: func.func @inside(
// CHECK:         scf.parallel
// CHECK-NOT:     scf.parallel
// CHECK:         return
func.func @inside(%a: memref<?x64xf32>, %x: f32, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.parallel (%i) = (%c0) to (%n) step (%c1) {
    linalg.fill ins(%x : f32) outs(%a : memref<?x64xf32>)
  }
  return
}

// -----

// Tests that ops on tensors are left alone.
// CHECK-LABEL: func.func @tensors(
// CHECK:         linalg.fill
func.func @tensors(%a: tensor<?x64xf32>, %x: f32) -> tensor<?x64xf32> {
  %0 = linalg.fill ins(%x : f32) outs(%a : tensor<?x64xf32>) -> tensor<?x64xf32>
  return %0 : tensor<?x64xf32>
}
