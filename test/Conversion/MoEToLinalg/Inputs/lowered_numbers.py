"""Compiles one function per operation through convert-moe-to-linalg and compares each with NumPy.

  lowered_numbers.py MOE_OPT LLVM_BIN CC WORK_FOLDER

Everything but the scores is exact: integers up to 4 in products of at most 6 terms, whose epilogue multiplies two of
them, stay far below 2^24. Scores are sigmoids and a softmax in f32 with the C library's exp: within 16 units in the
last place of NumPy's in double precision, 2e-6, since each is a handful of operations. The same operations are then
tiled by rows and columns and must not change in a bit.
"""
import ctypes
import os
import subprocess
import sys

import numpy as np

MOE_OPT, LLVM_BIN, CC, WORK = sys.argv[1:5]
HERE = os.path.dirname(os.path.abspath(__file__))
SEED = 11

LOWER = (
    "convert-moe-to-linalg,eliminate-empty-tensors,"
    "one-shot-bufferize{bufferize-function-boundaries function-boundary-type-conversion=identity-layout-map},"
    "canonicalize,cse,func.func(scf-forall-to-for,convert-linalg-to-loops),fold-memref-alias-ops,expand-strided-metadata,"
    "lower-affine,convert-scf-to-cf,func.func(llvm-request-c-wrappers),convert-math-to-llvm,convert-math-to-libm,"
    "finalize-memref-to-llvm,convert-arith-to-llvm,convert-func-to-llvm,convert-cf-to-llvm,reconcile-unrealized-casts"
)


def call(command, **arguments):
    done = subprocess.run(command, capture_output=True, **arguments)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stderr.decode(errors='replace')}")
    return done.stdout


def build(name, first=""):
    llvm = call([MOE_OPT, f"{HERE}/operations.mlir", f"--pass-pipeline=builtin.module({first}{LOWER})"])
    ir = call([f"{LLVM_BIN}/mlir-translate", "--mlir-to-llvmir"], input=llvm)
    base = os.path.join(WORK, name)
    call([f"{LLVM_BIN}/llc", "-O1", "-mcpu=x86-64-v3", "-filetype=obj", "-relocation-model=pic", "-o", base + ".o"],
         input=ir)
    runner = os.path.join(os.path.dirname(LLVM_BIN), "lib")
    call([CC, "-shared", "-o", base + ".so", base + ".o", "-lm", f"-Wl,-rpath,{runner}",
          f"{runner}/libmlir_c_runner_utils.so"])
    return ctypes.CDLL(base + ".so")


