"""MixLoRA: top-2 of the softmax, renormalised; an expert is the base block with B_e A_e added to each of its matrices."""
import numpy as np

PARTS = ("gate", "up", "down")
# Small, so that gated products of integers stay below 2^24.
SCALES = {"router": 128, "a_gate": 1, "b_gate": 128, "base_gate": 128, "gate_whole": 1}


def weights(rng, weights):
    for part in ("a_down", "a_gate", "a_up"):
        weights[part] *= rng.random(weights[part].shape) < 0.3
    for part in PARTS:
        weights["b_" + part][3] = 0  # expert 3 is the base block itself
        weights[part + "_whole"][:] = weights["base_" + part] + weights["b_" + part] @ weights["a_" + part]


def block(weights, e, row):
    gate, up, down = (weights["base_" + part] + weights["b_" + part][e] @ weights["a_" + part][e] for part in PARTS)
    h = gate @ row
    return down @ (h / (1 + np.exp(-h)) * (up @ row))


def oracle(weights, x):
    y = np.zeros_like(x)
    for t, row in enumerate(x):
        z = weights["router"] @ row
        p = (np.exp(z - z.max()) / np.exp(z - z.max()).sum()).astype(np.float32)
        chosen = np.argsort(-p, kind="stable")[:2]
        for e in chosen:
            y[t] += p[e] / p[chosen].astype(np.float64).sum() * block(weights, e, row)
    return y


def trap_lora_can_be_merged_into_whole_experts(system):
    for integers in (True, False):
        inputs = system.inputs(13, integers)
        system.compare("whole", system.run(inputs, "whole")["y"], system.run(inputs)["y"], exact=integers)


def trap_zero_b_is_the_base_block(system):
    """Expert 3 alone, in two slots that share the weight; the base is inside the gate, so weights must sum to one."""
    x = system.inputs(9, integers=True)["x"]
    ids = np.full((9, 2), 3, np.int32)
    base = {name: np.asarray(value, np.float64) for name, value in system.weights.items()}
    want = np.stack([block(base, 3, row) for row in x.astype(np.float64)])
    share = np.full((9, 2), 0.5, np.float32)
    system.compare("expert 3", system.run({"x": x, "ids": ids, "share": share}, "given", exact=True)["y"], want)
    double = system.run({"x": x, "ids": ids, "share": 2 * share}, "given", exact=True)["y"]
    system.compare("weights of two", double, 2 * want)
