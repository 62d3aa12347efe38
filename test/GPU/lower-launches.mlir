// RUN: moe-opt %s --moe-gpu-lower-launches | FileCheck %s

// Tests that launches share one frame of arguments and name the kernel by its place in the device module.
// CHECK-DAG:   func.func private @moe_gpu_launch(i32, i64, !llvm.ptr)
// CHECK-LABEL: func.func @host(
// CHECK-SAME:    %[[A:[^:]+]]: !llvm.ptr, %[[X:[^:]+]]: f32, %[[N:[^:]+]]: index
// CHECK:         %[[COUNT:.+]] = llvm.mlir.constant(2 : i64)
// CHECK:         %{{.+}} = llvm.alloca %[[COUNT]] x i64
// CHECK:         %[[TABLE:.+]] = llvm.alloca %[[COUNT]] x !llvm.ptr
// CHECK-COUNT-2: llvm.store {{.+}} : !llvm.ptr, !llvm.ptr
// CHECK-NOT:     llvm.alloca
// CHECK:         llvm.store %[[A]],
// CHECK:         llvm.store %[[X]],
// CHECK:         %[[SECOND:.+]] = arith.constant 1 : i32
// CHECK:         %[[BLOCKS:.+]] = arith.index_cast %[[N]] : index to i64
// CHECK:         call @moe_gpu_launch(%[[SECOND]], %[[BLOCKS]], %[[TABLE]])
// CHECK:         %[[FIRST:.+]] = arith.constant 0 : i32
// CHECK:         call @moe_gpu_launch(%[[FIRST]],
module attributes {gpu.container_module} {
  func.func @host(%a: !llvm.ptr, %x: f32, %n: index) {
    %c1 = arith.constant 1 : index
    gpu.launch_func @device::@second blocks in (%n, %c1, %c1) threads in (%c1, %c1, %c1) args(%a : !llvm.ptr, %x : f32)
    gpu.launch_func @device::@first blocks in (%c1, %c1, %c1) threads in (%c1, %c1, %c1) args(%a : !llvm.ptr)
    return
  }
  gpu.module @device {
    gpu.func @first(%a: !llvm.ptr) kernel {
      gpu.return
    }
    gpu.func @second(%a: !llvm.ptr, %x: f32) kernel {
      gpu.return
    }
  }
}
