// A function that stands for a product on tensor cores, called beside a module of other kernels.
module attributes {gpu.container_module, moe.device = #moe.gpu<"sm_90a", maxTokens = 8>} {
  func.func private @product(%rows: memref<?x64xbf16>, %bank: memref<4x32x64xbf16>, %offsets: memref<5xindex>,
      %map: memref<?xi8>, %out: memref<?x32xf32>) attributes {hopper.grouped_matmul = {max_rows = 8}} {
    return
  }
  func.func @f(%rows: memref<?x64xbf16>, %bank: memref<4x32x64xbf16>, %offsets: memref<5xindex>, %map: memref<?xi8>,
      %out: memref<?x32xf32>) {
    call @product(%rows, %bank, %offsets, %map, %out)
      : (memref<?x64xbf16>, memref<4x32x64xbf16>, memref<5xindex>, memref<?xi8>, memref<?x32xf32>) -> ()
    return
  }
  gpu.module @device {
    gpu.func @k() kernel attributes {known_block_size = array<i32: 256, 1, 1>} {
      gpu.return
    }
  }
}
