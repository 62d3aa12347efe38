"""Runs a layer through the plain lowering as it is and after the optimise stage, and compares every element exactly.

optimize_numbers.py TOOLS INTEGRATION LAYER SCRATCH

Rows, weights and biases are -1, 0 or 1, so that with H = 19 and F = 11 a gated product is an integer of at most
19 * 19 + 1, what an expert gives of at most 11 * 362, and what a token sums of at most 2 * 2 * 3982 + 7 * 361 + 1: all
far below 2^24, so that every order of summation gives the same float32.
"""
import os
import sys

import numpy as np

tools, integration, layer, scratch = sys.argv[1:]
sys.path.insert(0, integration)
import harness  # noqa: E402  (shared with the integration tests, see the path above)

SHAPES = {
    "router": (5, 19), "gate": (5, 11, 19), "up": (5, 11, 19), "down": (5, 19, 11), "bias": (5, 11), "scale": (19,),
    "shared_gate": (7, 19), "shared_up": (7, 19), "shared_down": (19, 7),
}
rng = np.random.default_rng(11)


def small(*shape):
    return rng.integers(-1, 2, shape).astype(np.float32)


def routings():
    """ids [tokens, 2]; -1 is an empty slot."""
    for tokens in (0, 1, 2, 23, 24, 25, 61):
        yield np.stack([rng.permutation(5)[:2] for _ in range(tokens)] or [np.zeros(2)])[:tokens]
    yield np.full((9, 2), -1)
    yield np.tile([[4, -1]], (30, 1))
    yield np.where(rng.random((40, 2)) < 0.5, -1, [[0, 3]])


os.makedirs(scratch, exist_ok=True)
weights = os.path.join(scratch, "weights.safetensors")
harness.safetensors.save(weights, {name: small(*shape) for name, shape in SHAPES.items()})
optimised = os.path.join(scratch, "optimised.mlir")
harness.run([os.path.join(tools, "moe-opt"), layer, "--moe-optimize", "-o", optimised])
programs = []
for name, source in (("plain", layer), ("fused", optimised)):
    folder = os.path.join(scratch, name)
    os.makedirs(folder, exist_ok=True)
    flags = [f"--weights={weights}", "--moe-reference"]
    programs.append(harness.compile_program(tools, source, os.path.join(folder, "program"), flags))
plain, fused = programs
for ids in routings():
    x = small(len(ids), 19)
    inputs = {"x": x, "ids": ids.astype(np.int32), "weights": rng.integers(1, 3, ids.shape).astype(np.float32)}
    want = plain.call("experts", inputs)["y"]
    assert len(ids) < 20 or np.abs(want - x).max() > 0, "a layer that adds nothing would test nothing"
    harness.check_equal(f"experts of {len(ids)} tokens", fused.call("experts", inputs)["y"], want)
    want = plain.call("router_choice", {"x": x})
    got = fused.call("router_choice", {"x": x})
    for part in ("ids", "weights"):
        harness.check_equal(f"{part} of {len(ids)} tokens", got[part], want[part])
print("equal")
