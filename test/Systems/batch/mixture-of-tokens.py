"""Mixture of Tokens: w[t, e] = softmax over the group's t of (router x_t)_e; y_t = sum of w[t, e] E_e(sum of w[u, e] x_u)."""
import numpy as np


def oracle(weights, x):
    y = np.zeros_like(x)
    for g, group in enumerate(x):
        z = group @ weights["router"].T
        w = np.exp(z - z.max(0)) / np.exp(z - z.max(0)).sum(0)
        for e in range(4):
            y[g] += np.outer(w[:, e], weights["down"][e] @ np.maximum(weights["up"][e] @ (w[:, e] @ group), 0))
    return y


def trap_group_of_one_has_weight_one_and_not_a_share(system):
    x = system.inputs(7, integers=True)["x"][:, :1]
    want = sum(np.maximum(x[:, 0] @ system.weights["up"][e].T, 0) @ system.weights["down"][e].T for e in range(4))
    system.compare("alone", system.run({"x": x}, "alone", exact=True)["y"][:, 0], want.astype(np.float32), exact=True)


def trap_equal_tokens_get_equal_results(system):
    x = np.repeat(system.inputs(5, integers=False)["x"][:, :1], 4, 1)
    y = system.check("equal tokens", {"x": x})["y"]
    system.compare("within a group", y, np.repeat(y[:, :1], 4, 1), exact=True)


def trap_tokens_of_a_group_see_each_other_and_groups_do_not(system):
    x = system.inputs(3, integers=False)["x"]
    y = system.run({"x": x})["y"]
    other = x.copy()
    other[1, 3] *= 2
    changed = system.run({"x": other})["y"]
    system.compare("other groups", changed[[0, 2]], y[[0, 2]], exact=True)
    assert (changed[1, :3] != y[1, :3]).any(-1).all()
