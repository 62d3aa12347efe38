//===- Passes.td - Passes for Hopper ------------------------*- tablegen -*-===//
//
// Grouped products on tensor cores, and what tests need of them.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_GPU_HOPPER_PASSES
#define MOE_GPU_HOPPER_PASSES

include "mlir/Pass/PassBase.td"

def LowerGroupedMatmulHopperPass : Pass<"moe-gpu-lower-grouped-matmul-hopper", "::mlir::ModuleOp"> {
  let summary = "Run grouped products on the tensor cores of Hopper";
  let description = [{
    A private function without a body, or with one that only returns, that has the attribute `hopper.grouped_matmul`
    stands for one grouped product on device memory. Its arguments are the tokens `[rows, K]`; where rows are
    gathered, their indices; one or two banks `[experts, N, K]`; vectors `[experts, N]`; the offsets `[experts + 1]`;
    a tile map `[bytes]`; the output `[rows, N]`. The attribute counts `banks` and `vectors`, says whether rows are
    `gathered` and that only `k` elements of rows of tokens and banks count, where they are longer, names the
    `epilogue` (a private function on f32), and knows either how many rows an expert has on average,
    `rows_per_expert`, or how many rows a call has at most, `max_rows`: then kernels for several tiles are compiled,
    and each call chooses by its rows. The tile map needs 16 * (1 + ceil(rows / 8) + experts) bytes. Where all rows
    are of one expert, the product is `dense`: it has neither offsets nor a tile map, and in their place the number of
    rows, an index.

    The pass writes the function's body: tensor maps by `moe_gpu_tensor_map`, then two calls of `moe_gpu_launch`, the
    first of which writes the tile map; a dense product has the second only. The kernels appear in the gpu.module
    `moe_hopper`, each with its numbers in `hopper.kernel`. A product that tensor cores cannot do is left alone, and a
    remark says why.

    ```mlir
    func.func private @up(memref<?x64xbf16>, memref<?xi32>, memref<8x96x64xbf16>, memref<8x96x64xbf16>, memref<9xi32>,
      memref<?xi8>, memref<?x96xbf16>)
      attributes {hopper.grouped_matmul = {banks = 2, vectors = 0, gathered, epilogue = @silu, max_rows = 4096}}
    ```
    becomes
    ```mlir
    func.func private @up(...) {
      call @moe_gpu_tensor_map(%map, %gate, ...)
      call @moe_gpu_launch(%number, %blocks, %parameters)
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::func::FuncDialect", "::mlir::gpu::GPUDialect",
                           "::mlir::LLVM::LLVMDialect", "::mlir::memref::MemRefDialect", "::mlir::NVVM::NVVMDialect",
                           "::mlir::scf::SCFDialect"];
  let options = [
    Option<"tokenTile", "tile-n", "int64_t", "0",
           "Tokens per tile: a multiple of 8 up to 256; 0 lets the model choose">,
    Option<"multiprocessors", "multiprocessors", "int64_t", "132", "Multiprocessors of the device">,
    Option<"printDecisions", "print-decisions", "bool", "false", "Print one line per product to standard error">
  ];
}

def CallHopperProductsPass : Pass<"moe-gpu-call-hopper-products", "::mlir::ModuleOp"> {
  let summary = "Call functions that stand for the grouped products that tensor cores can do";
  let description = [{
    On the chip sm_90a, a grouped product of banks stored in bf16 becomes a call of a private function with the
    attribute `hopper.grouped_matmul` (see `moe-gpu-lower-grouped-matmul-hopper`); equal products share one. Rows in f32
    are rounded to bf16 first, to the nearest even, once for all products that read them. A result that only such
    products read is bf16 at once. Products that decide which experts are chosen stay in f32. A missed-optimisation
    remark says which other product with banks in bf16 or f16 is left to the general kernels, and why. A product whose
    offsets are visibly 0 and a number that the host computes from sizes and from what callers of the program pass takes
    that number in their place. Rows of a bank that are no multiple of
    16 bytes long get zeros at their ends, in the recipe of its global, and rows of tokens lie as far apart; the function
    knows `k`.

    ```mlir
    %y = moe.grouped_matmul ins(%x : tensor<?x64xf32>) banks(%w : !moe.bank<tensor<8x96x64xbf16>>)
           groups(%offsets : tensor<9xindex>) outs(%init : tensor<?x96xf32>) -> tensor<?x96xf32>
    ```
    becomes
    ```mlir
    %rows = linalg.generic ... ins(%x) { arith.truncf ... } -> tensor<?x64xbf16>
    %map = tensor.empty(%bytes) : tensor<?xi8>
    %y = call @product_8x96x64(%rows, %w, %offsets, %map, %init)
    ```
    where the function gives back its last argument. Once on buffers, that is no result any more.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::bufferization::BufferizationDialect",
                           "::mlir::func::FuncDialect", "::mlir::linalg::LinalgDialect",
                           "::mlir::tensor::TensorDialect"];
}

def MapHopperTilesPass : Pass<"moe-gpu-map-hopper-tiles", "::mlir::ModuleOp"> {
  let summary = "Write tile maps in the launch of the plan that they are made from";
  let description = [{
    Where all calls of a product's function are over the offsets of plans (`moe-gpu-lower-plans`), phases of the last
    block of the plan's launch write the tile map that the call is handed, and the function's description says `mapped`:
    it gets no kernel for that. Which tile a call has, the host computes from its number of rows as the function's code
    will. Products over the same offsets with the same tiles share a map.

    ```mlir
    scf.parallel (%t, %s) = ... { ... } {launch.phase = array<i64: 0, 0>}
    call @product_8x96x64(%rows, %w, %offsets, %own, %out) : ...
    ```
    becomes
    ```mlir
    scf.parallel (%t, %s) = ... { ... } {launch.phase = array<i64: 0, 0>}
    scf.parallel (%e) = ... { ... memref.store %first, %starts[%e] ... } {launch.phase = array<i64: 0, 0>}
    scf.parallel (%i) = ... { ... memref.store %expert, %map[%place] ... } {launch.phase = array<i64: 0, 0>}
    call @product_8x96x64(%rows, %w, %offsets, %map, %out) : ...
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect"];
  let options = [
    Option<"tokenTile", "tile-n", "int64_t", "0",
           "Tokens per tile: a multiple of 8 up to 256; 0 lets the model choose">
  ];
}

def JoinHopperKernelsPass : Pass<"moe-gpu-join-hopper-kernels", "::mlir::ModuleOp"> {
  let summary = "Move the kernels of products to the module of all kernels";
  let description = [{
    The kernels of the gpu.module `moe_hopper` move behind those of `device`, and launches get their numbers there.
    Functions that were epilogues are erased. A function that still stands for a product is an error.

    ```mlir
    call @moe_gpu_launch(%c0, %blocks, %parameters) {hopper.kernel = @moe_hopper::@up_n64_tiles}
    ```
    becomes, behind 7 other kernels,
    ```mlir
    call @moe_gpu_launch(%c7, %blocks, %parameters)
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect"];
}

def HopperKernelPass : Pass<"moe-gpu-hopper-kernel", "::mlir::ModuleOp"> {
  let summary = "Write one product kernel and its tile map kernel, for tests and reports";
  let description = [{
    Appends the gpu.module `kernels` with the kernels `product` and, unless rows are dense, `tile_map` for the options given.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::gpu::GPUDialect", "::mlir::LLVM::LLVMDialect",
                           "::mlir::NVVM::NVVMDialect", "::mlir::scf::SCFDialect"];
  let options = [
    Option<"k", "k", "int64_t", "2048", "Elements that are summed over">,
    Option<"columns", "columns", "int64_t", "1024", "Outputs per row">,
    Option<"experts", "experts", "int64_t", "8", "Groups of rows">,
    Option<"tokenTile", "tile-n", "int64_t", "64", "Tokens per tile">,
    Option<"stages", "stages", "int64_t", "4", "Stages of the ring">,
    Option<"banks", "banks", "int64_t", "1", "Matrices per expert: 1 or 2">,
    Option<"gathered", "gathered", "bool", "false", "Rows are gathered by index">,
    Option<"dense", "dense", "bool", "false", "All rows are of one expert: no tile map">,
    Option<"outBits", "out-bits", "int64_t", "16", "16 for bf16, 32 for f32">,
    Option<"indexBits", "index-bits", "int64_t", "32", "Bits of indices and offsets">,
    Option<"vectorBits", "vector-bits", "int64_t", "0", "One vector per expert, of f32 (32) or bf16 (16); 0 for none">,
    Option<"raster", "raster", "int64_t", "8", "Tiles of tokens that share weights in the cache">,
    Option<"outPitch", "out-pitch", "int64_t", "0", "Elements between output rows; 0 for their length">,
    Option<"epilogue", "epilogue", "std::string", "\"\"", "Name of the function that is the epilogue">
  ];
}

def HopperIndexFunctionsPass : Pass<"moe-gpu-hopper-index-functions", "::mlir::ModuleOp"> {
  let summary = "Write the kernels' position arithmetic as functions, for tests on CPU";
  let description = [{
    Appends a function with a C interface for each function of IndexFunctions.h, for a product of the sizes given.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::func::FuncDialect", "::mlir::LLVM::LLVMDialect",
                           "::mlir::scf::SCFDialect"];
  let options = [
    Option<"k", "k", "int64_t", "2048", "Elements that are summed over">,
    Option<"columns", "columns", "int64_t", "1024", "Outputs per row">,
    Option<"experts", "experts", "int64_t", "8", "Groups of rows">,
    Option<"tokenTile", "tile-n", "int64_t", "64", "Tokens per tile">,
    Option<"stages", "stages", "int64_t", "4", "Stages of the ring">,
    Option<"banks", "banks", "int64_t", "1", "Matrices per expert: 1 or 2">,
    Option<"raster", "raster", "int64_t", "8", "Tiles of tokens that share weights in the cache">
  ];
}

#endif // MOE_GPU_HOPPER_PASSES
