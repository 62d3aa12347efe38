#!/usr/bin/python3
"""Runs vectorised linalg against NumPy: vectorize-numbers.py [--case TEXT] [--target ACCUMULATORS:CPU ...].

Each case is a linalg op on buffers with a NumPy expression for its result. The data are small integers,
so that every partial sum is exact (|x| <= 4 and at most 300 terms: sums stay below 2^13) and the order of
summation cannot hide an error: results must be equal. Buffers lie inside larger ones filled with a
sentinel, which must survive.

A second run on random floats compares bits: those of the first target with those of the others, and, where
sizes are dynamic, those of all rows at once with those of each row alone.
"""
import argparse, ctypes, sys, tempfile
import numpy as np

sys.dont_write_bytecode = True  # the source folder stays as it is
from lowering import build

SENTINEL = 77
NUMPY = {"f32": np.float32, "bf16": np.uint16, "f16": np.float16, "i32": np.int32, "i64": np.int64, "index": np.int64, "i1": np.uint8}


def encode(values, kind):
    """NumPy numbers as they are stored; bf16 is the upper half of a float (small integers are exact)."""
    if kind == "bf16":
        return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return values.astype(NUMPY[kind])


def decode(values, kind):
    if kind == "bf16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float64 if kind in ("f32", "f16") else np.int64)


class Buffer:
    """A buffer of a shape inside a larger one: rows lie `gap` elements apart."""

    def __init__(self, shape, kind, values, gap):
        self.kind, self.shape = kind, shape
        row = (shape[-1] if shape else 1) + gap
        rows = int(np.prod(shape[:-1])) if shape else 1
        self.storage = encode(np.full(rows * row + 64, SENTINEL), kind)
        strides, stride = [], row
        for size in reversed(shape[:-1]):
            strides.insert(0, stride)
            stride *= size
        strides += [1] if shape else []
        self.strides, self.offset = strides, 16
        item = self.storage.itemsize
        self.view = np.lib.stride_tricks.as_strided(self.storage[16:], shape, [s * item for s in strides])
        self.view[...] = encode(np.asarray(values), kind)
        self.before = self.storage.copy()

    def descriptor(self, dim=None, index=0):
        """The buffer, or its part at one index of a dimension."""
        pointer, offset, shape = self.storage.ctypes.data, self.offset, list(self.shape)
        if dim is not None:
            offset, shape[dim] = offset + index * self.strides[dim], 1
        words = [pointer, pointer, offset, *shape, *self.strides]
        return (ctypes.c_int64 * len(words))(*words)

    def result(self):
        return decode(np.array(self.view), self.kind)

    def outside_unchanged(self):
        after = self.storage.copy()
        np.lib.stride_tricks.as_strided(after[16:], self.shape, [s * after.itemsize for s in self.strides])[...] = 0
        before = self.before.copy()
        np.lib.stride_tricks.as_strided(before[16:], self.shape, [s * before.itemsize for s in self.strides])[...] = 0
        return np.array_equal(after, before)


def memref(shape, kind, dynamic, gap):
    """The type of a buffer; `dynamic` says of each dimension whether its size is known."""
    sizes = "".join(f"{'?' if unknown else size}x" for size, unknown in zip(shape, dynamic))
    dynamic = any(dynamic)
    if not shape:
        return f"memref<{kind}, strided<[], offset: ?>>"
    strides = ["1"]
    stride = shape[-1] + gap
    for size in reversed(shape[1:-1]):
        strides.insert(0, "?" if dynamic else str(stride))
        stride *= size
    if len(shape) > 1:
        strides.insert(0, "?" if dynamic else str(stride))
    return f"memref<{sizes}{kind}, strided<[{', '.join(strides)}], offset: ?>>"


