// RUN: moe-opt %s --moe-cpu-vectorize --split-input-file | FileCheck %s

// Tests that the module's target says how large a block may be: all rows with vectors of 512 bits, six of them without.
// CHECK-LABEL: func.func @wide(
// CHECK-COUNT-12: math.fma
// CHECK:         scf.yield
// CHECK-NOT:     math.fma
// CHECK:         return
module attributes {moe.target = #moe.cpu<"znver5", "+avx512f", vectorBits = 512, l1Bytes = 49152, l2Bytes = 1048576>} {
  func.func @wide(%a: memref<12x?xf32>, %b: memref<?x16xf32>, %c: memref<12x16xf32>) {
    linalg.matmul ins(%a, %b : memref<12x?xf32>, memref<?x16xf32>) outs(%c : memref<12x16xf32>)
    return
  }
}

// -----

// CHECK-LABEL: func.func @narrow(
// CHECK-COUNT-6: math.fma
// CHECK:         scf.yield
// CHECK-NOT:     math.fma
// CHECK:         return
module attributes {moe.target = #moe.cpu<"x86-64-v3", "+avx2", vectorBits = 256, l1Bytes = 32768, l2Bytes = 524288>} {
  func.func @narrow(%a: memref<12x?xf32>, %b: memref<?x16xf32>, %c: memref<12x16xf32>) {
    linalg.matmul ins(%a, %b : memref<12x?xf32>, memref<?x16xf32>) outs(%c : memref<12x16xf32>)
    return
  }
}
