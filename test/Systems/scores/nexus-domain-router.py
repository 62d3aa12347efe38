"""Nexus: r_i = P(d_i) with P two layers, p = softmax of x.r_i, y = shared(x) + sum over the best two of p_i f_i(x)."""
import numpy as np

E = 8
SCALES = {"router_up": 1, "router_down": 128}


def inputs(rng, tokens, integers):
    x = rng.integers(-1, 2, (tokens, 24)) if integers else rng.standard_normal((tokens, 24)) / 512
    return {"x": x.astype(np.float32), "domains": rng.integers(-2, 3, (E, 4)).astype(np.float32)}


def softmax(z):
    with np.errstate(invalid="ignore"):
        p = np.exp(z - z.max())
    return p / p.sum()


def layer(weights, x, router):
    y = np.zeros_like(x)
    for t, row in enumerate(x):
        p = softmax(router @ row)
        y[t] = np.maximum(weights["shared"] @ row, 0)
        for e in np.argsort(-p.astype(np.float32), kind="stable")[:2]:
            y[t] += p[e] * np.maximum(weights["expert"][e] @ row, 0)
    return y


def rows(weights, domains):
    return np.maximum(domains @ weights["router_up"].T, 0) @ weights["router_down"].T


def oracle(weights, x, domains):
    return layer(weights, x, rows(weights, domains))


def trap_folded_router_equals_the_computed_one(system):
    inputs = system.inputs(37, integers=False)
    router = rows(system.weights, inputs["domains"])  # whole numbers: exact
    folded = system.run({"x": inputs["x"], "router": router}, "folded")["y"]
    system.compare("folded", folded, system.run(inputs)["y"], exact=True)


def trap_a_row_that_scores_minus_infinity_changes_nothing(system):
    inputs = system.inputs(37, integers=False)
    router = rows(system.weights, inputs["domains"])
    mask = np.where(np.arange(E) >= 6, -np.inf, 0).astype(np.float32)
    some = system.run({"x": inputs["x"], "router": router, "mask": mask}, "extensible")["y"]
    wide = {name: weight.astype(np.float64) for name, weight in system.weights.items()}
    want = layer({**wide, "expert": wide["expert"][:6]}, inputs["x"].astype(np.float64), router[:6].astype(np.float64))
    system.compare("six experts", some, want)
    router[6:] = 1e30  # whatever stands there
    other = system.run({"x": inputs["x"], "router": router, "mask": mask}, "extensible")["y"]
    system.compare("other rows to come", other, some, exact=True)


def trap_one_expert_left_weighs_exactly_1(system):
    inputs = system.inputs(13, integers=False)
    mask = np.full(E, -np.inf, np.float32)
    mask[3] = 0
    got = system.run({"x": inputs["x"], "router": rows(system.weights, inputs["domains"]), "mask": mask}, "extensible")["y"]
    wide = {name: weight.astype(np.float64) for name, weight in system.weights.items()}
    x = inputs["x"].astype(np.float64)
    want = np.maximum(x @ wide["expert"][3].T, 0) + np.maximum(x @ wide["shared"].T, 0)
    system.compare("expert 3 alone", got, want)
