// RUN: moe-opt %s -moe-verify-stage=stage=kernels -split-input-file -verify-diagnostics

// Tests that the host does not look into the device's memory.
func.func @host(%a: memref<4xf32>, %i: index) -> f32 {
  // expected-error@+1 {{is not allowed at the end of stage 'kernels': the host does not touch the device's memory}}
  %x = memref.load %a[%i] : memref<4xf32>
  return %x : f32
}

// -----

// Tests that a kernel does not allocate.
gpu.module @device {
  gpu.func @k() kernel {
    // expected-error@+1 {{is not allowed at the end of stage 'kernels': the device does not allocate}}
    %a = memref.alloc() : memref<4xf32>
    gpu.return
  }
}

// -----

// Tests that a kernel calls nothing.
gpu.module @device {
  func.func private @f()
  gpu.func @k() kernel {
    // expected-error@+1 {{is not allowed at the end of stage 'kernels': kernels call no functions}}
    func.call @f() : () -> ()
    gpu.return
  }
}
