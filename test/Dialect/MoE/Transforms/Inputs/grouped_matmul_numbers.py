"""Compiles grouped products through given passes and compares each with NumPy, exactly, on small integers.

  grouped_matmul_numbers.py MOE_OPT LLVM_BIN CC WORK_FOLDER VARIANT...

A VARIANT is a list of words: 'loops' lowers to plain loops instead of vectors, 'target=256' compiles for vectors of 256
instead of 512 bits, all others are options of moe-tile-grouped-matmul. Rows hold integers in [-4, 4] and weights in
[-3, 3]: sums of K <= 200 products stay below 2^12, and the epilogue's products of two below 2^24, so every partial
result is exact in f32 and any deviation is an error of indexing. On random numbers all variants with vectors must agree
bit for bit: what class or tile computes a row must not change it.
"""
import ctypes
import itertools
import os
import subprocess
import sys

import numpy as np

MOE_OPT, LLVM_BIN, CC, WORK = sys.argv[1:5]
VARIANTS = sys.argv[5:]
LIBRARIES = os.path.join(os.path.dirname(LLVM_BIN), "lib")

BUFFERIZE = (
    "one-shot-bufferize{bufferize-function-boundaries function-boundary-type-conversion=identity-layout-map},"
    "canonicalize,cse,canonicalize,func.func(scf-forall-to-for)"
)
LOOPS = "func.func(convert-linalg-to-loops)"
VECTORS = "func.func(moe-cpu-expand-copy,moe-cpu-vectorize{parallel=false accumulators=%d}),convert-vector-to-scf"
LLVM = (
    "fold-memref-alias-ops,expand-strided-metadata,lower-affine,convert-scf-to-cf,func.func(llvm-request-c-wrappers),"
    "convert-vector-to-llvm,convert-math-to-llvm,finalize-memref-to-llvm,convert-arith-to-llvm,convert-func-to-llvm,"
    "convert-cf-to-llvm,reconcile-unrealized-casts"
)


class Case:
    def __init__(self, name, groups, n, k, counts, banks=1, gather=True, element="f32", nested=False,
                 vectors=None):
        self.name, self.groups, self.n, self.k, self.counts = name, groups, n, k, counts
        self.banks, self.gather, self.element, self.nested = banks, gather, element, nested
        self.vectors = vectors  # element type of one vector per group, which the epilogue adds
        assert len(counts) == groups


def skewed(groups, *counts):
    return list(counts) + [0] * (groups - len(counts))


CASES = [
    # An empty group first, in the middle and last; every class; a tail in rows of each tile height.
    Case("classes", 9, 64, 48, [0, 1, 2, 4, 0, 5, 13, 31, 0], banks=2),
    Case("columns_tail", 4, 70, 33, [3, 0, 17, 1], banks=2),
    Case("chunk_tail", 3, 200, 20, [1, 2, 14]),
    Case("one_column", 2, 1, 5, [1, 6]),
    Case("one_k", 3, 33, 1, [1, 2, 7]),
    Case("all_on_one", 64, 96, 40, skewed(64, *[0] * 17, 230), banks=2),
    Case("one_each", 8, 128, 64, [1] * 8, banks=2),
    Case("no_rows", 5, 40, 16, [0] * 5),
    Case("dense", 1, 100, 200, [37], gather=False),
    Case("dense_row", 1, 160, 200, [1], gather=False),
    Case("no_gather", 6, 96, 64, [4, 0, 1, 12, 25, 3], gather=False, banks=2),
    Case("bf16", 3, 72, 50, [1, 3, 20], element="bf16"),
    Case("f16", 3, 72, 50, [1, 3, 20], element="f16"),
    Case("odd_sizes", 5, 150, 70, [1, 3, 20, 0, 8], banks=2),
    Case("vectors", 4, 70, 33, [1, 0, 17, 4], vectors="f32"),
    Case("vectors_f16", 3, 200, 20, [1, 4, 14], banks=2, vectors="f16"),
    Case("nested", 2, 100, 30, [3, 14], banks=2, nested=True),
]

ELEMENTS = {"f32": np.float32, "f16": np.float16, "bf16": np.uint16}


def target_attribute(vector_bits):
    return f'moe.target = #moe.cpu<"x", "", vectorBits = {vector_bits}, l1Bytes = 32768, l2Bytes = 1048576>'


