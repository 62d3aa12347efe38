// RUN: moe-opt %s --moe-cpu-expand-copy | FileCheck %s

// Tests that a copy becomes linalg, and that copies of a buffer onto itself vanish.
// CHECK-LABEL: func.func @copies(
// CHECK-SAME:    %[[A:[^:]+]]: memref<8x8xf32>, %[[B:[^:]+]]: memref<8x8xf32>
// CHECK:         linalg.generic {{.+}} ins(%[[A]] : memref<8x8xf32>) outs(%[[B]] : memref<8x8xf32>)
// CHECK-NOT:     linalg.generic
// CHECK-NOT:     memref.copy
// CHECK:         return
func.func @copies(%a: memref<8x8xf32>, %b: memref<8x8xf32>, %i: index) {
  memref.copy %a, %b : memref<8x8xf32> to memref<8x8xf32>
  memref.copy %a, %a : memref<8x8xf32> to memref<8x8xf32>
  %x = memref.subview %a[%i, 0] [1, 8] [1, 1] : memref<8x8xf32> to memref<1x8xf32, strided<[8, 1], offset: ?>>
  %y = memref.subview %a[%i, 0] [1, 8] [1, 1] : memref<8x8xf32> to memref<1x8xf32, strided<[8, 1], offset: ?>>
  memref.copy %x, %y : memref<1x8xf32, strided<[8, 1], offset: ?>> to memref<1x8xf32, strided<[8, 1], offset: ?>>
  return
}

// Tests that different places of one buffer are copied, and that buffers without a rank are left alone.
// CHECK-LABEL: func.func @kept(
// CHECK:         linalg.generic
// CHECK:         memref.copy
func.func @kept(%a: memref<8x8xf32>, %i: index, %j: index, %u: memref<*xf32>, %v: memref<*xf32>) {
  %x = memref.subview %a[%i, 0] [1, 8] [1, 1] : memref<8x8xf32> to memref<1x8xf32, strided<[8, 1], offset: ?>>
  %y = memref.subview %a[%j, 0] [1, 8] [1, 1] : memref<8x8xf32> to memref<1x8xf32, strided<[8, 1], offset: ?>>
  memref.copy %x, %y : memref<1x8xf32, strided<[8, 1], offset: ?>> to memref<1x8xf32, strided<[8, 1], offset: ?>>
  memref.copy %u, %v : memref<*xf32> to memref<*xf32>
  return
}
