"""Read-ME: two layers x + (expert of the given id + residual subset) / 16, experts being neurons of one dense relu block."""
import numpy as np

# Neurons of each expert, in order, and those that every token uses.
SUBSETS = (range(0, 16), range(8, 24), [*range(16, 24), *range(0, 8)])
RESIDUAL = range(32, 40)
DEPTH = 2 * (24 + 16 + 3) + 64


def inputs(rng, tokens, integers):
    x = rng.integers(-1, 2, (tokens, 24)) if integers else rng.standard_normal((tokens, 24))
    return {"x": x.astype(np.float32), "ids": rng.integers(0, 3, (tokens, 1)).astype(np.int32)}


def neurons(weights, row, which):
    which = list(which)
    return weights["down"][:, which] @ np.maximum(weights["up"][which] @ row, 0)


def layer(weights, row, expert):
    return row + (neurons(weights, row, SUBSETS[expert]) + neurons(weights, row, RESIDUAL)) / 16


def oracle(weights, x, ids):
    return np.stack([layer(weights, layer(weights, row, e), e) for row, (e,) in zip(x, ids)] or [np.zeros(24)])[: len(x)]


def trap_ids_made_ahead_equal_routing_inside(system):
    x = system.inputs(13, integers=True)["x"]
    ids = system.run({"x": x}, "route")["ids"]
    z = x @ system.weights["router"].T
    system.compare("ids", ids[:, 0], z.argmax(-1).astype(np.int32), exact=True)
    ahead = system.check("ids ahead", {"x": x, "ids": ids}, exact=True)["y"]
    system.compare("inside", system.run({"x": x}, "inline", exact=True)["y"], ahead, exact=True)


def trap_slices_sum_to_the_dense_block_with_weight_one(system):
    """Experts 0 and 2 overlap in neurons 0 to 7; together with what they lack they are the dense block."""
    x = system.inputs(9, integers=True)["x"]
    weights = {name: value.astype(np.float64) for name, value in system.weights.items()}
    dense = system.run({"x": x}, "dense", exact=True)["y"]
    parts = np.zeros((9, 24))
    for expert in (0, 2):
        ids = np.full((9, 1), expert, np.int32)
        parts += (system.run({"x": x, "ids": ids}, "one_layer", exact=True)["y"] - x).astype(np.float64) * 16
    for t, row in enumerate(x.astype(np.float64)):
        parts[t] -= neurons(weights, row, range(0, 8)) + neurons(weights, row, RESIDUAL)
        parts[t] += neurons(weights, row, range(24, 32))
    system.compare("sum of slices", dense, parts.astype(np.float32), exact=True)


def trap_residual_apart_equals_residual_inside_the_expert(system):
    x = system.inputs(9, integers=True)["x"]
    ids = np.full((9, 1), 1, np.int32)
    weights = {name: value.astype(np.float64) for name, value in system.weights.items()}
    fused = np.stack([row + neurons(weights, row, [*SUBSETS[1], *RESIDUAL]) / 16 for row in x.astype(np.float64)])
    system.compare("fused", system.run({"x": x, "ids": ids}, "one_layer", exact=True)["y"], fused)