def program(case, vector_bits):
    panels = -(-case.n // 32)
    data = f"tensor<{case.groups}x{panels}x{case.k}x32x{case.element}>"
    bank = f"!moe.bank<{data}>"
    rows, out = f"tensor<?x{case.k}xf32>", f"tensor<?x{case.n}xf32>"
    offsets = f"tensor<{case.groups + 1}xindex>"
    arguments = [f"%x: {rows}"] + [f"%w{i}: {data}" for i in range(case.banks)] + [f"%offsets: {offsets}"]
    if case.vectors:
        arguments.insert(-1, f"%v: tensor<{case.groups}x{case.n}x{case.vectors}>")
    if case.gather:
        arguments.insert(1, "%at: tensor<?xi32>")
    lines = [f"func.func @run({', '.join(arguments)}, %init: {out} {{bufferization.writable = true}}) -> {out} {{"]
    lines += [f"  %b{i} = moe.make_bank %w{i} : {data} -> {bank}" for i in range(case.banks)]
    vectors = ""
    if case.vectors:
        data = f"tensor<{case.groups}x{case.n}x{case.vectors}>"
        lines += [f"  %vectors = moe.make_bank %v : {data} -> !moe.bank<{data}>"]
        vectors = f"vectors(%vectors : !moe.bank<{data}>) "
    if case.nested:
        lines += [f"  %h = scf.forall (%i) in (1) shared_outs(%inner = %init) -> ({out}) {{"]
    banks, types = ", ".join(f"%b{i}" for i in range(case.banks)), ", ".join([bank] * case.banks)
    at = "at(%at : tensor<?xi32>) " if case.gather else ""
    target = "%inner" if case.nested else "%init"
    name = "%p" if case.nested else "%h"
    lines += [f"  {name} = moe.grouped_matmul ins(%x : {rows}) {at}banks({banks} : {types})"]
    lines += [f"    {vectors}groups(%offsets : {offsets}) outs({target} : {out}) -> {out}"]
    if case.banks == 2 or case.vectors:
        scalars = ["%g: f32"] + ["%u: f32"] * (case.banks == 2) + ["%b: f32"] * bool(case.vectors)
        lines[-1] += " {"
        lines += [f"  ^bb0({', '.join(scalars)}):"]
        lines += ["    %p0 = arith.mulf %g, %u : f32" if case.banks == 2 else "    %p0 = arith.negf %g : f32"]
        lines += ["    %p1 = arith.addf %p0, %b : f32"] if case.vectors else []
        lines += [f"    moe.yield %p{int(bool(case.vectors))} : f32", "  }"]
    if case.nested:
        lines += ["  %c0 = arith.constant 0 : index", f"  %rows = tensor.dim %inner, %c0 : {out}"]
        lines += ["  scf.forall.in_parallel {"]
        lines += [f"    tensor.parallel_insert_slice %p into %inner[0, 0] [%rows, {case.n}] [1, 1] : {out} into {out}"]
        lines += ["  }", "  }"]
    lines += [f"  return %h : {out}", "}"]
    body = "\n".join(lines)
    return f"module attributes {{{target_attribute(vector_bits)}}} {{\n{body}\n}}\n"


def call(command, **arguments):
    done = subprocess.run(command, capture_output=True, **arguments)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stderr.decode(errors='replace')}")
    return done.stdout


def build(case, variant):
    words = variant.split()
    vector_bits = 256 if "target=256" in words else 512
    options = " ".join(word for word in words if word not in ("loops", "target=256"))
    lower = LOOPS if "loops" in words else VECTORS % (24 if vector_bits == 512 else 6)
    base = os.path.join(WORK, f"{case.name}.{VARIANTS.index(variant)}")
    with open(base + ".mlir", "w") as file:
        file.write(program(case, vector_bits))
    tile = f"func.func(moe-tile-grouped-matmul{{{options}}})"
    llvm = call([MOE_OPT, base + ".mlir", f"--pass-pipeline=builtin.module({tile},{BUFFERIZE},{lower},{LLVM})"])
    # The translator knows the LLVM dialect only.
    llvm = llvm.replace(target_attribute(vector_bits).encode(), b"")
    ir = call([f"{LLVM_BIN}/mlir-translate", "--mlir-to-llvmir"], input=llvm)
    call([f"{LLVM_BIN}/llc", "-O1", "-mtriple=x86_64-linux-gnu", "-mcpu=x86-64-v3", "-filetype=obj",
          "-relocation-model=pic", "-o", base + ".o"], input=ir)
    call([CC, "-shared", "-o", base + ".so", base + ".o", "-lm", f"-Wl,-rpath,{LIBRARIES}",
          f"{LIBRARIES}/libmlir_c_runner_utils.so"])
    return ctypes.CDLL(base + ".so")