class Case:
    """name; loop sizes by letter; operands (letters, type), the last ones outputs; iterators; body; reference on float64 arrays. `dynamic`: all
    sizes, or the letters of those, that the code does not know."""

    def __init__(self, name, sizes, operands, reductions, body, reference, outputs=1, dynamic=False, gap=0, low=-4):
        self.name, self.sizes, self.operands, self.reductions = name, sizes, operands, reductions
        self.body, self.reference, self.outputs, self.dynamic, self.gap, self.low = body, reference, outputs, dynamic, gap, low

    def text(self, symbol):
        letters = list(self.sizes)
        dims = ", ".join(f"d{i}" for i in range(len(letters)))
        maps = [f"affine_map<({dims}) -> ({', '.join('d%d' % letters.index(l) for l in used)})>" for used, _ in self.operands]
        kinds = ", ".join('"reduction"' if l in self.reductions else '"parallel"' for l in letters)
        types = [memref([self.sizes[l] for l in used], kind, [self.dynamic is True or l in (self.dynamic or '') for l in used], self.gap) for used, kind in self.operands]
        names = [f"%m{i}" for i in range(len(types))]
        cut = len(types) - self.outputs
        arguments = ", ".join(f"%{chr(97 + i)}: {kind}" for i, (_, kind) in enumerate(self.operands))
        listed = lambda group: f"{', '.join(names[group])} : {', '.join(types[group])}"
        inputs = f"ins({listed(slice(0, cut))}) " if cut else ""
        return f"""
func.func @{symbol}({', '.join(f'{n}: {t}' for n, t in zip(names, types))}) attributes {{llvm.emit_c_interface}} {{
  linalg.generic {{indexing_maps = [{', '.join(maps)}], iterator_types = [{kinds}]}}
    {inputs}outs({listed(slice(cut, None))}) {{
  ^bb0({arguments}):
    {self.body}
  }}
  return
}}"""

    def run(self, function, seed):
        generator = np.random.default_rng(seed)
        arrays = [generator.integers(self.low, 5, [self.sizes[l] for l in used]) for used, _ in self.operands]
        buffers = [Buffer([self.sizes[l] for l in used], kind, values, self.gap) for (used, kind), values in zip(self.operands, arrays)]
        descriptors = [buffer.descriptor() for buffer in buffers]
        function(*[ctypes.byref(d) for d in descriptors])
        expected = self.reference(*[a.astype(np.float64) for a in arrays])
        expected = expected if isinstance(expected, tuple) else (expected,)
        for buffer, want in zip(buffers[-self.outputs:], expected):
            got = buffer.result()
            want = np.broadcast_to(np.asarray(want), got.shape)
            if not np.array_equal(got, want):
                bad = np.argwhere(got != want)
                return f"{len(bad)} of {got.size} elements differ, first at {bad[0].tolist()}: expected {want[tuple(bad[0])]}, got {got[tuple(bad[0])]}"
        for index, buffer in enumerate(buffers):
            if not buffer.outside_unchanged():
                return f"operand {index}: elements outside of the buffer were overwritten"
        return None

    def bits(self, function, seed, row_letter=None):
        """The outputs' bytes for random data, with `row_letter` computed index by index."""
        generator = np.random.default_rng(seed)
        buffers = []
        for used, kind in self.operands:
            shape = [self.sizes[l] for l in used]
            real = kind in ("f32", "bf16", "f16")
            values = generator.standard_normal(shape, np.float32) if real else generator.integers(max(self.low, 0), 5, shape)
            buffers.append(Buffer(shape, kind, values, self.gap))
        places = lambda index: [b.descriptor(used.index(row_letter) if row_letter in used else None, index) for b, (used, _) in zip(buffers, self.operands)]
        for index in range(self.sizes[row_letter]) if row_letter else [None]:
            descriptors = places(index) if row_letter else [b.descriptor() for b in buffers]
            function(*[ctypes.byref(d) for d in descriptors])
        return [np.ascontiguousarray(b.view).tobytes() for b in buffers[-self.outputs:]]

    def rows_are_independent(self):
        """All rows at once may be compared with each row alone: sizes are dynamic, `m` is parallel and no value."""
        return self.dynamic and "m" in self.sizes and "m" not in self.reductions and "linalg.index 0" not in self.body


