// RUN: moe-opt %s -moe-gpu-lower-grouped-matmul-hopper | FileCheck %s
// RUN: moe-opt %s -moe-gpu-lower-grouped-matmul-hopper="tile-n=64" | FileCheck %s --check-prefix=FIXED
// RUN: moe-opt %s -moe-gpu-lower-grouped-matmul-hopper="multiprocessors=78" | FileCheck %s --check-prefix=SMALL

func.func private @gate(%g: f32, %u: f32) -> f32 {
  %zero = arith.constant 0.0 : f32
  %p = arith.maximumf %g, %zero : f32
  %r = arith.mulf %p, %u : f32
  return %r : f32
}

// Tests a gathered product: the tile map is written, two maps of weights are made, then the product is launched. Launches
// name their kernels.
// CHECK-LABEL: func.func private @up(
// CHECK-SAME: %[[TOKENS:[^:]+]]: memref<?x64xbf16>, %[[INDICES:[^:]+]]: memref<?xi32>, %[[GATE:[^:]+]]: memref<8x96x64xbf16>,
// CHECK-SAME: %[[UP:[^:]+]]: memref<8x96x64xbf16>, %[[OFFSETS:[^:]+]]: memref<9xi32>, %[[MAP:[^:]+]]: memref<?xi8>,
// CHECK-SAME: %[[OUT:[^:]+]]: memref<?x96xbf16>) {
// CHECK: memref.extract_aligned_pointer_as_index %[[OFFSETS]]
// CHECK: memref.extract_aligned_pointer_as_index %[[MAP]]
// CHECK: call @moe_gpu_launch(%{{.+}}, %{{.+}}, %{{.+}}) {hopper.kernel = @moe_hopper::@up_n[[N:[0-9]+]]_tiles}
// CHECK: %[[GATE_MAP:.+]] = llvm.alloca %{{.+}} x i8 {alignment = 64 : i64}
// CHECK: memref.extract_aligned_pointer_as_index %[[GATE]]
// CHECK: call @moe_gpu_tensor_map(%[[GATE_MAP]],
// CHECK: %[[UP_MAP:.+]] = llvm.alloca %{{.+}} x i8 {alignment = 64 : i64}
// CHECK: memref.extract_aligned_pointer_as_index %[[UP]]
// CHECK: call @moe_gpu_tensor_map(%[[UP_MAP]],
// CHECK: memref.extract_aligned_pointer_as_index %[[TOKENS]]
// CHECK: memref.extract_aligned_pointer_as_index %[[INDICES]]
// CHECK: %[[ROWS:.+]] = memref.dim %[[OUT]]
// CHECK: %[[COUNT:.+]] = arith.index_cast %[[ROWS]] : index to i64
// CHECK: %[[TILES:.+]] = arith.ceildivui %[[COUNT]]
// CHECK: arith.addi %[[TILES]]
// CHECK: %[[BLOCKS:.+]] = arith.minui
// CHECK: llvm.store %[[GATE_MAP]]
// CHECK: llvm.store %[[UP_MAP]]
// CHECK: call @moe_gpu_launch(%{{.+}}, %[[BLOCKS]], %{{.+}}) {hopper.kernel = @moe_hopper::@up_n[[N]]}
// SMALL-LABEL: func.func private @up(
// SMALL: arith.constant 78 : i64
func.func private @up(memref<?x64xbf16>, memref<?xi32>, memref<8x96x64xbf16>, memref<8x96x64xbf16>, memref<9xi32>,
    memref<?xi8>, memref<?x96xbf16>)
  attributes {hopper.grouped_matmul = {banks = 2, gathered, epilogue = @gate, rows_per_expert = 24.0}}

