// moe-gpu-check-tokens: what fits is left as it is.
// RUN: moe-opt %s --moe-gpu-check-tokens -split-input-file | FileCheck %s

// Tests the most tokens that a grid has blocks for: 2^31 - 1 blocks of 256 threads, 2^10 elements a token.
// CHECK-LABEL: func.func @most(
// CHECK: gpu.launch_func
module attributes {gpu.container_module, moe.device = #moe.gpu<"sm_90a", maxTokens = 536870911>} {
  gpu.module @device {
    gpu.func @k() kernel { gpu.return }
  }
  func.func @most(%x: memref<?x1024xf32>) {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c256 = arith.constant 256 : index
    %c255 = arith.constant 255 : index
    %c1024 = arith.constant 1024 : index
    %n = memref.dim %x, %c0 : memref<?x1024xf32>
    %elements = arith.muli %n, %c1024 : index
    %padded = arith.addi %elements, %c255 : index
    %blocks = arith.divui %padded, %c256 : index
    gpu.launch_func @device::@k blocks in (%blocks, %c1, %c1) threads in (%c256, %c1, %c1)
    return
  }
}

// -----

// Tests that extents that are no numbers of tokens have no bound here: of caches, of other dimensions, of numbers given.
// CHECK-LABEL: func.func @unknown(
// CHECK-COUNT-3: gpu.launch_func
module attributes {gpu.container_module, moe.device = #moe.gpu<"sm_90a", maxTokens = 2147483647>} {
  gpu.module @device {
    gpu.func @k() kernel { gpu.return }
  }
  func.func @unknown(%cache: memref<?x?xf32> {moe.role = "cache"}, %x: memref<?x?xf32>, %count: index) {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c8 = arith.constant 8 : index
    %sequences = memref.dim %cache, %c0 : memref<?x?xf32>
    %columns = memref.dim %x, %c1 : memref<?x?xf32>
    %a = arith.muli %sequences, %c8 : index
    %b = arith.muli %columns, %c8 : index
    %c = arith.muli %count, %c8 : index
    gpu.launch_func @device::@k blocks in (%a, %c1, %c1) threads in (%c1, %c1, %c1)
    gpu.launch_func @device::@k blocks in (%b, %c1, %c1) threads in (%c1, %c1, %c1)
    gpu.launch_func @device::@k blocks in (%c, %c1, %c1) threads in (%c1, %c1, %c1)
    return
  }
}

// -----

// Tests that minima bound and that what is selected away does not count.
// CHECK-LABEL: func.func @arithmetic(
// CHECK: memref.alloc
module attributes {moe.device = #moe.gpu<"sm_90a", maxTokens = 2147483647>} {
  func.func @arithmetic(%x: memref<?xi8>, %count: index) {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c100 = arith.constant 100 : index
    %n = memref.dim %x, %c0 : memref<?xi8>
    %few = arith.minsi %count, %c100 : index
    %less = arith.subi %n, %c1 : index
    %empty = arith.cmpi eq, %n, %c0 : index
    %rows = arith.select %empty, %c0, %less : index
    %small = memref.alloc(%few, %rows) : memref<?x?xi8>
    return
  }
}
