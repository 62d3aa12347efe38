//===- Passes.td - Passes between tensors and LLVM ----------*- tablegen -*-===//
//
// What stands between the upstream conversions: entry points, memory, parallel loops, profiles.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_CPU_LOWERING_PASSES
#define MOE_CPU_LOWERING_PASSES

include "mlir/Pass/PassBase.td"

def EntryPointsPass : Pass<"moe-cpu-entry-points", "::mlir::ModuleOp"> {
  let summary = "Record what public functions take and give, before tensors become buffers";
  let description = [{
    Writes names, roles and tensor types of each public function's arguments and results to its attribute
    `moe.signature`, from which the emitter describes the program to the runtime: they are gone from the types once
    functions are in LLVM. Arguments other than caches belong to the caller, so that writing to one of them
    first makes a copy (`bufferization.writable = false`).

    ```mlir
    func.func @f(%x: tensor<?x8xf32> {moe.name = "x"}) -> tensor<?x8xf32>
    ```
    becomes
    ```mlir
    func.func @f(%x: tensor<?x8xf32> {bufferization.writable = false, moe.name = "x"}) -> tensor<?x8xf32> attributes {
      moe.signature = {inputs = [#x], outputs = [#result0]} }
    ```
    where `#x` is `{name = "x", role = "data", type = tensor<?x8xf32>}`.
  }];
}

def SerializeNestedLoopsPass : Pass<"moe-cpu-serialize-nested-loops", "::mlir::func::FuncOp"> {
  let summary = "Make parallel loops inside parallel loops serial";
  let description = [{
    Threads are given to the outermost loop; a nested `omp.parallel` would only cost time. With `all`, outermost loops
    become serial too, as the reference path wants it.

    ```mlir
    scf.parallel (%i) = (%c0) to (%n) step (%c1) { scf.parallel (%j) = (%c0) to (%m) step (%c1) { ... } }
    ```
    becomes
    ```mlir
    scf.parallel (%i) = (%c0) to (%n) step (%c1) { scf.for %j = %c0 to %m step %c1 { ... } }
    ```
  }];
  let dependentDialects = ["::mlir::scf::SCFDialect"];
  let options = [Option<"all", "all", "bool", "false", "Make outermost parallel loops serial, too">];
}

def PrivateBuffersPass : Pass<"moe-cpu-private-buffers", "::mlir::ModuleOp"> {
  let summary = "Give each thread its own buffers: no allocation inside parallel loops";
  let description = [{
    A buffer allocated in a parallel loop moves to the stack of the iteration if it has a static size, and those of the
    loop that are there take at most `max-stack-bytes` together. Any other becomes part of one buffer allocated before the loop, with room for each thread; if its
    size is known only inside the loop, a serial loop finds the largest one first. What cannot be moved is an
    error: the allocator serves one thread only.

    ```mlir
    scf.parallel (%i) = (%c0) to (%n) step (%c1) {
      %a = memref.alloc() : memref<16xf32>
      %b = memref.alloc(%m) : memref<?xf32>
    ```
    becomes
    ```mlir
    %all = memref.alloc(%bytes) : memref<?xi8>
    scf.parallel (%i) = (%c0) to (%n) step (%c1) {
      %a = memref.alloca() : memref<16xf32>
      %thread = func.call @omp_get_thread_num() : () -> i32
      %b = memref.view %all[%offset][%m] : memref<?xi8> to memref<?xf32>
    ```
  }];
  let dependentDialects = ["::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect",
                           "::mlir::func::FuncDialect", "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect"];
  let options = [Option<"maxStackBytes", "max-stack-bytes", "uint64_t", "262144",
                        "How much of the buffers of a loop may lie on the stack. The runtime checks that a "
                        "stack has room for the default and for the frames of functions">];
}

def WorkspacePass : Pass<"moe-cpu-workspace", "::mlir::ModuleOp"> {
  let summary = "Give memory back at the end of functions and serial loop iterations";
  let description = [{
    Generated code allocates from the session's workspace, which is a stack. Bodies of functions and of serial loops
    that allocate, and whose results do not come from there, are bracketed. Results of public functions stay in
    the workspace until the caller's next call.

    ```mlir
    func.func private @f(%x: memref<8xf32>) {
      %mark = call @moe_workspace_mark() : () -> i64
      %a = memref.alloc() : memref<8xf32>
      ...
      call @moe_workspace_release(%mark) : (i64) -> ()
      return
    }
    ```
  }];
  let dependentDialects = ["::mlir::func::FuncDialect"];
}

def RecordLoadPass : Pass<"moe-cpu-record-load", "::mlir::ModuleOp"> {
  let summary = "Hand row counts of experts to the runtime as a C function takes them";
  let description = [{
    ```mlir
    func.call @moe_record_load(%offsets) : (memref<?xindex>) -> ()
    ```
    becomes
    ```mlir
    func.call @moe_record_load(%pointer, %experts) : (!llvm.ptr, i64) -> ()
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::func::FuncDialect", "::mlir::LLVM::LLVMDialect",
                           "::mlir::memref::MemRefDialect"];
}

def ProfilePass : Pass<"moe-cpu-profile", "::mlir::ModuleOp"> {
  let summary = "Make each outermost loop a function with a readable name, and let the runtime time it";
  let description = [{
    A loop that stands in a function's body itself moves to a private function named after the function and the names
    of its location; numbers tell equal names apart. The names are stable: they depend on the program alone.

    ```mlir
    scf.parallel (%i) = ... { ... } loc("attention"("layer"))
    ```
    becomes
    ```mlir
    func.call @moe_profile_begin(%name) : (!llvm.ptr) -> ()
    func.call @decoder_layer_0.layer.attention(%a, %b) : (memref<?x8xf32>, memref<?x8xf32>) -> ()
    func.call @moe_profile_end(%name) : (!llvm.ptr) -> ()
    ```
  }];
  let dependentDialects = ["::mlir::func::FuncDialect", "::mlir::LLVM::LLVMDialect"];
}

def DynamicSchedulePass : Pass<"moe-cpu-dynamic-schedule", "::mlir::ModuleOp"> {
  let summary = "Let threads take iterations when they are free; do not start threads for one iteration";
  let description = [{
    ```mlir
    omp.parallel { omp.wsloop { omp.loop_nest (%i) : index = (%c0) to (%n) step (%c1) { ... } } }
    ```
    becomes
    ```mlir
    %more = arith.cmpi sgt, %n, %c1 : index
    omp.parallel if(%more) { omp.wsloop schedule(dynamic) { ... } }
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect"];
}

#endif // MOE_CPU_LOWERING_PASSES
