"""CoE: x0 = norm(h); x1 = x0 + experts by router 0 of x0; x2 = x1 + experts by router 1 of x1; x2 + h."""
import numpy as np

SCALES = {"router0": 512, "router1": 512}
DEPTH = 2 * (24 + 24 + 20 + 2) + 24 + 64  # two iterations, one after the other


def weights(rng, weights):
    # Narrow enough that the second iteration's products of integers stay below 2^24.
    for name in ("up", "down"):
        weights[name] *= rng.random(weights[name].shape) < 0.3


def inputs(rng, tokens, integers):
    x = rng.standard_normal((tokens, 24)) / 64
    if integers:
        x = np.where(np.argsort(rng.random((tokens, 24))) < 6, rng.integers(0, 2, (tokens, 24)) * 2 - 1, 0)
    return {"x": x.astype(np.float32)}


def iteration(weights, row, router, scale=None):
    z = router @ row
    p = (np.exp(z - z.max()) / np.exp(z - z.max()).sum()).astype(np.float32)
    chosen = np.argsort(-p, kind="stable")[:2]
    share = p[chosen] * scale if scale else p[chosen] / p[chosen].astype(np.float64).sum()
    return sum(w * (weights["down"][e] @ np.maximum(weights["up"][e] @ row, 0)) for w, e in zip(share, chosen))


def oracle(weights, x, iterations=2, inner=True, scale=None):
    y = np.zeros_like(x)
    for t, row in enumerate(x):
        state = row / np.sqrt((row**2).mean() + 0.75)
        for number in range(iterations):
            state = inner * state + iteration(weights, state, weights[f"router{number}"], scale)
        y[t] = state + row
    return y


def double(system, inputs):
    return {n: w.astype(np.float64) for n, w in system.weights.items()}, inputs["x"].astype(np.float64)


def trap_one_iteration_is_the_plain_layer(system):
    inputs = system.inputs(13, integers=False)
    system.compare("once", system.run(inputs, "once")["y"], oracle(*double(system, inputs), iterations=1))


def trap_scaled_only_where_not_divided_by_the_sum(system):
    inputs = system.inputs(13, integers=False)
    scaled = system.run(inputs, "scaled")["y"]
    system.compare("scaled", scaled, oracle(*double(system, inputs), iterations=1, scale=2.5))
    assert np.abs(scaled - system.run(inputs, "once")["y"]).max() > 0.1 * np.abs(scaled).max()


def trap_inner_residual_matters(system):
    inputs = system.inputs(13, integers=True)
    y = system.check("both residuals", inputs, exact=True)["y"]
    outer = system.run(inputs, "outer_only", exact=True)["y"]
    system.compare("outer only", outer, oracle(*double(system, inputs), inner=False))
    assert np.abs(outer - y).max() > 0.1 * np.abs(y).max()


def trap_normalised_once_before_the_chain(system):
    inputs = system.inputs(13, integers=False)
    y = system.check("random", inputs)["y"]
    weights, x = double(system, inputs)
    often = np.zeros_like(x)
    for t, row in enumerate(x):
        state = row
        for number in range(2):
            normal = state / np.sqrt((state**2).mean() + 0.75)
            state = normal + iteration(weights, normal, weights[f"router{number}"])
        often[t] = state + row
    assert np.abs(often - y).max() > 1e-3 * np.abs(y).max()