// Tests a product of rows as they lie: a map of the tokens instead of pointers; rows of banks 104 elements apart, of which
// the strides of the map tell; indices of 64 bits.
// CHECK-LABEL: func.func private @down(
// CHECK: call @moe_gpu_launch(%{{.+}}, %{{.+}}, %{{.+}}) {hopper.kernel = @moe_hopper::@down_n[[N:[0-9]+]]_tiles}
// CHECK: %[[PITCH:.+]] = arith.constant 208 : i64
// CHECK: %[[EXPERT:.+]] = arith.constant 13312 : i64
// CHECK: llvm.store %[[PITCH]]
// CHECK: llvm.store %[[EXPERT]]
// CHECK: call @moe_gpu_tensor_map
// CHECK: arith.maxsi
// CHECK: call @moe_gpu_tensor_map
// CHECK: call @moe_gpu_launch(%{{.+}}, %{{.+}}, %{{.+}}) {hopper.kernel = @moe_hopper::@down_n[[N]]}
func.func private @down(memref<?x96xbf16>, memref<8x64x96xbf16, strided<[6656, 104, 1]>>, memref<8x64xf32>,
    memref<9xindex>, memref<?xi8>, memref<?x64xf32>)
  attributes {hopper.grouped_matmul = {vectors = 1, epilogue = @plus, rows_per_expert = 24.0}}
func.func private @plus(%x: f32, %b: f32) -> f32 {
  %r = arith.addf %x, %b : f32
  return %r : f32
}

// Tests that a product of any number of rows up to a bound chooses among kernels by the rows of the call; that one tile
// is asked for leaves one.
// CHECK-LABEL: func.func private @any(
// CHECK-SAME: %[[OUT:[^:]+]]: memref<?x64xf32>)
// CHECK: %[[LIMIT:.+]] = arith.constant {{[0-9]+}} : i64
// CHECK: memref.dim %[[OUT]]
// CHECK: %[[FITS:.+]] = arith.cmpi ule, %{{.+}}, %[[LIMIT]] : i64
// CHECK: scf.if %[[FITS]] {
// CHECK: {hopper.kernel = @moe_hopper::@any_n8}
// CHECK: } else {
// CHECK: {hopper.kernel = @moe_hopper::@any_n256}
// CHECK: return
// FIXED-LABEL: func.func private @any(
// FIXED-NOT: scf.if
// FIXED: {hopper.kernel = @moe_hopper::@any_n64}
// FIXED: return
func.func private @any(memref<?x64xbf16>, memref<8x64x64xbf16>, memref<9xindex>, memref<?xi8>, memref<?x64xf32>)
  attributes {hopper.grouped_matmul = {max_rows = 32768}}

// Tests that a dense product is one launch, of as many blocks as its rows have tiles; the rows are passed by value.
// CHECK-LABEL: func.func private @dense(
// CHECK-SAME: %[[ROWS:[^:]+]]: index, %{{[^:]+}}: memref<?x64xf32>)
// CHECK-NOT: moe_gpu_launch
// CHECK: %[[COUNT:.+]] = arith.index_cast %[[ROWS]] : index to i64
// CHECK: llvm.store %[[COUNT]]
// CHECK: %[[TILES:.+]] = arith.ceildivui %[[COUNT]]
// CHECK: arith.muli %[[TILES]]
// CHECK: call @moe_gpu_launch(%{{.+}}, %{{.+}}, %{{.+}}) {hopper.kernel = @moe_hopper::@dense_n{{[0-9]+}}}
// CHECK-NOT: moe_gpu_launch
// CHECK: return
func.func private @dense(memref<?x64xbf16>, memref<1x64x64xbf16>, index, memref<?x64xf32>)
  attributes {hopper.grouped_matmul = {dense, rows_per_expert = 24.0}}

// CHECK-LABEL: gpu.module @moe_hopper
// CHECK: llvm.func @up_n{{[0-9]+}}_tiles(
// CHECK: llvm.func @up_n{{[0-9]+}}(
// CHECK: llvm.func @down_n{{[0-9]+}}_tiles(
// CHECK: llvm.func @down_n{{[0-9]+}}(
// CHECK-NOT: llvm.func @dense_n{{[0-9]+}}_tiles(
// CHECK: llvm.func @dense_n{{[0-9]+}}({{.*}}%{{[^:]+}}: i64, %{{[^:]+}}: !llvm.ptr<1>)
// FIXED: llvm.func @up_n64({{.+}} hopper.kernel = {parameters = 6 : i64, shared_bytes = 201856 : i64, threads = 384 : i64}
