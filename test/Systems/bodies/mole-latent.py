"""MoLE: E_e(x) = down_e (silu(A_e B_g(e) x) * (A'_e B'_g(e) x)), g(e) = e // 2; top-2 of the softmax, renormalised."""
import os

import numpy as np

# Gates of integers are multiples of 128, and gated products stay below 2^24.
SCALES = {"router": 128, "latent_b_gate": 1, "a_gate": 128, "gate_whole": 1}


def weights(rng, weights):
    for name in ("latent_b_gate", "latent_b_up"):
        weights[name] *= rng.random(weights[name].shape) < 0.3
    for part in ("gate", "up"):
        latent = weights["latent_b_" + part].reshape(2, 8, 24)
        for e in range(4):
            weights[part + "_whole"][e] = weights["a_" + part][e] @ latent[e // 2]


def oracle(weights, x):
    y = np.zeros_like(x)
    latent_gate, latent_up = (weights["latent_b_" + part].reshape(2, 8, 24) for part in ("gate", "up"))
    for t, row in enumerate(x):
        z = weights["router"] @ row
        p = (np.exp(z - z.max()) / np.exp(z - z.max()).sum()).astype(np.float32)
        chosen = np.argsort(-p, kind="stable")[:2]
        for e in chosen:
            h = weights["a_gate"][e] @ (latent_gate[e // 2] @ row)
            up = weights["a_up"][e] @ (latent_up[e // 2] @ row)
            y[t] += p[e] / p[chosen].astype(np.float64).sum() * (weights["down"][e] @ (h / (1 + np.exp(-h)) * up))
    return y


def trap_computed_once_equals_whole_matrices(system):
    for integers in (True, False):
        inputs = system.inputs(13, integers)
        system.compare("whole", system.run(inputs, "whole")["y"], system.run(inputs)["y"], exact=integers)


def trap_shared_matrix_is_stored_once(system):
    """The reference path's weights file: each tensor of the program once, at a multiple of 64 bytes, behind 4096."""
    stored = sum(-(-weight.nbytes // 64) * 64 for weight in system.weights.values())
    assert os.path.getsize(system.plain.path + ".weights") <= 4096 + stored
