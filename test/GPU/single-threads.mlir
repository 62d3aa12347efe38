// RUN: moe-opt %s --moe-gpu-single-threads --split-input-file --verify-diagnostics | FileCheck %s

// Tests that neighbouring accesses share one thread, and that a number goes on through a buffer.
// CHECK-LABEL: func.func @neighbours(
// CHECK-SAME:    %[[A:[^:]+]]: memref<2xindex>, %[[B:[^:]+]]: memref<?xindex>
// CHECK:         %[[PASSED:.+]] = memref.alloc() : memref<index>
// CHECK:         scf.parallel ({{.+}}) = (%{{.+}}) to (%{{.+}})
// CHECK-NEXT:      %[[NUMBER:.+]] = memref.load %[[A]]
// CHECK-NEXT:      memref.store {{.+}}, %[[A]]
// CHECK-NEXT:      memref.store %[[NUMBER]], %[[PASSED]][]
// CHECK:         %[[AGAIN:.+]] = memref.load %[[PASSED]][]
// CHECK:         scf.parallel
// CHECK-NEXT:      memref.store %[[AGAIN]], %[[B]]
func.func @neighbours(%a: memref<2xindex>, %b: memref<?xindex>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %x = memref.load %a[%c0] : memref<2xindex>
  memref.store %n, %a[%c1] : memref<2xindex>
  scf.parallel (%i) = (%c0) to (%n) step (%c1) {
    memref.store %x, %b[%i] : memref<?xindex>
  }
  return
}

// -----

// Tests that a loop whose length the host knows stays on the host where it launches kernels.
// CHECK-LABEL: func.func @launches(
// CHECK:         scf.for
// CHECK-NEXT:      scf.parallel
func.func @launches(%b: memref<?xindex>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.for %k = %c0 to %n step %c1 {
    scf.parallel (%i) = (%c0) to (%n) step (%c1) {
      memref.store %k, %b[%i] : memref<?xindex>
    }
  }
  return
}

// -----

// Tests that a loop whose length stands in memory runs on the device.
// CHECK-LABEL: func.func @data_dependent(
// CHECK:         scf.parallel
// CHECK-NEXT:      %[[LENGTH:.+]] = memref.load
// CHECK-NEXT:      scf.for {{.+}} to %[[LENGTH]]
func.func @data_dependent(%a: memref<index>, %b: memref<?xindex>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %n = memref.load %a[] : memref<index>
  scf.for %k = %c0 to %n step %c1 {
    memref.store %k, %b[%k] : memref<?xindex>
  }
  return
}

// -----

// Tests that a table which another function gets is copied to the device's memory, by a kernel.
// CHECK-LABEL: func.func @table(
// CHECK:         %[[TABLE:.+]] = memref.get_global @numbers
// CHECK:         %[[COPY:.+]] = memref.alloc() : memref<4xf32>
// CHECK:         scf.parallel (%[[I:.+]]) =
// CHECK-NEXT:      %[[NUMBER:.+]] = memref.load %[[TABLE]][%[[I]]]
// CHECK-NEXT:      memref.store %[[NUMBER]], %[[COPY]][%[[I]]]
// CHECK:         call @user(%[[COPY]])
memref.global "private" constant @numbers : memref<4xf32> = dense<[1.0, 2.0, 3.0, 4.0]>
func.func private @user(%a: memref<4xf32>) {
  return
}
func.func @table() {
  %a = memref.get_global @numbers : memref<4xf32>
  call @user(%a) : (memref<4xf32>) -> ()
  return
}

// -----

func.func private @user(%a: memref<index>) {
  return
}
func.func @call(%a: memref<index>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %n = memref.load %a[] : memref<index>
  // expected-error @below {{expected no call inside loops and branches that depend on the device's memory}}
  scf.for %k = %c0 to %n step %c1 {
    memref.store %k, %a[] : memref<index>
    func.call @user(%a) : (memref<index>) -> ()
  }
  return
}
