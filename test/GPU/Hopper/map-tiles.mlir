// RUN: moe-opt %s --moe-gpu-map-hopper-tiles --split-input-file | FileCheck %s
// RUN: moe-opt %s --moe-gpu-map-hopper-tiles=tile-n=64 --split-input-file | FileCheck %s --check-prefix=FIXED

// Tests that a plan's launch writes the map of the products over its offsets: tiles before each expert, then the tiles. The
// tile follows from the number of rows; products with the same tiles share a map.
// CHECK-LABEL: func.func private @product(
// CHECK-SAME:    hopper.grouped_matmul = {{{.*}}mapped
// CHECK-LABEL: func.func @experts(
// CHECK-SAME:    %[[N:[^:]+]]: index
// CHECK:         } {launch.phase = array<i64: 2, 0>}
// CHECK:         } {launch.phase = array<i64: 2, 0>}
// CHECK:         %[[ROWS:.+]] = arith.muli %[[N]], %{{.+}} : index
// CHECK:         arith.cmpi ule, %[[ROWS]]
// CHECK:         arith.select
// CHECK:         %[[MAP:.+]] = memref.alloc(%{{.+}}) {alignment = 128 : i64} : memref<?xi8>
// CHECK:         %[[WORDS:.+]] = memref.view %[[MAP]]
// CHECK:         %[[STARTS:.+]] = memref.alloc() : memref<9xindex>
// CHECK:         scf.parallel (%[[E:.+]]) =
// CHECK:           memref.store %{{.+}}, %[[STARTS]][%[[E]]]
// CHECK:           memref.store %{{.+}}, %[[WORDS]][
// CHECK:         } {launch.phase = array<i64: 2, 0>}
// CHECK:         scf.parallel
// CHECK-COUNT-4:   memref.store %{{.+}}, %[[WORDS]][
// CHECK:         } {launch.phase = array<i64: 2, 0>}
// CHECK-NOT:     memref.alloc
// CHECK:         call @product(%{{.+}}, %{{.+}}, %{{.+}}, %[[MAP]], %{{.+}})
// CHECK:         call @product(%{{.+}}, %{{.+}}, %{{.+}}, %[[MAP]], %{{.+}})
// FIXED-LABEL: func.func @experts(
// FIXED-NOT:     arith.select
// FIXED:         memref.view
func.func private @product(%rows: memref<?x64xbf16>, %bank: memref<8x96x64xbf16>, %offsets: memref<9xindex>, %map: memref<?xi8>,
                           %out: memref<?x96xf32>) attributes {hopper.grouped_matmul = {banks = 1, vectors = 0, max_rows = 4096}} {
  return
}
func.func @experts(%n: index, %rows: memref<?x64xbf16>, %bank: memref<8x96x64xbf16>, %out: memref<?x96xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %c9 = arith.constant 9 : index
  %offsets = memref.alloc() : memref<9xindex>
  %places = memref.alloc(%n) : memref<?x2xindex>
  scf.parallel (%e) = (%c0) to (%c9) step (%c1) {
    memref.store %e, %offsets[%e] : memref<9xindex>
  } {launch.phase = array<i64: 2, 0>}
  scf.parallel (%t, %s) = (%c0, %c0) to (%n, %c2) step (%c1, %c1) {
    %first = memref.load %offsets[%s] : memref<9xindex>
    memref.store %first, %places[%t, %s] : memref<?x2xindex>
  } {launch.phase = array<i64: 2, 0>}
  %own = memref.alloc(%n) : memref<?xi8>
  call @product(%rows, %bank, %offsets, %own, %out) : (memref<?x64xbf16>, memref<8x96x64xbf16>, memref<9xindex>, memref<?xi8>, memref<?x96xf32>) -> ()
  %other = memref.alloc(%n) : memref<?xi8>
  call @product(%rows, %bank, %offsets, %other, %out) : (memref<?x64xbf16>, memref<8x96x64xbf16>, memref<9xindex>, memref<?xi8>, memref<?x96xf32>) -> ()
  return
}

// -----

// Tests that a product over other offsets writes its map itself.
// CHECK-LABEL: func.func private @product(
// CHECK-SAME:    hopper.grouped_matmul = {banks = 1 : i64, max_rows = 4096 : i64, vectors = 0 : i64}
// CHECK-LABEL: func.func @dense(
// CHECK:         %[[OWN:.+]] = memref.alloc(
// CHECK:         call @product(%{{.+}}, %{{.+}}, %{{.+}}, %[[OWN]], %{{.+}})
func.func private @product(%rows: memref<?x64xbf16>, %bank: memref<1x96x64xbf16>, %offsets: memref<2xindex>, %map: memref<?xi8>,
                           %out: memref<?x96xf32>) attributes {hopper.grouped_matmul = {banks = 1, vectors = 0, max_rows = 4096}} {
  return
}
func.func @dense(%n: index, %rows: memref<?x64xbf16>, %bank: memref<1x96x64xbf16>, %offsets: memref<2xindex>, %out: memref<?x96xf32>) {
  %own = memref.alloc(%n) : memref<?xi8>
  call @product(%rows, %bank, %offsets, %own, %out) : (memref<?x64xbf16>, memref<1x96x64xbf16>, memref<2xindex>, memref<?xi8>, memref<?x96xf32>) -> ()
  return
}
