"""Compiles sine and cosine for a device and compares them with float64, up to arguments as large as positions get.

sines.py TOOLS SCRATCH [MOE_COMPILE_FLAG...]
Bound: a correctly rounded float32 is within half a unit in the last place; 0.5001 leaves room for what float64 rounds.
"""
import os

import numpy as np

import harness
from harness import Failure

SOURCE = """
func.func @tables(%x: tensor<?xf32> {moe.name = "x"}) -> (tensor<?xf32> {moe.name = "sine"}, tensor<?xf32> {moe.name = "cosine"}) {
  %sine = math.sin %x : tensor<?xf32>
  %cosine = math.cos %x : tensor<?xf32>
  return %sine, %cosine : tensor<?xf32>, tensor<?xf32>
}
"""
ULPS = 0.5001


def test(tools, scratch, flags):
    source = os.path.join(scratch, "tables.mlir")
    with open(source, "w") as file:
        file.write(SOURCE)
    program = harness.compile_program(tools, source, os.path.join(scratch, "program"), flags)
    rng = np.random.default_rng(7)
    positions = np.outer([1, 2, 31, 4095, 32767, 131071, 1048575], 10000.0 ** (-np.arange(64) / 64)).ravel()
    x = np.concatenate([positions, rng.uniform(-4, 4, 4000), rng.uniform(-1e6, 1e6, 4000), rng.uniform(-1e9, 1e9, 4000),
                        np.arange(-40, 41) * np.pi / 4, [0.0, 1e-30, 1e-40]]).astype(np.float32)
    results = program.call("tables", {"x": x})
    worst = 0.0
    for name, function in (("sine", np.sin), ("cosine", np.cos)):
        # NumPy reduces arguments of float64 fully.
        want = function(x.astype(np.float64))
        unit = np.spacing(np.abs(want).astype(np.float32)).astype(np.float64)
        error = np.abs(results[name] - want) / unit
        if not (error <= ULPS).all():
            at = int(np.argmax(np.nan_to_num(error, nan=np.inf)))
            raise Failure(f"{name} of {x[at]!r}: got {results[name][at]!r}, expected {want[at]!r}, {error[at]} units")
        worst = max(worst, float(error.max()))
    # NaN and infinities have no sine; minus zero has one.
    odd = program.call("tables", {"x": np.array([np.nan, np.inf, -np.inf, -0.0], np.float32)})
    harness.check_equal("sine of what is no number", odd["sine"], np.array([np.nan, np.nan, np.nan, 0], np.float32))
    if not np.signbit(odd["sine"][3]):
        raise Failure("the sine of minus zero is zero")
    harness.check_equal("cosine of what is no number", odd["cosine"], np.array([np.nan, np.nan, np.nan, 1], np.float32))
    print(f"worst error {worst:.4f} units in the last place")


if __name__ == "__main__":
    harness.main(test, __doc__)
