// RUN: moe-opt %s --pass-pipeline='builtin.module(func.func(moe-cpu-vectorize{parallel=false accumulators=24},canonicalize,cse))' --split-input-file | FileCheck %s
// RUN: moe-opt %s --pass-pipeline='builtin.module(func.func(moe-cpu-vectorize{parallel=false accumulators=6},canonicalize,cse))' --split-input-file | FileCheck %s --check-prefix=NARROW

// Tests that a tile lives in registers through one loop over the reduction: the row of the right side is loaded
// once per step, each element of the left side is broadcast, each product is one fused multiply-add.
// CHECK-LABEL: func.func @tile(
// CHECK-SAME:    %[[A:[^:]+]]: memref<2x?xf32>, %[[B:[^:]+]]: memref<?x32xf32>, %[[C:[^:]+]]: memref<2x32xf32>
// CHECK-COUNT-4: vector.load %[[C]]
// CHECK:         scf.for %[[K:.+]] = %{{.+}} to %{{.+}} step %{{.+}} iter_args({{.+}}) -> (vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>)
// CHECK-COUNT-2:   memref.prefetch %[[B]]
// CHECK:           %[[A0:.+]] = memref.load %[[A]][%{{.+}}, %[[K]]]
// CHECK:           %[[ROW:.+]] = vector.load %[[B]][%[[K]], %{{.+}}]
// CHECK:           %[[WIDE:.+]] = vector.broadcast %[[A0]]
// CHECK:           math.fma %[[WIDE]], %[[ROW]], %{{.+}} : vector<16xf32>
// CHECK-COUNT-3:   math.fma
// CHECK-NOT:       math.fma
// CHECK:           scf.yield
// CHECK-COUNT-4: vector.store
// CHECK-NOT:     linalg
// CHECK:         return
// NARROW-LABEL: func.func @tile(
// NARROW:         iter_args({{.+}}) -> (vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>)
// NARROW:         return
func.func @tile(%a: memref<2x?xf32>, %b: memref<?x32xf32>, %c: memref<2x32xf32>) {
  linalg.matmul ins(%a, %b : memref<2x?xf32>, memref<?x32xf32>) outs(%c : memref<2x32xf32>)
  return
}

// -----

// Tests that the tile of AVX-512 is one block there, and blocks of three rows where six accumulators fit.
// CHECK-LABEL: func.func @tile_12x32(
// CHECK:         scf.for
// CHECK-COUNT-24:  math.fma
// CHECK:           scf.yield
// CHECK-NOT:     scf.for
// CHECK:         return
// NARROW-LABEL: func.func @tile_12x32(
// NARROW:         scf.for
// NARROW:           scf.for
// NARROW-COUNT-6:     math.fma
// NARROW:             scf.yield
// NARROW:         return
func.func @tile_12x32(%a: memref<12x?xf32>, %b: memref<?x32xf32>, %c: memref<12x32xf32>) {
  linalg.matmul ins(%a, %b : memref<12x?xf32>, memref<?x32xf32>) outs(%c : memref<12x32xf32>)
  return
}

// -----

// Tests that bf16 weights are widened in pairs: one load of 32, a shift for the even and a mask for the odd
// columns; the accumulators are split and joined once, outside of the loop.
// CHECK-LABEL: func.func @tile_bf16(
// CHECK:         vector.shuffle
// CHECK:         scf.for
// CHECK:           vector.load %{{.+}} : memref<?x32xbf16>, vector<32xbf16>
// CHECK-NOT:       arith.extf
// CHECK:           arith.shli %[[PAIRS:.+]], %{{.+}} : vector<16xi32>
// CHECK:           math.fma
// CHECK:           arith.andi %[[PAIRS]], %{{.+}} : vector<16xi32>
// CHECK:           math.fma
// CHECK:           scf.yield
// CHECK:         vector.shuffle
// CHECK:         vector.store
func.func @tile_bf16(%a: memref<1x?xf32>, %b: memref<?x32xbf16>, %c: memref<1x32xf32>) {
  linalg.generic {indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (k, n)>, affine_map<(m, n, k) -> (m, n)>],
                  iterator_types = ["parallel", "parallel", "reduction"]}
    ins(%a, %b : memref<1x?xf32>, memref<?x32xbf16>) outs(%c : memref<1x32xf32>) {
  ^bb0(%x: f32, %w: bf16, %acc: f32):
    %wide = arith.extf %w : bf16 to f32
    %p = arith.mulf %x, %wide : f32
    %s = arith.addf %acc, %p : f32
    linalg.yield %s : f32
  }
  return
}

// -----