def contraction(widen_b=None):
    if widen_b:
        return f"%w = arith.extf %b : {widen_b} to f32\n    %p = arith.mulf %a, %w : f32\n    %s = arith.addf %c, %p : f32\n    linalg.yield %s : f32"
    return "%p = arith.mulf %a, %b : f32\n    %s = arith.addf %c, %p : f32\n    linalg.yield %s : f32"


def cases():
    edges = [0, 1, 15, 16, 17, 31, 32, 33]
    for dynamic, gap in [(False, 0), (False, 3), (True, 0), (True, 3)]:
        tag = f"{'dynamic' if dynamic else 'static'}{'-strided' if gap else ''}"
        options = dict(dynamic=dynamic, gap=gap)
        # Lanes over the columns: the form of all products with packed weights.
        shapes = [(1, 1, 1), (12, 32, 40), (13, 33, 7), (6, 16, 9), (5, 100, 3), (0, 16, 4), (3, 0, 4), (3, 17, 0), (25, 64, 11)]
        for m, n, k in shapes + [(2, n, 5) for n in edges]:
            for kind in ("f32", "bf16", "f16"):
                yield Case(f"matmul-{m}x{n}x{k}-{kind}-{tag}", dict(m=m, n=n, k=k), [("mk", "f32"), ("kn", kind), ("mn", "f32")], "k",
                           contraction(kind if kind != "f32" else None), lambda a, b, c: a @ b + c, **options)
        for m, n, k in [(3, 5, k) for k in edges] + [(1, 1, 1), (4, 4, 64), (7, 9, 35), (0, 3, 5)]:
            # Lanes over the reduction: rows times rows.
            yield Case(f"rows-{m}x{n}x{k}-{tag}", dict(m=m, n=n, k=k), [("mk", "f32"), ("nk", "f32"), ("mn", "f32")], "k",
                       contraction(), lambda a, b, c: a @ b.T + c, **options)
            yield Case(f"rows-fma-{m}x{n}x{k}-{tag}", dict(m=m, n=n, k=k), [("mk", "f32"), ("nk", "f32"), ("mn", "f32")], "k",
                       "%s = math.fma %a, %b, %c : f32\n    linalg.yield %s : f32", lambda a, b, c: a @ b.T + c, **options)
            yield Case(f"rows-bf16-{m}x{n}x{k}-{tag}", dict(m=m, n=n, k=k), [("mk", "f32"), ("nk", "bf16"), ("mn", "f32")], "k",
                       contraction("bf16"), lambda a, b, c: a @ b.T + c, **options)
            # The right side is not contiguous along the lanes: it is gathered.
            yield Case(f"columns-{m}x{n}x{k}-{tag}", dict(m=m, n=n, k=k), [("km", "f32"), ("nk", "f32"), ("mn", "f32")], "k",
                       contraction(), lambda a, b, c: a.T @ b.T + c, **options)
        for p, k in [(4, 33), (3, 2), (8, 0)]:
            yield Case(f"panels-{p}x{k}-{tag}", dict(r=1, p=p, n=32, k=k), [("rk", "f32"), ("pkn", "bf16"), ("rpn", "f32")], "k",
                       contraction("bf16"), lambda a, b, c: np.einsum("rk,pkn->rpn", a, b) + c, **options)
        for n in edges + [250]:
            two = dict(m=3, n=n)
            add = "%s = arith.addf %b, %a : f32\n    linalg.yield %s : f32"
            yield Case(f"row-sum-{n}-{tag}", two, [("mn", "f32"), ("m", "f32")], "n", add, lambda a, b: a.sum(1) + b, **options)
            yield Case(f"column-sum-{n}-{tag}", two, [("mn", "f32"), ("n", "f32")], "m", add, lambda a, b: a.sum(0) + b, **options)
            yield Case(f"sum-all-{n}-{tag}", two, [("mn", "f32"), ("", "f32")], "mn", add, lambda a, b: a.sum() + b, **options)
            largest = "%s = arith.maximumf %a, %b : f32\n    linalg.yield %s : f32"
            yield Case(f"row-max-{n}-{tag}", two, [("mn", "f32"), ("m", "f32")], "n", largest,
                       lambda a, b: np.maximum(a.max(1, initial=-9), b), **options)
            square = "%w = arith.extf %a : f16 to f32\n    %p = arith.mulf %w, %w : f32\n    %s = arith.addf %p, %b : f32\n    linalg.yield %s : f32"
            yield Case(f"square-sum-{n}-{tag}", two, [("mn", "f16"), ("m", "f32")], "n", square, lambda a, b: (a * a).sum(1) + b, **options)
            smallest = "%s = arith.minsi %b, %a : i32\n    linalg.yield %s : i32"
            yield Case(f"row-min-i32-{n}-{tag}", two, [("mn", "i32"), ("m", "i32")], "n", smallest,
                       lambda a, b: np.minimum(a.min(1, initial=9), b), **options)
            # The best value and its place: two outputs that depend on each other.
            best = ("%i = linalg.index 1 : index\n    %g = arith.cmpf ogt, %a, %b : f32\n    %v = arith.select %g, %a, %b : f32\n"
                    "    %j = arith.index_cast %i : index to i64\n    %k = arith.select %g, %j, %c : i64\n    linalg.yield %v, %k : f32, i64")

            def argmax(a, b, c):
                row = np.concatenate([b[:, None], a], 1)
                place = row.argmax(1)
                return row.max(1), np.where(place == 0, c, place - 1)
            yield Case(f"argmax-{n}-{tag}", two, [("mn", "f32"), ("m", "f32"), ("m", "i64")], "n", best, argmax, outputs=2, **options)
            # Element by element: broadcast, transpose, integers, indices, several results.
            yield Case(f"broadcast-{n}-{tag}", two, [("m", "f32"), ("n", "bf16"), ("", "f32"), ("mn", "f32")], "",
                       "%w = arith.extf %b : bf16 to f32\n    %x = arith.mulf %a, %w : f32\n    %y = arith.addf %x, %c : f32\n    linalg.yield %y : f32",
                       lambda a, b, c, d: a[:, None] * b + c, **options)
            yield Case(f"transpose-{n}-{tag}", two, [("nm", "f32"), ("mn", "f32")], "", "linalg.yield %a : f32", lambda a, b: a.T, **options)
            yield Case(f"narrow-{n}-{tag}", two, [("mn", "f32"), ("mn", "f16")], "",
                       "%t = arith.truncf %a : f32 to f16\n    linalg.yield %t : f16", lambda a, b: a, **options)
            yield Case(f"narrow-bf16-{n}-{tag}", two, [("mn", "f32"), ("mn", "bf16")], "",
                       "%t = arith.truncf %a : f32 to bf16\n    linalg.yield %t : bf16", lambda a, b: a, **options)
            yield Case(f"index-{n}-{tag}", two, [("mn", "i32"), ("mn", "index"), ("mn", "i1")], "",
                       "%i = linalg.index 0 : index\n    %j = linalg.index 1 : index\n    %s = arith.addi %i, %j : index\n"
                       "    %x = arith.index_cast %a : i32 to index\n    %y = arith.addi %s, %x : index\n"
                       "    %z = arith.cmpi slt, %x, %j : index\n    linalg.yield %y, %z : index, i1",
                       lambda a, b, c: (a + np.arange(a.shape[0])[:, None] + np.arange(a.shape[1]), a < np.arange(a.shape[1])), outputs=2, **options)
            # Division traps on zero, so that lanes beyond the end must not run it.
            yield Case(f"divide-{n}-{tag}", two, [("mn", "i32"), ("n", "i32"), ("mn", "i32")], "",
                       "%q = arith.divsi %a, %b : i32\n    linalg.yield %q : i32", lambda a, b, c: a // b, low=1, **options)
            yield Case(f"in-place-{n}-{tag}", two, [("n", "f32"), ("mn", "f32")], "",
                       "%s = arith.addf %b, %a : f32\n    linalg.yield %s : f32", lambda a, b: b + a, **options)
        # Scores and weighted sums of grouped-query attention.
        for g, l, d in [(1, 1, 1), (4, 7, 32), (3, 17, 20), (2, 0, 8), (5, 33, 128)]:
            sizes = dict(g=g, l=l, d=d)
            yield Case(f"scores-{g}x{l}x{d}-{tag}", sizes, [("gd", "f32"), ("ld", "f32"), ("gl", "f32")], "d",
                       contraction(), lambda a, b, c: a @ b.T + c, **options)
            yield Case(f"values-{g}x{l}x{d}-{tag}", sizes, [("gl", "f32"), ("ld", "f32"), ("gd", "f32")], "l",
                       contraction(), lambda a, b, c: a @ b + c, **options)
        yield Case(f"batch-{tag}", dict(b=3, m=5, n=20, k=6), [("bmk", "f32"), ("bkn", "f32"), ("bmn", "f32")], "k",
                   contraction(), lambda a, b, c: a @ b + c, **options)
        yield Case(f"two-reductions-{tag}", dict(m=3, j=4, k=18), [("mjk", "f32"), ("jk", "f32"), ("m", "f32")], "jk",
                   contraction(), lambda a, b, c: np.einsum("mjk,jk->m", a, b) + c, **options)
        # The number of rows alone is dynamic: split over columns, in lanes of the reduction and of the columns.
        for m in (0, 1, 3):
            yield Case(f"split-rows-{m}-{tag}", dict(m=m, n=600, k=300), [("mk", "f32"), ("nk", "f32"), ("mn", "f32")], "k",
                       contraction(), lambda a, b, c: a @ b.T + c, dynamic="m", gap=gap)
            yield Case(f"split-matmul-{m}-{tag}", dict(m=m, n=603, k=300), [("mk", "f32"), ("kn", "f32"), ("mn", "f32")], "k",
                       contraction(), lambda a, b, c: a @ b + c, dynamic="m", gap=gap)
        yield Case(f"rank-0-{tag}", dict(), [("", "f32"), ("", "f32")], "", "%s = arith.addf %a, %b : f32\n    linalg.yield %s : f32",
                   lambda a, b: a + b, **options)
        yield Case(f"large-{tag}", dict(m=130, n=700), [("mn", "f32"), ("mn", "f32")], "",
                   "%s = arith.addf %a, %a : f32\n    linalg.yield %s : f32", lambda a, b: a + a, **options)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--opt", default="moe-opt")
    parser.add_argument("--lower", default="/usr/lib/llvm-22/bin/mlir-opt", help="mlir-opt, in the folder of LLVM's other tools")
    parser.add_argument("--case", default="", help="part of the cases' names")
    parser.add_argument("--target", action="append", help="ACCUMULATORS:CPU, by default 24:native")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chosen = [case for case in cases() if options.case in case.name]
    if not chosen:
        sys.exit(f"expected part of a case's name, got '{options.case}'")
    # With dynamic sizes many cases are the same code.
    symbols = {}
    for case in chosen:
        symbols.setdefault(case.text("SYMBOL"), f"case{len(symbols)}")
    sources = "\n".join(text.replace("SYMBOL", symbol) for text, symbol in symbols.items())
    targets = options.target or ["24:native"]
    with tempfile.TemporaryDirectory() as folder:
        libraries = [build(options.opt, options.lower, target, sources, folder) for target in targets]
    failures = 0
    for case in chosen:
        symbol = "_mlir_ciface_" + symbols[case.text("SYMBOL")]
        functions = [getattr(library, symbol) for library in libraries]
        problems = [problem for function in functions if (problem := case.run(function, options.seed))]
        bits = case.bits(functions[0], options.seed)
        problems += [f"bits of target {target} differ from those of {targets[0]}"
                     for target, function in zip(targets[1:], functions[1:]) if case.bits(function, options.seed) != bits]
        if case.rows_are_independent() and case.bits(functions[0], options.seed, "m") != bits:
            problems.append("bits of rows alone differ from those of all rows")
        if problems:
            failures += 1
            print(f"{case.name} (seed {options.seed}): {problems[0]}")
    print(f"{len(chosen) - failures} of {len(chosen)} cases equal")
    sys.exit(failures != 0)


if __name__ == "__main__":
    main()
