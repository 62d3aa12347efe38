// RUN: moe-opt %s --moe-gpu-outline-kernels --split-input-file --verify-diagnostics | FileCheck %s

// Tests that a loop becomes a launch with one thread an iteration, and that constants and tables are the kernel's own.
// CHECK-LABEL: func.func @scale(
// CHECK-SAME:    %[[X:[^:]+]]: memref<?x4xf32>, %{{[^:]+}}: index
// CHECK-NOT:     memref.load
// CHECK-DAG:     %[[TOTAL:.+]] = arith.muli {{.+}} : index
// CHECK-DAG:     %[[PADDED:.+]] = arith.addi %[[TOTAL]], %{{.+}} : index
// CHECK:         %[[BLOCKS:.+]] = arith.divui %[[PADDED]], %[[THREADS:.+]] : index
// CHECK:         gpu.launch_func @device::@scale_loop blocks in (%[[BLOCKS]], %[[ONE:.+]], %[[ONE]]) threads in (%[[THREADS]], %[[ONE]], %[[ONE]])
// CHECK-SAME:      args(%[[TOTAL]] : index, %[[X]] : memref<?x4xf32>)
// CHECK-LABEL: gpu.module @device
// CHECK:         gpu.func @scale_loop(%[[COUNT:[^:]+]]: index, %[[BUFFER:[^:]+]]: memref<?x4xf32>) kernel
// CHECK-SAME:      known_block_size = array<i32: 256, 1, 1>
// CHECK:         %[[TABLE:.+]] = memref.get_global @factors
// CHECK:         %[[INSIDE:.+]] = arith.cmpi slt, %[[NUMBER:.+]], %[[COUNT]]
// CHECK-NEXT:    scf.if %[[INSIDE]]
// CHECK-DAG:       arith.remui %[[NUMBER]], %[[WIDTH:.+]] : index
// CHECK-DAG:       arith.divui %[[NUMBER]], %[[WIDTH]] : index
// CHECK:           memref.load %[[TABLE]]
// CHECK:           memref.store %{{.+}}, %[[BUFFER]]
// CHECK:         memref.global "private" constant @factors
memref.global "private" constant @factors : memref<4xf32> = dense<[1.0, 2.0, 3.0, 4.0]>
func.func @scale(%x: memref<?x4xf32>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  %table = memref.get_global @factors : memref<4xf32>
  scf.parallel (%i, %j) = (%c0, %c0) to (%n, %c4) step (%c1, %c1) {
    %a = memref.load %x[%i, %j] : memref<?x4xf32>
    %b = memref.load %table[%j] : memref<4xf32>
    %c = arith.mulf %a, %b : f32
    memref.store %c, %x[%i, %j] : memref<?x4xf32>
  }
  return
}

// -----

// Tests that equal names are told apart, and that a name is one that PTX can spell.
// CHECK-DAG: gpu.func @f_layer_0_attention(
// CHECK-DAG: gpu.func @f_layer_0_attention_1(
func.func @f(%x: memref<?xindex>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.parallel (%i) = (%c0) to (%n) step (%c1) {
    memref.store %i, %x[%i] : memref<?xindex>
  } loc("attention"("layer-0"))
  scf.parallel (%i) = (%c0) to (%n) step (%c1) {
    memref.store %i, %x[%i] : memref<?xindex>
  } loc("attention"("layer.0"))
  return
}

// -----

func.func private @user(%i: index) {
  return
}
func.func @call(%n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.parallel (%i) = (%c0) to (%n) step (%c1) {
    // expected-error @below {{expected no call of a function in a kernel}}
    func.call @user(%i) : (index) -> ()
  }
  return
}

// -----

// Tests that phases become one kernel with a barrier behind each, that a grid is at least one block, and that the last
// block to arrive, which one thread finds out, goes on alone.
// CHECK-LABEL: func.func @phases(
// CHECK:         %[[PADDED:.+]] = arith.addi
// CHECK:         %[[FULL:.+]] = arith.divui %[[PADDED]], %{{.+}} : index
// CHECK:         %[[BLOCKS:.+]] = arith.maxsi %[[FULL]], %{{.+}} : index
// CHECK:         %[[TICKET:.+]] = call @moe_gpu_ticket() : () -> !llvm.ptr
// CHECK:         %[[THREADS:.+]] = arith.constant 512 : index
// CHECK:         gpu.launch_func @device::@phases_loop blocks in (%[[BLOCKS]], %[[ONE:.+]], %[[ONE]]) threads in (%[[THREADS]], %[[ONE]], %[[ONE]])
// CHECK-SAME:      %[[TICKET]] : !llvm.ptr
// CHECK-NOT:     gpu.launch_func
// CHECK:         gpu.func @phases_loop(
// CHECK-SAME:      known_block_size = array<i32: 512, 1, 1>
// CHECK:         memref.alloca() : memref<1xindex>
// CHECK:         %[[BLOCK:.+]] = gpu.block_id x
// CHECK:         %[[THREAD:.+]] = gpu.thread_id x
// CHECK:         %[[SIZE:.+]] = gpu.block_dim x
// CHECK:         %[[FIRST:.+]] = arith.muli %[[BLOCK]], %{{.+}} : index
// CHECK:         %[[COUNT:.+]] = arith.minsi
// CHECK:         scf.for %[[I:.+]] = %[[THREAD]] to %[[COUNT]] step %[[SIZE]]
// CHECK:           arith.addi %[[I]], %[[FIRST]] : index
// CHECK:           memref.store
// CHECK:         }
// CHECK-NEXT:    gpu.barrier
// CHECK:         scf.for
// CHECK:         gpu.barrier
// CHECK:         %[[OTHERS:.+]] = arith.index_cast %{{.+}} : index to i32
// CHECK:         %[[OWN:.+]] = scf.if
// CHECK-NEXT:      llvm.fence syncscope("device") acq_rel
// CHECK-NEXT:      %[[BEFORE:.+]] = llvm.atomicrmw uinc_wrap %{{.+}}, %[[OTHERS]] syncscope("device") monotonic
// CHECK-NEXT:      llvm.fence syncscope("device") acq_rel
// CHECK-NEXT:      arith.cmpi eq, %[[BEFORE]], %[[OTHERS]]
// CHECK:         %[[ANY:.+]] = gpu.all_reduce{{ +}}or %[[OWN]] uniform
// CHECK:         %[[LAST:.+]] = arith.cmpi ne, %[[ANY]]
// CHECK:         scf.if %[[LAST]] {
// CHECK:           scf.for %{{.+}} = %[[THREAD]] to %{{.+}} step %[[SIZE]]
// CHECK:           gpu.barrier
// CHECK:         gpu.return
func.func @phases(%n: index, %x: memref<?xindex>, %y: memref<?xindex>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.parallel (%i) = (%c0) to (%n) step (%c1) {
    %own = memref.alloca() : memref<1xindex>
    memref.store %i, %own[%c0] : memref<1xindex>
    %a = memref.load %own[%c0] : memref<1xindex>
    memref.store %a, %x[%i] : memref<?xindex>
  } {launch.phase = array<i64: 0, 16>}
  scf.parallel (%i) = (%c0) to (%n) step (%c1) {
    %a = memref.load %x[%i] : memref<?xindex>
    memref.store %a, %y[%i] : memref<?xindex>
  } {launch.phase = array<i64: 0, 16>}
  scf.parallel (%i) = (%c0) to (%n) step (%c1) {
    %a = memref.load %y[%c0] : memref<?xindex>
    memref.store %a, %x[%i] : memref<?xindex>
  } {launch.phase = array<i64: 0, 0>}
  return
}
