//===- Passes.td - passes of the CPU back end --------------------*- tablegen -*-===//
//
// Declares the passes from bufferised linalg to vector code and OpenMP loops.
//
//===----------------------------------------------------------------------------===//

#ifndef MOE_CPU_PASSES
#define MOE_CPU_PASSES

include "mlir/Pass/PassBase.td"

def ExpandCopyPass : Pass<"moe-cpu-expand-copy", "::mlir::func::FuncOp"> {
  let summary = "Turn memref.copy into linalg, erase copies of a buffer onto itself";
  let description = [{
    `memref.copy` becomes a call of the C runner library further down; as a
    `linalg.generic` it is vectorised like everything else. Bufferisation leaves
    copies whose source is their target; those are erased here, so that the
    pipeline does not depend on canonicalisation.

    ```mlir
    memref.copy %a, %b : memref<?x8xf32> to memref<?x8xf32>
    memref.copy %a, %a : memref<?x8xf32> to memref<?x8xf32>
    ```
    becomes
    ```mlir
    linalg.generic {...} ins(%a : memref<?x8xf32>) outs(%b : memref<?x8xf32>) {...}
    ```
  }];
  let dependentDialects = ["::mlir::linalg::LinalgDialect"];
}

def VectorizePass : Pass<"moe-cpu-vectorize", "::mlir::func::FuncOp"> {
  let summary = "Lower linalg on buffers to loops over vectors of 16 lanes";
  let description = [{
    Every `linalg` op on memrefs becomes `scf.for` loops around `vector`, `arith`
    and `math` ops. Vectors have 16 lanes on every target, and the order in
    which each output element is computed follows from the indexing maps alone,
    never from sizes, blocking or target:

    - parallel dimensions may lie in lanes; a reduction is then one chain per
      output element, in ascending order. Products that feed a sum are `math.fma`;
    - where only the reduction dimension is contiguous, lane = index mod 16, and
      one fixed tree (8, 4, 2, 1) closes the sum before the initial value of the
      output is added;
    - what cannot be vectorised becomes scalar loops with the same chains.

    Tails are masked. Contractions are blocked so that a block of accumulators stays
    in registers throughout the reduction loop.

    ```mlir
    linalg.matmul ins(%a, %b : memref<4x?xf32>, memref<?x32xf32>) outs(%c : memref<4x32xf32>)
    ```
    becomes one `scf.for` over the reduction that carries eight `vector<16xf32>`.
  }];
  let dependentDialects = ["::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect",
                           "::mlir::linalg::LinalgDialect", "::mlir::math::MathDialect",
                           "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect",
                           "::mlir::vector::VectorDialect"];
  let options = [
    Option<"accumulators", "accumulators", "unsigned", "0",
           "Vectors of 16 floats that a block may keep in registers; 0 takes 24 where the module's target has "
           "vectors of 512 bits, else 6">,
    Option<"parallel", "parallel", "bool", "true",
           "Run large ops outside of parallel loops as scf.parallel over chunks of their first dimension">];
}

def ExpandMathPass : Pass<"moe-cpu-expand-math", "::mlir::func::FuncOp"> {
  let summary = "Expand exp, tanh, erf, log and their like into polynomials";
  let description = [{
    One implementation for vectors and scalars, so that a value does not depend on
    its place in a vector or a tail. `math.exp` in f32 is accurate to 2 ulp on the
    whole range; overflow gives infinity, underflow zero, NaN stays NaN. Other
    functions use the approximations of MLIR (`math.log` takes subnormal numbers for
    the smallest normal one); in 16 bits they are computed in f32. `math.sin` and `math.cos` of vectors
    are unrolled to the C library: their arguments are large. Conversions to bf16
    are expanded to integer arithmetic (round to nearest even), integer divisions
    that round up or down to those that round to zero. Functions marked `moe.keep_math` are left alone.

    ```mlir
    %e = math.exp %x : vector<16xf32>
    ```
    becomes a chain of `math.fma` and integer ops on the exponent.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::math::MathDialect",
                           "::mlir::vector::VectorDialect"];
}

#endif // MOE_CPU_PASSES
