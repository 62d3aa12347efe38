// A kernel and a host that launches it in a loop, with a number that nobody may read.
module attributes {gpu.container_module, moe.device = #moe.gpu<"sm_90a", maxTokens = 8>} {
  func.func @f(%x: memref<?x8xf32>, %n: index) {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c256 = arith.constant 256 : index
    %unread = ub.poison : i32
    %sums = memref.alloc(%n) : memref<?xf32>
    scf.for %i = %c0 to %n step %c1 {
      gpu.launch_func @device::@k blocks in (%n, %c1, %c1) threads in (%c256, %c1, %c1)
        args(%x : memref<?x8xf32>, %sums : memref<?xf32>, %i : index, %unread : i32)
    }
    return
  }
  gpu.module @device {
    gpu.func @k(%x: memref<?x8xf32>, %sums: memref<?xf32>, %i: index, %unread: i32) kernel attributes {known_block_size = array<i32: 256, 1, 1>} {
      %c8 = arith.constant 8 : index
      %thread = gpu.thread_id x
      %inside = arith.cmpi slt, %thread, %c8 : index
      scf.if %inside {
        %a = memref.load %x[%i, %thread] : memref<?x8xf32>
        %s = memref.load %sums[%i] : memref<?xf32>
        %next = math.fma %a, %a, %s : f32
        memref.store %next, %sums[%i] : memref<?xf32>
      }
      gpu.return
    }
  }
}
