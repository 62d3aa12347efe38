// RUN: moe-opt %s --moe-gpu-lower-kernels --split-input-file --verify-diagnostics | FileCheck %s

// Tests that a kernel for a chip reads where it is from registers.
module attributes {gpu.container_module, moe.device = #moe.gpu<"sm_90a", maxTokens = 8>} {
  gpu.module @device {
    // CHECK-LABEL: llvm.func @chip(
    // CHECK-SAME:    %[[A:[^:]+]]: !llvm.ptr) attributes {gpu.kernel, moe.parameters = array<i32: 8>, nvvm.kernel, nvvm.maxntid = array<i32: 256>}
    // CHECK:         nvvm.read.ptx.sreg.ctaid.x
    // CHECK:         nvvm.read.ptx.sreg.tid.x
    // CHECK:         llvm.store %{{.+}}, %[[A]]
    // CHECK:         llvm.return
    gpu.func @chip(%a: !llvm.ptr) kernel attributes {known_block_size = array<i32: 256, 1, 1>} {
      %block = gpu.block_id x
      %thread = gpu.thread_id x
      %sum = arith.addi %block, %thread : index
      %wide = arith.index_cast %sum : index to i64
      llvm.store %wide, %a : i64, !llvm.ptr
      gpu.return
    }
  }
}

// -----

// Tests that a kernel for the host is called with its place, and takes its parameters from the launch's table.
module attributes {gpu.container_module, moe.device = #moe.gpu<"host", maxTokens = 8>} {
  gpu.module @device {
    // CHECK-LABEL: llvm.func @stand_in(
    // CHECK-SAME:    %[[PARAMETERS:[^:]+]]: !llvm.ptr, %[[BLOCK:[^:]+]]: i64, %{{[^:]+}}: i64)
    // CHECK-SAME:    moe.parameters = array<i32: 8, 8>
    // CHECK:         %[[PLACE:.+]] = llvm.getelementptr %[[PARAMETERS]][1]
    // CHECK:         %[[ADDRESS:.+]] = llvm.load %[[PLACE]]
    // CHECK:         %[[X:.+]] = llvm.load %[[ADDRESS]] : !llvm.ptr -> i64
    // CHECK:         %[[INDEX:.+]] = arith.index_castui %[[BLOCK]] : i64 to index
    // CHECK:         %[[WIDE:.+]] = arith.index_cast %[[INDEX]]
    // CHECK:         arith.addi %[[WIDE]], %[[X]]
    gpu.func @stand_in(%a: !llvm.ptr, %x: i64) kernel attributes {known_block_size = array<i32: 256, 1, 1>} {
      %block = gpu.block_id x
      %wide = arith.index_cast %block : index to i64
      %sum = arith.addi %wide, %x : i64
      llvm.store %sum, %a : i64, !llvm.ptr
      gpu.return
    }
  }
}

// -----

// expected-error @below {{expected 'moe.device' on the module to name the chip}}
module attributes {gpu.container_module} {
  gpu.module @device {
    gpu.func @k() kernel {
      gpu.return
    }
  }
}

// -----

// Tests that a kernel with barriers has those of the chip, and that its block's size is a constant there.
module attributes {gpu.container_module, moe.device = #moe.gpu<"sm_80", maxTokens = 8>} {
  gpu.module @device {
    // CHECK-LABEL: llvm.func @barriers(
    // CHECK-SAME:    nvvm.maxntid = array<i32: 512>
    // CHECK:         nvvm.read.ptx.sreg.tid.x
    // CHECK:         arith.constant 512 : i32
    // CHECK:         nvvm.barrier{{$}}
    // CHECK:         nvvm.barrier #nvvm.reduction<or> %{{.+}} -> i32
    // CHECK:         llvm.store
    gpu.func @barriers(%a: !llvm.ptr) kernel attributes {known_block_size = array<i32: 512, 1, 1>} {
      %thread = gpu.thread_id x
      %size = gpu.block_dim x
      %sum = arith.addi %size, %thread : index
      gpu.barrier
      %own = arith.index_cast %sum : index to i32
      %any = gpu.all_reduce or %own uniform {} : (i32) -> (i32)
      llvm.store %any, %a : i32, !llvm.ptr
      gpu.return
    }
  }
}

// -----

// Tests that on the host such a block has one thread, which is called with the number 0.
module attributes {gpu.container_module, moe.device = #moe.gpu<"host", maxTokens = 8>} {
  gpu.module @device {
    // CHECK-LABEL: llvm.func @alone(
    // CHECK-SAME:    %{{[^:]+}}: !llvm.ptr, %{{[^:]+}}: i64, %[[THREAD:[^:]+]]: i64)
    // CHECK:         %[[IS_FIRST:.+]] = arith.cmpi eq, %[[THREAD]], %{{.+}} : i64
    // CHECK:         scf.if %[[IS_FIRST]] {
    // CHECK-DAG:       arith.constant 0 : i64
    // CHECK-DAG:       arith.constant 1 : i64
    // CHECK-NOT:       barrier
    // CHECK-NOT:       reduce
    // CHECK:           %[[OWN:.+]] = arith.index_cast %{{.+}} : index to i32
    // CHECK:           llvm.store %[[OWN]]
    // CHECK:         }
    // CHECK:         llvm.return
    gpu.func @alone(%a: !llvm.ptr) kernel attributes {known_block_size = array<i32: 512, 1, 1>} {
      %thread = gpu.thread_id x
      %size = gpu.block_dim x
      %sum = arith.addi %size, %thread : index
      gpu.barrier
      %own = arith.index_cast %sum : index to i32
      %any = gpu.all_reduce or %own uniform {} : (i32) -> (i32)
      llvm.store %any, %a : i32, !llvm.ptr
      gpu.return
    }
  }
}

// -----

// Tests that what only launches take away is an error in a kernel that is never launched: buffers, and indices.
module attributes {gpu.container_module, moe.device = #moe.gpu<"sm_90a", maxTokens = 8>} {
  gpu.module @device {
    // expected-error @below {{expected a kernel to take pointers and numbers, got 'memref<?xf32>'; moe-gpu-kernel-parameters gives them to kernels that are launched}}
    gpu.func @never_launched(%a: !llvm.ptr, %x: memref<?xf32>) kernel {
      gpu.return
    }
  }
}

// -----

module attributes {gpu.container_module, moe.device = #moe.gpu<"host", maxTokens = 8>} {
  gpu.module @device {
    // expected-error @below {{expected a kernel to take pointers and numbers, got 'index'}}
    gpu.func @never_launched(%x: index) kernel {
      gpu.return
    }
  }
}
