// RUN: moe-opt %s --moe-gpu-sink-loads --split-input-file --verify-diagnostics | FileCheck %s

// Tests that a kernel reads its number itself.
// CHECK-LABEL: func.func @number(
// CHECK-SAME:    %[[A:[^:]+]]: memref<index>, %[[B:[^:]+]]: memref<?xindex>
// CHECK-NOT:     memref.load
// CHECK:         scf.parallel
// CHECK-NEXT:      %[[X:.+]] = memref.load %[[A]][]
// CHECK-NEXT:      %[[MORE:.+]] = arith.addi %[[X]],
// CHECK-NEXT:      memref.store %[[MORE]], %[[B]]
func.func @number(%a: memref<index>, %b: memref<?xindex>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %x = memref.load %a[] : memref<index>
  %more = arith.addi %x, %n : index
  scf.parallel (%i) = (%c0) to (%n) step (%c1) {
    memref.store %more, %b[%i] : memref<?xindex>
  }
  return
}

// -----

// Tests that a buffer which nobody reads any more goes, with the kernel that wrote it.
// CHECK-LABEL: func.func @unread(
// CHECK-NEXT:    return
func.func @unread(%a: memref<index>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %b = memref.alloc() : memref<index>
  scf.parallel (%i) = (%c0) to (%c1) step (%c1) {
    %x = memref.load %a[] : memref<index>
    memref.store %x, %b[] : memref<index>
  }
  %y = memref.load %b[] : memref<index>
  return
}

// -----

func.func @length(%a: memref<index>, %b: memref<?xindex>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  // expected-error @below {{expected the host to need no number from the device's memory}}
  %n = memref.load %a[] : memref<index>
  // expected-note @below {{it is needed here}}
  scf.parallel (%i) = (%c0) to (%n) step (%c1) {
    memref.store %i, %b[%i] : memref<?xindex>
  }
  return
}
