// moe-gpu-join-hopper-kernels: kernels of products stand behind all others, and launches know their numbers there.
// RUN: moe-opt %s -moe-gpu-lower-grouped-matmul-hopper=tile-n=8 -moe-gpu-join-hopper-kernels \
// RUN:   | FileCheck %s --implicit-check-not=@silu --implicit-check-not=@moe_hopper
// RUN: not moe-opt %s -moe-gpu-join-hopper-kernels 2>&1 | FileCheck %s --check-prefix=ERROR
// ERROR: error: expected the product to have kernels by now

// CHECK-LABEL: func.func private @down(
// CHECK: %[[TILES:.+]] = arith.constant 2 : i32
// CHECK-NEXT: call @moe_gpu_launch(%[[TILES]], %{{.+}}, %{{.+}}) : (i32, i64, !llvm.ptr) -> ()
// CHECK: llvm.store %{{.+}}, %{{.+}} : !llvm.ptr, !llvm.ptr
// CHECK: %[[PRODUCT:c3_i32_[0-9]+]] = arith.constant 3 : i32
// CHECK-NEXT: call @moe_gpu_launch(%[[PRODUCT]], %{{.+}}, %{{.+}}) : (i32, i64, !llvm.ptr) -> ()
// CHECK-LABEL: gpu.module @device
// CHECK: gpu.func @first
// CHECK: gpu.func @second
// CHECK: llvm.mlir.global external @moe_shared() {addr_space = 3 : i32, alignment = 1024 : i64}
// CHECK: llvm.func @down_n8_tiles({{.*}} moe.parameters = array<i32: 8, 8>, moe.shared_bytes = 68 : i64
// CHECK: llvm.func @down_n8({{.*}} moe.parameters = array<i32: 128, 128, 8, 8>, moe.shared_bytes = {{[0-9]+}} : i64
module attributes {gpu.container_module} {
  func.func private @silu(%x: f32) -> f32 attributes {moe.keep_math} {
    %e = math.exp %x : f32
    return %e : f32
  }
  func.func private @down(%tokens: memref<?x96xbf16>, %bank: memref<8x64x96xbf16>, %offsets: memref<9xindex>,
      %map: memref<?xi8>, %out: memref<?x64xf32>)
      attributes {hopper.grouped_matmul = {epilogue = @silu, max_rows = 100}} {
    return
  }
  gpu.module @device {
    gpu.func @first() kernel { gpu.return }
    gpu.func @second() kernel { gpu.return }
  }
}
