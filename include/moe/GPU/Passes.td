//===- Passes.td - Passes of the GPU back end ---------------*- tablegen -*-===//
//
// Declares the passes from bufferised programs to a device module and a host that launches its kernels, and the one on
// tensors that adds what only devices need. Throughout, an outermost scf.parallel is one kernel: a launch with a thread for each iteration.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_GPU_PASSES
#define MOE_GPU_PASSES

include "mlir/Pass/PassBase.td"

def DecodeStepPass : Pass<"moe-gpu-decode-step", "::mlir::ModuleOp"> {
  let summary = "Add a step of greedy decoding to a language model";
  let description = [{
    A language model gets a public function `decode_step`, as include/moe/Runtime/Program.h describes it. It calls
    `forward` for one token and chooses the next by a tree: each thread takes the best of `fan-in` candidates, until one
    is left. Its state (token, position, sequence, stop) is updated in place, and nothing in it depends on a number that
    the host would read, so it can be captured and replayed. `stop` is 1 more than the last token that was fed once
    decoding has ended; such a step feeds that token again at its position, and so leaves the caches as they are.

    ```mlir
    func.func @decode_step(%tokens: tensor<1xi32>, %positions: tensor<1xi32>, %sequences: tensor<1xi32>,
                           %stop: tensor<1xi32>, %cache: tensor<?x?x2x16xf32>)
        -> (tensor<1xi32>, tensor<1xi32>, tensor<1xi32>, tensor<?x?x2x16xf32>)
    ```
    A module that has `decode_step`, is no language model, or whose `forward` takes more than tokens and caches, is left
    as it is.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect", "::mlir::scf::SCFDialect",
                           "::mlir::tensor::TensorDialect"];
  let options = [Option<"fanIn", "fan-in", "int64_t", "32", "Candidates that one thread chooses from">];
}

def LinalgToThreadsPass : Pass<"moe-gpu-linalg-to-threads", "::mlir::func::FuncOp"> {
  let summary = "Lower linalg on buffers to parallel loops with sums in registers";
  let description = [{
    Parallel dimensions become an `scf.parallel`, reduction dimensions `scf.for` in ascending order inside. What a
    reduction changes is carried by its loops and stored once at the end: memory that may be another operand's is not
    read and written in each round.

    ```mlir
    linalg.generic {iterator_types = ["parallel", "reduction"], ...} ins(%x : memref<?x8xf32>) outs(%sum : memref<?xf32>)
    ```
    becomes
    ```mlir
    scf.parallel (%i) = (%c0) to (%n) step (%c1) {
      %first = memref.load %sum[%i]
      %all = scf.for %k = %c0 to %c8 step %c1 iter_args(%s = %first) -> (f32) { ... }
      memref.store %all, %sum[%i]
    }
    ```
  }];
  let dependentDialects = ["::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect",
                           "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect"];
}

def FlattenLoopsPass : Pass<"moe-gpu-flatten-loops", "::mlir::func::FuncOp"> {
  let summary = "Give threads to the iterations of a parallel loop in a parallel loop";
  let description = [{
    Where all that a parallel loop does besides a nested one is to compute and to read memory that the nested one leaves
    alone, the two become one: each iteration of the nested loop computes that anew.

    ```mlir
    scf.parallel (%t) = (%c0) to (%n) step (%c1) {
      %row = memref.load %rows[%t] : memref<?xindex>
      scf.parallel (%i) = (%c0) to (%c64) step (%c1) { ... memref.store %x, %out[%row, %i] ... }
    }
    ```
    becomes
    ```mlir
    scf.parallel (%t, %i) = (%c0, %c0) to (%n, %c64) step (%c1, %c1) {
      %row = memref.load %rows[%t] : memref<?xindex>
      ... memref.store %x, %out[%row, %i] ...
    }
    ```
  }];
  let dependentDialects = ["::mlir::scf::SCFDialect"];
}

def LowerPlansPass : Pass<"moe-gpu-lower-plans", "::mlir::ModuleOp"> {
  let summary = "Sort pairs by expert, block by block";
  let description = [{
    A call that stands for a plan becomes five kernels, phases of one launch (`launch.phase`): each block of 16 tokens
    ranks its pairs among those of their expert and counts the pairs of each expert; the last block to arrive sums the
    counts over the blocks, makes the offsets, and gives each pair its row. Work is linear in the number of pairs.

    ```mlir
    call @plan(%ids, %offsets, %tokens, %slots)
      : (memref<?x4xi32>, memref<17xindex>, memref<?xindex>, memref<?x4xindex>) -> ()
    ```
    becomes
    ```mlir
    %sums = memref.alloc(%rows) : memref<?x17xindex>
    scf.parallel (%t, %s) = ... { ... memref.store %rank, %slots[%t, %s] ... } {launch.phase = array<i64: 0, 16>}
    scf.parallel (%b, %e) = ... { ... memref.store %count, %sums[%b, %e] ... } {launch.phase = array<i64: 0, 1>}
    scf.parallel (%e) = ... { ... } {launch.phase = array<i64: 0, 0>}
    scf.parallel (%e) = ... { ... memref.store %first, %offsets[%e] ... } {launch.phase = array<i64: 0, 0>}
    scf.parallel (%t, %s) = ... { ... } {launch.phase = array<i64: 0, 0>}
    ```
    The numbers are that of the launch in its function, and how many iterations of the first dimension a block runs;
    with 0 the last block to arrive runs all.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect"];
}

def JoinLaunchesPass : Pass<"moe-gpu-join-launches", "::mlir::func::FuncOp"> {
  let summary = "Decide for tokens in the launch of their plan";
  let description = [{
    Kernels over tokens in front of a launch with phases become phases of it: what makes the plan's ids, and before that
    what makes something that only these phases read. That is a router's product and a selection, for instance. Each
    must write and read, of what phases share, only the row of its own token, so that a block needs nothing of others:
    selections that look at several tokens stay apart by that.

    ```mlir
    scf.parallel (%t) = (%c0) to (%n) step (%c1) { ... memref.store %id, %ids[%t, %s] ... }
    scf.parallel (%t, %s) = ... { ... memref.load %ids ... } {launch.phase = array<i64: 0, 16>}
    ```
    becomes
    ```mlir
    scf.parallel (%t) = (%c0) to (%n) step (%c1) { ... } {launch.phase = array<i64: 0, 16>}
    scf.parallel (%t, %s) = ... { ... memref.load %ids ... } {launch.phase = array<i64: 0, 16>}
    ```
  }];
  let dependentDialects = ["::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect"];
}

def BoundLoopsPass : Pass<"moe-gpu-bound-loops", "::mlir::func::FuncOp"> {
  let summary = "Launch enough threads where the device knows how many are needed";
  let description = [{
    A kernel that ends at a number from the device's memory gets a bound of it as its end, where the host knows one, and
    threads behind the true end do nothing.

    ```mlir
    %n = memref.load %count[] : memref<index>
    %end = arith.minsi %n, %most : index
    scf.parallel (%i) = (%c0) to (%end) step (%c1) { ... }
    ```
    becomes
    ```mlir
    scf.parallel (%i) = (%c0) to (%most) step (%c1) {
      %inside = arith.cmpi slt, %i, %end : index
      scf.if %inside { ... }
    }
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::scf::SCFDialect"];
}

def SingleThreadsPass : Pass<"moe-gpu-single-threads", "::mlir::func::FuncOp"> {
  let summary = "Let one thread of the device do what the host would do in memory";
  let description = [{
    Reads, writes, and loops and branches around them that stand between kernels become kernels of one iteration;
    neighbours share one. A number that is needed afterwards goes through a buffer of one element. Constants that leave
    the function (as operands of calls or as results) are copied to buffers by a kernel.

    ```mlir
    memref.store %x, %buffer[%c0] : memref<2xindex>
    ```
    becomes
    ```mlir
    scf.parallel (%i) = (%c0) to (%c1) step (%c1) {
      memref.store %x, %buffer[%c0] : memref<2xindex>
    }
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect"];
}

def DeviceBuffersPass : Pass<"moe-gpu-device-buffers", "::mlir::func::FuncOp"> {
  let summary = "Allocate the buffers of kernels before they are launched";
  let description = [{
    A buffer of one number becomes the thread's own, a register later on. Any other buffer of an iteration becomes part
    of one that the host allocates, with room for every iteration, so that no kernel has local memory. Where the size is
    known on the device only, a bound that the host knows takes its place: an operand of a minimum, the end of a loop.

    ```mlir
    scf.parallel (%i) = (%c0) to (%n) step (%c1) {
      %size = arith.minsi %from_memory, %m : index
      %b = memref.alloc(%size) : memref<?xf32>
    ```
    becomes
    ```mlir
    %all = memref.alloc(%bytes) : memref<?xi8>
    scf.parallel (%i) = (%c0) to (%n) step (%c1) {
      %b = memref.view %all[%offset][%size] : memref<?xi8> to memref<?xf32>
    ```
    with `%bytes` enough for `%n` buffers of `%m` elements.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::memref::MemRefDialect"];
}

def SinkLoadsPass : Pass<"moe-gpu-sink-loads", "::mlir::func::FuncOp"> {
  let summary = "Read numbers in the kernels that need them, not on the host";
  let description = [{
    A number that the host would load, and what is computed from it, is loaded and computed in each kernel that uses it.
    Anything else that the host would need it for is an error: sizes and launches depend on what the host knows.

    ```mlir
    %n = memref.load %buffer[] : memref<index>
    scf.parallel (%i) = ... { memref.store %n, %out[%i] : memref<?xindex> }
    ```
    becomes
    ```mlir
    scf.parallel (%i) = ... {
      %n = memref.load %buffer[] : memref<index>
      memref.store %n, %out[%i] : memref<?xindex>
    }
    ```
  }];
  let dependentDialects = ["::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect"];
}

def DeviceMathPass : Pass<"moe-gpu-device-math", "::mlir::func::FuncOp"> {
  let summary = "Expand sine and cosine, which a device has no library for";
  let description = [{
    `math.sin` and `math.cos` in f32 are computed in f64: the argument less the nearest multiple of pi/2, of which a
    second word is used, then a polynomial. The result is the nearest f32 but for rare halves, up to arguments of 2^30.

    ```mlir
    %s = math.sin %x : f32
    ```
    becomes a chain of `math.fma` in f64.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::math::MathDialect"];
}

def OutlineKernelsPass : Pass<"moe-gpu-outline-kernels", "::mlir::ModuleOp"> {
  let summary = "Move kernels to the device module and launch them from the host";
  let description = [{
    Each outermost parallel loop becomes a `gpu.func` of `gpu.module @device`, called after the function and the names
    of its location, and a `gpu.launch_func` with 256 threads a block on a grid of one dimension. Constants, constant
    tables and views of them are made anew in the kernel.

    Phases of one launch (`launch.phase`) become one function with a barrier behind each, called after the last of them
    and launched in its place with 512 threads a block. A block that is through counts itself in a word of the session
    (`moe_gpu_ticket`); the last one goes on with the phases that are for it, and the word is 0 again.

    ```mlir
    scf.parallel (%i) = (%c0) to (%n) step (%c1) { ... } loc("attention"("layer"))
    ```
    becomes
    ```mlir
    gpu.launch_func @device::@f_layer_attention blocks in (%blocks, %c1, %c1) threads in (%c256, %c1, %c1)
      args(%n : index, %a : memref<?x8xf32>)
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::gpu::GPUDialect", "::mlir::LLVM::LLVMDialect",
                           "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect"];
}

def CheckTokensPass : Pass<"moe-gpu-check-tokens", "::mlir::ModuleOp"> {
  let summary = "Refuse more tokens of a call than grids and buffers can hold";
  let description = [{
    The `maxTokens` of `moe.device` are the most rows of what public functions are given, except for caches and
    parameters. From there on grids and buffers are followed through the arithmetic of the host and through calls. A
    launch that could have more than 2^31 - 1 blocks, the most that CUDA takes, or a buffer that could have more than 2^47
    bytes, is an error at the operation that the user wrote. What does not follow from the number of tokens is not
    checked here; the runtime checks every launch and every allocation.

    ```mlir
    %n = memref.dim %x, %c0 : memref<?x4096xf32>
    %elements = arith.muli %n, %c4096 : index
    ```
    With `maxTokens = 2147483647`, `%elements` is at most 2^43 - 4096, and a launch of a thread for each is an error.
  }];
}

def KernelParametersPass : Pass<"moe-gpu-kernel-parameters", "::mlir::ModuleOp"> {
  let summary = "Pass buffers to kernels as pointers and the numbers that they need";
  let description = [{
    A buffer becomes the address of its first element, its dynamic strides, and those dynamic sizes that the kernel asks
    for. Indices become i64.

    ```mlir
    gpu.func @k(%a: memref<?x8xf32, strided<[?, 1], offset: ?>>, %n: index) kernel
    ```
    becomes
    ```mlir
    gpu.func @k(%a: !llvm.ptr, %stride: i64, %n: i64) kernel
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::LLVM::LLVMDialect", "::mlir::memref::MemRefDialect"];
}

def LowerLaunchesPass : Pass<"moe-gpu-lower-launches", "::mlir::ModuleOp"> {
  let summary = "Launch kernels by calls of the runtime";
  let description = [{
    ```mlir
    gpu.launch_func @device::@k blocks in (%blocks, %c1, %c1) threads in (%c256, %c1, %c1) args(%a : !llvm.ptr)
    ```
    becomes a call of `moe_gpu_launch(kernel, blocks, parameters)`: the number of the kernel in the device module, and
    an array of pointers to the arguments, which lies in the function's frame and serves all its launches.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::func::FuncDialect", "::mlir::LLVM::LLVMDialect"];
}

def LowerKernelsPass : Pass<"moe-gpu-lower-kernels", "::mlir::ModuleOp"> {
  let summary = "Make kernels functions of the chip";
  let description = [{
    A `gpu.func` becomes an `llvm.func`. For NVIDIA's chips, its block and thread are read from special registers. For
    the chip "host" the function is `void kernel(void **parameters, int64_t block, int64_t thread)`. A kernel that asks
    for the size of its blocks takes any: on the host a block has one thread, 0, which does all, and barriers vanish.

    ```mlir
    gpu.func @k(%a: !llvm.ptr) kernel { %block = gpu.block_id x ... gpu.return }
    ```
    becomes
    ```mlir
    llvm.func @k(%a: !llvm.ptr) attributes {gpu.kernel, nvvm.kernel, nvvm.maxntid = array<i32: 256>} {
      %block = nvvm.read.ptx.sreg.ctaid.x : i32 ...
      llvm.return
    }
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::LLVM::LLVMDialect", "::mlir::NVVM::NVVMDialect",
                           "::mlir::scf::SCFDialect"];
}

#endif // MOE_GPU_PASSES
