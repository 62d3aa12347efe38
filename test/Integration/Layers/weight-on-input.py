"""sum over the two experts of highest sigmoid score s of E(s * x), E(x) = down (relu(gate x) * up x)."""
import numpy as np


def oracle(weights, x):
    y = np.zeros_like(x)
    for t, row in enumerate(x):
        score = 1 / (1 + np.exp(-(weights["router"] @ row)))
        for e in np.argsort(-score.astype(np.float32), kind="stable")[:2]:
            scaled = score[e] * row
            y[t] += weights["down"][e] @ (np.maximum(weights["gate"][e] @ scaled, 0) * (weights["up"][e] @ scaled))
    return y


def trap_gate_inside_is_not_gate_outside(system):
    x = system.inputs(5, integers=False)["x"]
    outside = np.zeros((5, 24))
    for t, row in enumerate(x.astype(np.float64)):
        score = 1 / (1 + np.exp(-(system.weights["router"] @ row)))
        for e in np.argsort(-score, kind="stable")[:2]:
            w = {name: value[e].astype(np.float64) for name, value in system.weights.items()}
            outside[t] += score[e] * (w["down"] @ (np.maximum(w["gate"] @ row, 0) * (w["up"] @ row)))
    inside = system.check("random", {"x": x})["y"]
    assert np.abs(inside - outside).max() > 1e-2 * np.abs(inside).max()
