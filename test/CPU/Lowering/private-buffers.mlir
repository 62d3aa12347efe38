// RUN: moe-opt %s -moe-cpu-private-buffers -split-input-file -verify-diagnostics | FileCheck %s

// Tests that a small buffer moves to the stack of the iteration, out of an inner loop.
// CHECK-LABEL: func.func @small(
// CHECK: scf.parallel
// CHECK-NEXT: %[[STACK:.*]] = memref.alloca() {alignment = 64 : i64} : memref<16xf32>
// CHECK: scf.for
// CHECK-NOT: memref.alloc
// CHECK: memref.store %{{.*}}, %[[STACK]]
func.func @small(%n: index, %v: f32) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.parallel (%i) = (%c0) to (%n) step (%c1) {
    scf.for %j = %c0 to %n step %c1 {
      %a = memref.alloc() : memref<16xf32>
      memref.store %v, %a[%c0] : memref<16xf32>
    }
  }
  return
}

// -----

// Tests that the buffers of one loop share the room on the stack, and that each loop has it anew.
// CHECK-LABEL: func.func @several(
// CHECK: memref.alloc({{.*}}) {alignment = 64 : i64} : memref<?xi8>
// CHECK: scf.parallel
// CHECK-DAG: memref.alloca() {alignment = 64 : i64} : memref<40000xf32>
// CHECK-DAG: memref.alloca() {alignment = 64 : i64} : memref<24000xf32>
// CHECK-DAG: memref.view {{.*}} to memref<36000xf32>
// CHECK: scf.parallel
// CHECK-NEXT: memref.alloca() {alignment = 64 : i64} : memref<65536xf32>
func.func @several(%n: index, %v: f32) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.parallel (%i) = (%c0) to (%n) step (%c1) {
    %a = memref.alloc() : memref<40000xf32>
    %b = memref.alloc() : memref<36000xf32>
    %c = memref.alloc() : memref<24000xf32>
    memref.store %v, %a[%c0] : memref<40000xf32>
    memref.store %v, %b[%c0] : memref<36000xf32>
    memref.store %v, %c[%c0] : memref<24000xf32>
  }
  scf.parallel (%i) = (%c0) to (%n) step (%c1) {
    %a = memref.alloc() : memref<65536xf32>
    memref.store %v, %a[%c0] : memref<65536xf32>
  }
  return
}

// -----

// Tests that a buffer whose size is known in the loop only gets room for the largest, once for each thread.
// CHECK-LABEL: func.func @dynamic(
// CHECK-SAME: %[[LENGTHS:[^:]+]]: memref<?xindex>
// CHECK: %[[LARGEST:.*]] = scf.for %[[I:.*]] = {{.*}} iter_args(%[[SO_FAR:.*]] = %{{.*}})
// CHECK: memref.load %[[LENGTHS]][%[[I]]]
// CHECK: arith.maxsi %[[SO_FAR]]
// CHECK: call @omp_get_max_threads()
// CHECK: %[[ALL:.*]] = memref.alloc(%{{.*}}) {alignment = 64 : i64} : memref<?xi8>
// CHECK: scf.parallel
// CHECK: call @omp_get_thread_num()
// CHECK: arith.muli %{{.*}}, %[[LARGEST]]
// CHECK: memref.view %[[ALL]]
// CHECK-NOT: memref.alloc
// CHECK: return
func.func @dynamic(%lengths: memref<?xindex>, %n: index, %v: f32) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.parallel (%i) = (%c0) to (%n) step (%c1) {
    %length = memref.load %lengths[%i] : memref<?xindex>
    %a = memref.alloc(%length) : memref<?xf32>
    memref.store %v, %a[%c0] : memref<?xf32>
  }
  return
}

// -----

// Tests that allocations outside of parallel loops stay.
// CHECK-LABEL: func.func @serial(
// CHECK: memref.alloc() : memref<16xf32>
func.func @serial(%v: f32) {
  %c0 = arith.constant 0 : index
  %a = memref.alloc() : memref<16xf32>
  memref.store %v, %a[%c0] : memref<16xf32>
  return
}

// -----

// Tests that a size that depends on an inner loop is refused.
func.func @inner(%n: index, %v: f32) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.parallel (%i) = (%c0) to (%n) step (%c1) {
    scf.for %j = %c1 to %n step %c1 {
      // expected-error@+1 {{expected the size of a buffer in a parallel loop not to depend on an inner loop}}
      %a = memref.alloc(%j) : memref<?xf32>
      memref.store %v, %a[%c0] : memref<?xf32>
    }
  }
  return
}

// -----

// Tests that a function that allocates may not be called from a parallel loop.
func.func private @helper(%v: f32) {
  %c0 = arith.constant 0 : index
  // expected-note@+1 {{here 'helper' allocates}}
  %a = memref.alloc() : memref<16xf32>
  memref.store %v, %a[%c0] : memref<16xf32>
  return
}
func.func @calls(%n: index, %v: f32) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.parallel (%i) = (%c0) to (%n) step (%c1) {
    // expected-error@+1 {{expected no allocation in a function called from a parallel loop}}
    func.call @helper(%v) : (f32) -> ()
  }
  return
}

// -----

// Tests that a size may be read from memory that the loop leaves alone, though it writes to other memory.
// CHECK-LABEL: func.func @size_from_memory(
// CHECK:         scf.for
// CHECK:           memref.load
// CHECK:         memref.alloc(%{{.+}}) {alignment = 64 : i64} : memref<?xi8>
// CHECK:         scf.parallel
// CHECK:           memref.view
func.func @size_from_memory(%sizes: memref<?xindex>, %out: memref<?xf32>, %n: index, %v: f32) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.parallel (%i) = (%c0) to (%n) step (%c1) {
    %size = memref.load %sizes[%i] : memref<?xindex>
    %a = memref.alloc(%size) : memref<?xf32>
    memref.store %v, %a[%c0] : memref<?xf32>
    memref.store %v, %out[%i] : memref<?xf32>
  }
  return
}

// -----

// Tests that a size may not be read from what the loop writes, be it through a view.
func.func @size_changes(%sizes: memref<8xindex>, %n: index, %v: f32) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.parallel (%i) = (%c0) to (%n) step (%c1) {
    %view = memref.subview %sizes[4] [4] [1] : memref<8xindex> to memref<4xindex, strided<[1], offset: 4>>
    // expected-note@+1 {{it is written here}}
    memref.store %n, %view[%c1] : memref<4xindex, strided<[1], offset: 4>>
    %size = memref.load %sizes[%i] : memref<8xindex>
    // expected-error@+1 {{expected the size of a buffer in a parallel loop not to be read from memory that the loop writes to}}
    %a = memref.alloc(%size) : memref<?xf32>
    memref.store %v, %a[%c0] : memref<?xf32>
  }
  return
}