def descriptor(array):
    strides = [s // array.itemsize for s in array.strides]
    return (ctypes.c_int64 * (3 + 2 * array.ndim))(array.ctypes.data, array.ctypes.data, 0, *array.shape, *strides)


def run(library, function, arguments, results):
    """`results` are (type, rank) each; the arrays come back as copies."""
    sizes = [3 + 2 * rank for _, rank in results]
    words = (ctypes.c_int64 * sum(sizes))()
    descriptors = [descriptor(a) for a in arguments]
    getattr(library, "_mlir_ciface_" + function)(ctypes.byref(words), *[ctypes.byref(d) for d in descriptors])
    arrays, at = [], 0
    for (kind, rank), size in zip(results, sizes):
        shape = tuple(words[at + 3 : at + 3 + rank])
        bytes_ = int(np.prod(shape)) * np.dtype(kind).itemsize
        start = words[at + 1] + words[at + 2] * np.dtype(kind).itemsize
        data = ctypes.string_at(start, bytes_) if bytes_ else b""
        arrays.append(np.frombuffer(data, kind).reshape(shape))
        at += size
    return arrays


def equal(name, tokens, got, expected):
    got, expected = np.asarray(got), np.asarray(expected)
    if got.shape != expected.shape or not np.array_equal(got, expected):
        wrong = np.argwhere(got != expected) if got.shape == expected.shape else "shapes"
        sys.exit(f"{name}, {tokens} tokens (seed {SEED}): got {got.shape}\n{got}\nexpected {expected.shape}\n{expected}\n"
                 f"different at {wrong}")


def close(name, tokens, got, expected, bound=2e-6):
    error = np.abs(got - expected) / np.maximum(np.abs(expected), 1e-30)
    if error.size and not error.max() <= bound:
        sys.exit(f"{name}, {tokens} tokens (seed {SEED}): relative error {error.max()} > {bound}\n{got}\n{expected}")


F, I, X = np.float32, np.int32, np.int64


def integers(random, low, high, *shape, kind=F):
    return random.integers(low, high + 1, size=shape).astype(kind)


def select_biased(random, tokens, library):
    logits, bias = random.normal(size=(tokens, 8)).astype(F), random.normal(size=8).astype(F)
    ids, weights = run(library, "select_biased", [logits, bias], [(I, 2), (F, 2)])
    scores = 1 / (1 + np.exp(-logits.astype(np.float64)))
    order = np.argsort(-(scores + bias), axis=1, kind="stable")[:, :3]
    chosen = np.take_along_axis(scores, order, 1)
    equal("select_biased", tokens, ids, order)
    close("select_biased", tokens, weights, 2.5 * chosen / chosen.sum(1, keepdims=True))
    return [ids, weights]


def select_all(random, tokens, library):
    """Ties everywhere, NaN in the first token, nothing else in the last: the order of docs/Spec.md."""
    logits = integers(random, -2, 2, tokens, 8)
    if tokens:
        logits[0, 2:5] = np.nan
        logits[-1] = np.nan
    ids, weights = run(library, "select_all", [logits], [(I, 2), (F, 2)])
    equal("select_all", tokens, ids, np.argsort(np.where(np.isnan(logits), np.inf, -logits), axis=1, kind="stable"))
    middle = slice(1, max(1, tokens - 1))
    sorted_ = np.take_along_axis(logits, ids, 1)[middle].astype(np.float64)
    exponentials = np.exp(sorted_ - sorted_.max(1, keepdims=True)) if sorted_.size else sorted_
    close("select_all", tokens, weights[middle], exponentials / exponentials.sum(1, keepdims=True))
    return [ids, weights]


def plan(random, tokens, library):
    """Empty slots, and ids that are no expert's."""
    ids = integers(random, -1, 7, tokens, 3, kind=I)
    if tokens > 2:
        ids[1] = [100, -7, 2]
        ids[2] = [8, 5, 5]
    got = run(library, "plan", [ids, np.zeros((tokens, 3), F)], [(X, 1), (X, 1), (X, 2)])
    pairs = sorted((e, t, s) for t in range(tokens) for s, e in enumerate(ids[t]) if 0 <= e < 8)
    offsets = [sum(e < expert for e, _, _ in pairs) for expert in range(9)]
    rows, slots = np.zeros(3 * tokens, X), np.full((tokens, 3), -1, X)
    for row, (_, token, slot) in enumerate(pairs):
        rows[row], slots[token, slot] = token, row
    for array, expected in zip(got, (offsets, rows, slots)):
        equal("plan", tokens, array, expected)
    return got


def grouped_matmul(random, tokens, library):
    """Four groups, one of them empty, boundaries anywhere, the last rows in no group; one bank packed, one bf16."""
    x, at = integers(random, -3, 3, max(tokens, 1), 5), random.integers(0, max(tokens, 1), tokens).astype(X)
    gate, up = integers(random, -3, 3, 4, 7, 5), integers(random, -3, 3, 4, 7, 5)
    packed = np.zeros((4, 2, 5, 4), F)
    for n in range(7):
        packed[:, n // 4, :, n % 4] = up[:, n]
    cuts = np.sort(random.integers(0, tokens + 1, 3))
    offsets = np.array([0, cuts[0], cuts[1], cuts[1], cuts[2]], X)
    stored = (gate.view(np.uint32) >> 16).astype(np.uint16)
    (got,) = run(library, "grouped_matmul", [x, at, stored, packed, offsets], [(F, 2)])
    expected = np.full((tokens, 7), -1, F)
    for e in range(4):
        for r in range(offsets[e], offsets[e + 1]):
            expected[r] = (gate[e] @ x[at[r]]) * (up[e] @ x[at[r]]) - 1
    equal("grouped_matmul", tokens, got, expected)
    return [got]


def gather(random, tokens, library):
    table, ids = random.normal(size=(9, 6)).astype(np.float16), integers(random, 0, 8, tokens, kind=I)
    (got,) = run(library, "gather", [table, ids], [(F, 2)])
    equal("gather", tokens, got, table[ids].astype(F))
    return [got]


def combine(random, tokens, library):
    """An empty slot is skipped: the NaN in the row that nobody chose stays there."""
    rows = integers(random, -4, 4, 2 * tokens + 1, 4)
    rows[-1] = np.nan
    slots = integers(random, -1, 2 * tokens - 1, tokens, 2, kind=X)
    weights = integers(random, -3, 3, tokens, 2)
    weights[slots < 0] = np.nan
    (got,) = run(library, "combine", [rows, slots, weights], [(F, 2)])
    expected = np.zeros((tokens, 4), F)
    for t in range(tokens):
        for s in range(2):
            if slots[t, s] >= 0:
                expected[t] += weights[t, s] * rows[slots[t, s]]
    equal("combine", tokens, got, expected)
    return [got]


def experts(random, tokens, library):
    """Two classes; the first adds its rows to its state. Experts without rows keep theirs."""
    x, bank, shared = integers(random, -3, 3, tokens, 4), integers(random, -3, 3, 3, 6, 4), integers(random, -3, 3, 6, 4)
    ids, weights = integers(random, -1, 2, tokens, 2, kind=I), integers(random, 1, 3, tokens, 2)
    state = integers(random, -3, 3, 3, 4)
    got = run(library, "experts", [x, ids, weights, bank, shared, state.copy()], [(F, 2), (F, 2)])
    expected, after = np.zeros((tokens, 6), F), state.copy()
    for t in range(tokens):
        for e, w in zip(ids[t], weights[t]):
            if e >= 0:
                expected[t] += w * ((shared if e == 1 else bank[e]) @ x[t])
            if e in (0, 2):
                after[e] += x[t]
    equal("experts", tokens, got[0], expected)
    equal("experts (state)", tokens, got[1], after)
    return got


os.makedirs(WORK, exist_ok=True)
plain = build("plain")
tiled = build("tiled", f"transform-preload-library{{transform-library-paths={HERE}/tile.mlir}},transform-interpreter,")
for check in (select_biased, select_all, plan, grouped_matmul, gather, combine, experts):
    # Zero, one, and around the tiles of 3 and 4.
    for tokens in (0, 1, 2, 3, 4, 5, 17):
        bits = [check(np.random.default_rng(SEED + tokens), tokens, library) for library in (plain, tiled)]
        for a, b in zip(*bits):
            if a.tobytes() != b.tobytes():
                sys.exit(f"{check.__name__}, {tokens} tokens: tiles change bits")
    print(f"{check.__name__}: ok")
