#!/usr/bin/python3
"""Measures the expansions of elementary functions against the C library in double precision: expand-math-numbers.py [--step N].

Every N-th of all floats is tried, infinities and NaN among them. exp must be within 2 units in the last place on the whole range
and exact at its ends; the bounds of the other functions are those measured for MLIR's approximations, rounded up. Scalars and
vectors must agree bit by bit.
"""
import argparse, ctypes, math, sys, tempfile
import numpy as np

sys.dont_write_bytecode = True  # the source folder stays as it is
from lowering import build

# Name, reference, largest error in units of the last place, smallest magnitude that is tried: MLIR's logarithm takes subnormal
# numbers for the smallest normal one.
NORMAL = float(np.finfo(np.float32).tiny)
FUNCTIONS = [("exp", np.exp, 2, 0), ("tanh", np.tanh, 5, 0), ("expm1", np.expm1, 3, 0), ("log", np.log, 3, NORMAL), ("log1p", np.log1p, 3, 0),
             ("erf", np.vectorize(math.erf, otypes=[np.float64]), 5, 0)]

TEXT = """
func.func @v_{name}(%a: memref<?xf32>, %b: memref<?xf32>) attributes {{llvm.emit_c_interface}} {{
  linalg.generic {{indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>], iterator_types = ["parallel"]}}
    ins(%a : memref<?xf32>) outs(%b : memref<?xf32>) {{
  ^bb0(%x: f32, %y: f32):
    %e = math.{name} %x : f32
    linalg.yield %e : f32
  }}
  return
}}
func.func @s_{name}(%a: memref<?xf32>, %b: memref<?xf32>) attributes {{llvm.emit_c_interface}} {{
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %n = memref.dim %a, %c0 : memref<?xf32>
  scf.for %i = %c0 to %n step %c1 {{
    %x = memref.load %a[%i] : memref<?xf32>
    %e = math.{name} %x : f32
    memref.store %e, %b[%i] : memref<?xf32>
  }}
  return
}}
"""


def apply(function, values):
    result = np.empty_like(values)
    words = [(ctypes.c_int64 * 5)(array.ctypes.data, array.ctypes.data, 0, len(array), 1) for array in (values, result)]
    function(*map(ctypes.byref, words))
    return result


def check(name, reference, bound, smallest, library, values):
    values = values[~(np.abs(values) < smallest) | (values == 0)]
    vector = apply(getattr(library, f"_mlir_ciface_v_{name}"), values)
    scalar = apply(getattr(library, f"_mlir_ciface_s_{name}"), values)
    if not np.array_equal(vector.view(np.uint32)[~np.isnan(vector)], scalar.view(np.uint32)[~np.isnan(vector)]):
        return "scalars and vectors differ"
    with np.errstate(all="ignore"):
        exact = reference(values.astype(np.float64))
        rounded = exact.astype(np.float32)
        if not np.array_equal(np.isnan(vector), np.isnan(rounded)):
            return "NaN in other places"
        special = np.isinf(rounded) | (rounded == 0)
        if not np.array_equal(vector[special], rounded[special]):
            bad = values[special][vector[special] != rounded[special]][0]
            return f"wrong zero or infinity at {bad!r}"
        finite = ~(special | np.isnan(rounded))
        error = np.abs(vector[finite] - exact[finite]) / np.spacing(np.abs(rounded[finite])).astype(np.float64)
    worst = error.argmax()
    print(f"{name}: {error[worst]:.2f} ulp at {values[finite][worst]!r} of {len(values)} values")
    return None if error[worst] <= bound else f"{error[worst]} ulp at {values[finite][worst]!r}, expected at most {bound}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--opt", default="moe-opt")
    parser.add_argument("--lower", default="/usr/lib/llvm-22/bin/mlir-opt", help="mlir-opt, in the folder of LLVM's other tools")
    parser.add_argument("--target", default="24:native", help="ACCUMULATORS:CPU")
    parser.add_argument("--step", type=int, default=9973)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        library = build(options.opt, options.lower, options.target, "".join(TEXT.format(name=f[0]) for f in FUNCTIONS), folder)
    values = np.arange(0, 1 << 32, options.step, dtype=np.uint32).view(np.float32)
    ends = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 88.72283, 88.72284, -87.33655, -103.97208, -103.97209, 1e38, -1e38], np.float32)
    values = np.concatenate([ends, values])
    problems = [f"{f[0]}: {problem}" for f in FUNCTIONS if (problem := check(*f, library, values))]
    print("\n".join(problems) or "all within their bounds")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