def descriptor(array):
    rank = array.ndim
    kind = ctypes.c_int64 * (3 + 2 * rank)
    strides = [s // array.itemsize for s in array.strides]
    return kind(array.ctypes.data, array.ctypes.data, 0, *array.shape, *strides)


def pack(weights):
    groups, n, k = weights.shape
    panels = -(-n // 32)
    padded = np.zeros((groups, panels * 32, k), np.float32)
    padded[:, :n] = weights
    return np.ascontiguousarray(padded.reshape(groups, panels, 32, k).transpose(0, 1, 3, 2))


def store(weights, element):
    if element == "bf16":
        return (weights.view(np.uint32) >> 16).astype(np.uint16)
    return weights.astype(ELEMENTS[element])


def run(library, case, x, at, packed, vectors, offsets, rows):
    out = np.full((rows, case.n), -77.0, np.float32)
    arguments = [x] + ([at] if case.gather else []) + packed + ([vectors] if case.vectors else []) + [offsets, out]
    descriptors = [descriptor(a) for a in arguments]
    result = (ctypes.c_int64 * 7)()
    library._mlir_ciface_run(ctypes.byref(result), *[ctypes.byref(d) for d in descriptors])
    assert result[1] == out.ctypes.data, "the result is not computed in place"
    return out


def check(case):
    random = np.random.default_rng(7)
    rows = sum(case.counts)
    source_rows = max(1, rows // 2 + 1) if case.gather else rows
    offsets = np.concatenate([[0], np.cumsum(case.counts)]).astype(np.int64)
    at = random.integers(0, source_rows, rows).astype(np.int32)
    # Two rows follow that belong to no group: they keep their value.
    beyond = 2
    at = np.concatenate([at, np.zeros(beyond, np.int32)])
    x = random.integers(-4, 5, (source_rows + beyond, case.k)).astype(np.float32)
    weights = [random.integers(-3, 4, (case.groups, case.n, case.k)).astype(np.float32) for _ in range(case.banks)]
    vectors = random.integers(-9, 10, (case.groups, case.n)).astype(ELEMENTS[case.vectors or "f32"])
    expected = np.full((rows + beyond, case.n), -77.0, np.float32)
    for group, (begin, end) in enumerate(itertools.pairwise(offsets)):
        mine = x[at[begin:end]] if case.gather else x[begin:end]
        products = [mine @ w[group].T for w in weights]
        expected[begin:end] = products[0] if case.banks == 1 else products[0] * products[1]
        if case.vectors:
            expected[begin:end] = (expected[begin:end] if case.banks == 2 else -products[0]) + vectors[group]
    noise = random.standard_normal(x.shape).astype(np.float32)
    noisy = [random.standard_normal(w.shape).astype(np.float32) for w in weights]
    first = None
    for variant in VARIANTS:
        library = build(case, variant)
        got = run(library, case, x, at, [store(pack(w), case.element) for w in weights], vectors, offsets, rows + beyond)
        if not np.array_equal(got, expected):
            wrong = np.argwhere(got != expected)
            r, n = wrong[0]
            sys.exit(f"{case.name} [{variant}]: {len(wrong)} of {got.size} elements of {got.shape} differ, first at "
                     f"({r}, {n}), last at {tuple(wrong[-1])}: got {got[r, n]!r}, expected {expected[r, n]!r} (seed 7)")
        # Plain loops round twice where vectors fuse, so they are compared on integers only.
        if "loops" in variant.split():
            continue
        bits = run(library, case, noise, at, [store(pack(w), case.element) for w in noisy], vectors, offsets,
                   rows + beyond)
        if first is None:
            first = bits
        if not np.array_equal(first.view(np.uint32), bits.view(np.uint32)):
            sys.exit(f"{case.name}: [{variant}] differs in bits")
    print(f"{case.name}: ok")


os.makedirs(WORK, exist_ok=True)
for case in CASES:
    check(case)
