// RUN: moe-opt %s --moe-gpu-device-buffers --split-input-file --verify-diagnostics | FileCheck %s

// Tests that a single number is the thread's own, and that an array has room for each iteration.
// CHECK-LABEL: func.func @sizes(
// CHECK-SAME:    %[[N:[^:]+]]: index
// CHECK:         %[[COUNT:.+]] = arith.maxsi %[[N]],
// CHECK:         %[[BYTES:.+]] = arith.muli %[[COUNT]],
// CHECK:         %[[ALL:.+]] = memref.alloc(%[[BYTES]]) {alignment = 128 : i64} : memref<?xi8>
// CHECK:         scf.parallel
// CHECK-DAG:       memref.alloca() : memref<1xf32>
// CHECK-DAG:       memref.view %[[ALL]][%{{.+}}][] : memref<?xi8> to memref<100xf32>
func.func @sizes(%n: index, %x: f32) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.parallel (%i) = (%c0) to (%n) step (%c1) {
    %single = memref.alloc() : memref<1xf32>
    %array = memref.alloc() : memref<100xf32>
    memref.store %x, %single[%c0] : memref<1xf32>
    memref.store %x, %array[%c0] : memref<100xf32>
  }
  return
}

// -----

// Tests that a bound in a minimum replaces a number from memory.
// CHECK-LABEL: func.func @minimum(
// CHECK-SAME:    %{{[^:]+}}: memref<index>, %{{[^:]+}}: index, %[[LIMIT:[^:]+]]: index
// CHECK-NOT:     memref.load
// CHECK:         arith.muli %[[LIMIT]]
// CHECK:         memref.alloc
// CHECK:         scf.parallel
// CHECK:           %[[SIZE:.+]] = arith.minsi
// CHECK:           memref.view {{.+}}[%[[SIZE]]] : memref<?xi8> to memref<?xf32>
func.func @minimum(%a: memref<index>, %n: index, %limit: index, %x: f32) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.parallel (%i) = (%c0) to (%n) step (%c1) {
    %count = memref.load %a[] : memref<index>
    %size = arith.minsi %count, %limit : index
    %own = memref.alloc(%size) : memref<?xf32>
    memref.store %x, %own[%c0] : memref<?xf32>
  }
  return
}

// -----

// Tests that the host takes the most where only the device knows how much.
// CHECK-LABEL: func.func @of_host(
// CHECK-SAME:    %{{[^:]+}}: memref<index>, %[[LIMIT:[^:]+]]: index
// CHECK:         %[[SIZE:.+]] = arith.minsi
// CHECK:         arith.muli %[[LIMIT]]
// CHECK:         %[[ALL:.+]] = memref.alloc(%{{.+}}) {alignment = 128 : i64} : memref<?xi8>
// CHECK:         %[[OWN:.+]] = memref.view %[[ALL]][%{{.+}}][%[[SIZE]]] : memref<?xi8> to memref<?xf32>
// CHECK:         memref.store {{.+}}, %[[OWN]]
func.func @of_host(%a: memref<index>, %limit: index, %x: f32) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %count = memref.load %a[] : memref<index>
  %size = arith.minsi %count, %limit : index
  %own = memref.alloc(%size) : memref<?xf32>
  scf.parallel (%i) = (%c0) to (%limit) step (%c1) {
    memref.store %x, %own[%c0] : memref<?xf32>
  }
  return
}

// -----

func.func @unbounded(%a: memref<index>, %n: index, %x: f32) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.parallel (%i) = (%c0) to (%n) step (%c1) {
    %size = memref.load %a[] : memref<index>
    // expected-error @below {{expected the size of a buffer to have a bound that the host knows}}
    %own = memref.alloc(%size) : memref<?xf32>
    memref.store %x, %own[%c0] : memref<?xf32>
  }
  return
}

