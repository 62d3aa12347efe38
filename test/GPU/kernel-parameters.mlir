// RUN: moe-opt %s --moe-gpu-kernel-parameters | FileCheck %s

// Tests that a buffer passes as its first element's address and its dynamic stride, and that a size passes only if asked
// for.
// CHECK-LABEL: func.func @host(
// CHECK-SAME:    %[[A:[^:]+]]: memref<?x?xf32, strided<[?, 1], offset: ?>>, %[[N:[^:]+]]: index
// CHECK:         %{{.+}}, %[[OFFSET:.+]], %[[SIZES:.+]]:2, %[[STRIDES:.+]]:2 = memref.extract_strided_metadata %[[A]]
// CHECK-DAG:     %[[BASE:.+]] = memref.extract_aligned_pointer_as_index %[[A]]
// CHECK-DAG:     %[[BYTES:.+]] = arith.muli %[[OFFSET]],
// CHECK:         %[[ADDRESS:.+]] = arith.addi %[[BASE]], %[[BYTES]]
// CHECK:         %[[NUMBER:.+]] = arith.index_cast %[[ADDRESS]]
// CHECK:         %[[POINTER:.+]] = llvm.inttoptr %[[NUMBER]]
// CHECK:         %[[STRIDE:.+]] = arith.index_cast %[[STRIDES]]#0
// CHECK:         %[[WIDTH:.+]] = arith.index_cast %[[SIZES]]#1
// CHECK:         %[[WIDE:.+]] = arith.index_cast %[[N]]
// CHECK:         gpu.launch_func {{.+}} args(%[[POINTER]] : !llvm.ptr, %[[STRIDE]] : i64, %[[WIDTH]] : i64, %[[WIDE]] : i64)
// CHECK:         gpu.func @k(%{{.+}}: !llvm.ptr, %{{.+}}: i64, %{{.+}}: i64, %{{.+}}: i64) kernel
module attributes {gpu.container_module} {
  func.func @host(%a: memref<?x?xf32, strided<[?, 1], offset: ?>>, %n: index) {
    %c1 = arith.constant 1 : index
    gpu.launch_func @device::@k blocks in (%n, %c1, %c1) threads in (%c1, %c1, %c1)
      args(%a : memref<?x?xf32, strided<[?, 1], offset: ?>>, %n : index)
    return
  }
  gpu.module @device {
    gpu.func @k(%a: memref<?x?xf32, strided<[?, 1], offset: ?>>, %n: index) kernel {
      %c1 = arith.constant 1 : index
      %width = memref.dim %a, %c1 : memref<?x?xf32, strided<[?, 1], offset: ?>>
      %last = arith.subi %width, %c1 : index
      %x = memref.load %a[%n, %last] : memref<?x?xf32, strided<[?, 1], offset: ?>>
      memref.store %x, %a[%n, %n] : memref<?x?xf32, strided<[?, 1], offset: ?>>
      gpu.return
    }
  }
}
