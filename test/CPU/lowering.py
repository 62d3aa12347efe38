"""From linalg on buffers through our vectoriser to a library that Python can call."""
import ctypes, os, subprocess

LOWERING = ("builtin.module(canonicalize,cse,expand-strided-metadata,lower-affine,convert-vector-to-scf,convert-scf-to-cf,convert-vector-to-llvm,"
            "finalize-memref-to-llvm,convert-math-to-llvm,convert-arith-to-llvm,convert-index-to-llvm,convert-cf-to-llvm,convert-func-to-llvm,"
            "reconcile-unrealized-casts)")


def build(moe_opt, mlir_opt, target, source, folder):
    """A library of the functions in `source` for a target ACCUMULATORS:CPU. LLVM's tools lie beside mlir-opt."""
    accumulators, cpu = target.split(":")
    path = lambda name: os.path.join(folder, f"{accumulators}-{cpu}-{name}")
    tool = lambda name: os.path.join(os.path.dirname(mlir_opt), name)
    with open(path("in.mlir"), "w") as file:
        file.write(source)
    vectorize = f"--pass-pipeline=builtin.module(func.func(moe-cpu-vectorize{{accumulators={accumulators}}},moe-cpu-expand-math))"
    for command in (
        [moe_opt, path("in.mlir"), vectorize, "-o", path("loops.mlir")],
        [mlir_opt, path("loops.mlir"), f"--pass-pipeline={LOWERING}", "-o", path("llvm.mlir")],
        [tool("mlir-translate"), "--mlir-to-llvmir", path("llvm.mlir"), "-o", path("code.ll")],
        [tool("clang"), "-O1", f"-march={cpu}", "-fPIC", "-shared", "-Wno-override-module", path("code.ll"), "-o", path("code.so"), "-lm"],
    ):
        subprocess.run(command, check=True)
    return ctypes.CDLL(path("code.so"))
