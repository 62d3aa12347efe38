"""Tests the judge of benchmarks/gpu's workloads: right results pass with room, and each planted mistake is far outside; frozen
routing has the loads that its description promises.

gpu-reference.py SCRIPTS
"""
import sys

import numpy as np

sys.path.insert(0, sys.argv[1])
import workloads
from reference import of_experts, of_layer, select
from workloads import MODELS, Numbers, choose, load_of, to_bf16, to_float

TOKENS, failures = 24, 0


def check(condition, *what):
    global failures
    if not condition:
        failures += 1
        print("FAILED", *what)


def silu(x):
    return x / (1 + np.exp(-x))


def rounded(x, rounds):
    return to_float(to_bf16(x)) if rounds else x


def run(model, weights, x, ids, shares, mistake="", peer=False):
    """All rows as a program computes them (h and the result in bf16), or as others do (everything in bf16)."""
    y = np.zeros((len(x), model.hidden), np.float32)
    gate, up, down = (to_float(weights[name]) for name in ("gate", "up", "down"))
    if mistake == "gate and up swapped":
        gate, up = up, gate
    if mistake == "the last column of an expert is zero":
        down = down.copy()
        down[:, :, -1] = 0
    for token, row in enumerate(to_float(x)):
        for slot, (expert, share) in enumerate(zip(ids[token], shares[token])):
            if mistake == "a slot is left out" and slot == len(ids[token]) - 1:
                continue
            expert = (expert + (mistake == "the next expert")) % model.experts
            g, u = rounded(gate[expert] @ row, peer), rounded(up[expert] @ row, peer)
            h = rounded(rounded(silu(g), peer) * u if mistake != "no activation" else g * u, True)
            share = 1 / len(ids[token]) if mistake == "equal shares" else share
            y[token] += rounded(rounded(down[expert] @ h, peer) * np.float32(share), peer)
            y[token] = rounded(y[token], peer)
    return to_bf16(y)


MISTAKES = ("gate and up swapped", "a slot is left out", "the next expert", "no activation", "equal shares",
            "the last column of an expert is zero")
for name in ("mixtral", "olmoe", "deepseek"):
    model = MODELS[name].shrunken(32)
    numbers = Numbers(5, 65537)
    weights, x = numbers.weights(model), numbers.rows(model, TOKENS)
    ids, shares = choose(model, TOKENS, "uniform", 5)
    logits = to_float(x).astype(np.float64) @ to_float(weights["router"]).astype(np.float64).T
    for region, reference, routing in (("experts", of_experts(model, weights, x, ids, shares), (ids, shares)),
                                       ("layer", of_layer(model, weights, x), select(model, logits))):
        error = reference.error(run(model, weights, x, *routing), ours=True)
        check(error < 0.6, name, region, "as a program", error)
        error = reference.error(run(model, weights, x, *routing, peer=True), ours=False)
        check(error < 0.6, name, region, "as others", error)
        for mistake in MISTAKES:
            wrong = run(model, weights, x, *routing, mistake)
            # Others round more: what a missing column changes is within their bound.
            for ours in (True, False)[: 1 if "column" in mistake else 2]:
                error = reference.error(wrong, ours)
                check(error > 1.5, name, region, mistake, "ours" if ours else "others", error)
        nothing = np.full((TOKENS, model.hidden), 0x7FC0, np.uint16)
        check(reference.error(nothing, True) == float("inf"), name, region, "NaN")

# Loads: the largest over the mean. Distinct experts, shares that add up to one.
for kind, tokens, least, most in (("uniform", 4096, 1.05, 1.3), ("zipf1", 4096, 12, 15), ("hot", 4096, 8, 9)):
    ids, shares = choose(MODELS["qwen3"], tokens, kind, 20)
    active, peak = load_of(ids, 128)
    check(active == 128 and least < peak < most, kind, active, peak)
    check((np.diff(np.sort(ids), axis=1) > 0).all() and np.allclose(shares.sum(1), 1, atol=1e-6), kind, "rows")
    check((choose(MODELS["qwen3"], tokens, kind, 20)[0] == ids).all(), kind, "frozen by its seed")
check(load_of(choose(MODELS["qwen3"], 1, "uniform", 20)[0], 128) == (8, 16.0), "one token")
check(workloads.flops(MODELS["olmoe"], 2048) == 206158430208 and
      workloads.least_bytes(MODELS["qwen3"], 4096, 128) == 1241513984, "costs")
sys.exit(failures != 0)