// Tests that several panels of one row are one block, so that the chains of one do not wait for each other; a single
// row leaves fetching ahead to the hardware.
// CHECK-LABEL: func.func @panels(
// CHECK:         scf.for
// CHECK-NOT:       memref.prefetch
// CHECK-COUNT-8:   math.fma
// CHECK:           scf.yield
// CHECK-NOT:     scf.for
// CHECK:         return
func.func @panels(%a: memref<?xf32>, %b: memref<4x?x32xf32>, %c: memref<4x32xf32>) {
  linalg.generic {indexing_maps = [affine_map<(p, n, k) -> (k)>, affine_map<(p, n, k) -> (p, k, n)>, affine_map<(p, n, k) -> (p, n)>],
                  iterator_types = ["parallel", "parallel", "reduction"]}
    ins(%a, %b : memref<?xf32>, memref<4x?x32xf32>) outs(%c : memref<4x32xf32>) {
  ^bb0(%x: f32, %w: f32, %acc: f32):
    %p = arith.mulf %x, %w : f32
    %s = arith.addf %acc, %p : f32
    linalg.yield %s : f32
  }
  return
}

// -----

// Tests that rows times rows have the reduction in lanes, and that one fixed tree (8, 4, 2, 1) closes the sum
// before the initial value is added.
// CHECK-LABEL: func.func @rows(
// CHECK-SAME:    %{{[^:]+}}: memref<?xf32>, %{{[^:]+}}: memref<?xf32>, %[[C:[^:]+]]: memref<f32>
// CHECK:         %[[LANES:.+]] = scf.for
// CHECK:           math.fma %{{.+}}, %{{.+}}, %{{.+}} : vector<16xf32>
// CHECK:         scf.if %{{.+}} -> (vector<16xf32>)
// CHECK:           %[[MASK:.+]] = vector.create_mask
// CHECK:           %[[SUM:.+]] = math.fma
// CHECK:           arith.select %[[MASK]], %[[SUM]], %[[LANES]]
// CHECK:         %[[INIT:.+]] = memref.load %[[C]][]
// CHECK:         arith.addf %{{.+}}, %{{.+}} : vector<8xf32>
// CHECK:         arith.addf %{{.+}}, %{{.+}} : vector<4xf32>
// CHECK:         arith.addf %{{.+}}, %{{.+}} : vector<2xf32>
// CHECK:         %[[LAST:.+]] = arith.addf %{{.+}}, %{{.+}} : f32
// CHECK:         %[[RESULT:.+]] = arith.addf %[[INIT]], %[[LAST]] : f32
// CHECK:         memref.store %[[RESULT]], %[[C]][]
func.func @rows(%a: memref<?xf32>, %b: memref<?xf32>, %c: memref<f32>) {
  linalg.dot ins(%a, %b : memref<?xf32>, memref<?xf32>) outs(%c : memref<f32>)
  return
}

// -----

// Tests that a product whose output is not contiguous becomes scalar chains, fused all the same.
// CHECK-LABEL: func.func @columns(
// CHECK-NOT:     vector
// CHECK:         scf.for {{.+}} iter_args
// CHECK:           math.fma %{{.+}}, %{{.+}}, %{{.+}} : f32
// CHECK-NOT:     vector
// CHECK:         return
func.func @columns(%a: memref<?x8xf32>, %b: memref<8x?xf32>, %c: memref<8x8xf32, strided<[?, ?]>>) {
  linalg.generic {indexing_maps = [affine_map<(m, n, k) -> (k, m)>, affine_map<(m, n, k) -> (n, k)>, affine_map<(m, n, k) -> (m, n)>],
                  iterator_types = ["parallel", "parallel", "reduction"]}
    ins(%a, %b : memref<?x8xf32>, memref<8x?xf32>) outs(%c : memref<8x8xf32, strided<[?, ?]>>) {
  ^bb0(%x: f32, %w: f32, %acc: f32):
    %p = arith.mulf %x, %w : f32
    %s = arith.addf %acc, %p : f32
    linalg.yield %s : f32
  }
  return
}

// -----

// Tests that a dynamic width runs in whole blocks, whole vectors and one masked tail.
// CHECK-LABEL: func.func @dynamic_width(
// CHECK:         scf.for
// CHECK:         scf.for
// CHECK:         scf.if
// CHECK:           %[[MASK:.+]] = vector.create_mask
// CHECK:           vector.maskedload %{{.+}}, %[[MASK]]
// CHECK:           vector.maskedstore %{{.+}}, %[[MASK]]
// CHECK:         return
func.func @dynamic_width(%a: memref<1x?xf32>, %b: memref<?x?xf32>, %c: memref<1x?xf32>) {
  linalg.matmul ins(%a, %b : memref<1x?xf32>, memref<?x?xf32>) outs(%c : memref<1x?xf32>)
  return
}
