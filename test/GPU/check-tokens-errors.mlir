// RUN: moe-opt %s --moe-gpu-check-tokens -split-input-file -verify-diagnostics

// Tests one token more than a grid has blocks for.
module attributes {gpu.container_module, moe.device = #moe.gpu<"sm_90a", maxTokens = 536870912>} {
  gpu.module @device {
    gpu.func @k() kernel { gpu.return }
  }
  func.func @more(%x: memref<?x1024xf32>) {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c256 = arith.constant 256 : index
    %c255 = arith.constant 255 : index
    %c1024 = arith.constant 1024 : index
    %n = memref.dim %x, %c0 : memref<?x1024xf32>
    %elements = arith.muli %n, %c1024 : index
    %padded = arith.addi %elements, %c255 : index
    %blocks = arith.divui %padded, %c256 : index
    // expected-error@below {{expected at most 2147483647 blocks of kernel 'k', got 2147483648 for calls of 536870912 tokens; a smaller --max-tokens needs less}}
    gpu.launch_func @device::@k blocks in (%blocks, %c1, %c1) threads in (%c256, %c1, %c1)
    return
  }
}

// -----

// Tests extents across calls, views and casts: the largest that callers pass.
module attributes {moe.device = #moe.gpu<"sm_90a", maxTokens = 1073741824>} {
  func.func @caller(%x: memref<?xf32> {moe.role = "tokens"}) {
    %c0 = arith.constant 0 : index
    %few = memref.alloc() : memref<7xf32>
    %cast = memref.cast %few : memref<7xf32> to memref<?xf32>
    func.call @callee(%cast) : (memref<?xf32>) -> ()
    %n = memref.dim %x, %c0 : memref<?xf32>
    %same = memref.reinterpret_cast %x to offset: [0], sizes: [%n], strides: [1] : memref<?xf32> to memref<?xf32>
    func.call @callee(%same) : (memref<?xf32>) -> ()
    return
  }
  func.func private @callee(%rows: memref<?xf32>) {
    %c0 = arith.constant 0 : index
    %n = memref.dim %rows, %c0 : memref<?xf32>
    // expected-error@below {{expected a buffer of at most 140737488355328 bytes, got 281474976710656 for calls of 1073741824 tokens}}
    %alloc = memref.alloc(%n) : memref<?x32768xi64>
    return
  }
}

// -----

// Tests that nothing wraps: the square of the tokens has more than 64 bits.
module attributes {moe.device = #moe.gpu<"sm_90a", maxTokens = 2147483647>} {
  func.func @square(%x: memref<?xf32>) {
    %c0 = arith.constant 0 : index
    %n = memref.dim %x, %c0 : memref<?xf32>
    %square = arith.muli %n, %n : index
    // expected-error@below {{got 18446744073709551615 for calls of 2147483647 tokens}}
    %alloc = memref.alloc(%square, %n) : memref<?x?xf32>
    return
  }
}
