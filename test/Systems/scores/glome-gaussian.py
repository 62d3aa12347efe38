"""GLoME: pi_k N(x; c_k, S_k) / sum of these weighs A_k x + b_k; S_k^-1 = L_k' L_k."""
import numpy as np

E, D = 5, 6
# L (x - c), its squares, a softmax, then the sum over five experts of six products each.
DEPTH = 6 + 6 + 64 + 5 * 6


# Rows near a centre have a logit near 0; those of other centres are 0 or at least 8192 below.
CENTERS = np.random.default_rng(8).integers(-1, 2, (E, D))


def weights(rng, weights):
    weights["router_offset"][:] = 0
    weights["router_center"][:] = CENTERS


def inputs(rng, tokens, integers):
    x = CENTERS[rng.integers(0, E, tokens)] + (0 if integers else rng.standard_normal((tokens, D)) / 256)
    return {"x": x.astype(np.float32)}


def oracle(weights, x):
    y = np.zeros_like(x)
    for t, row in enumerate(x):
        inverse = np.einsum("kij,kil->kjl", weights["router_factor"], weights["router_factor"])
        apart = row - weights["router_center"]
        z = weights["router_offset"] - np.einsum("kj,kjl,kl->k", apart, inverse, apart) / 2
        p = np.exp(z - z.max())
        y[t] = (p / p.sum()) @ (weights["expert"] @ row + weights["shift"])
    return y


def trap_equal_covariances_are_a_linear_softmax_router(system):
    rng = np.random.default_rng(8)
    factor, centers = rng.standard_normal((D, D)) / 2, rng.standard_normal((E, D))
    log_pi = np.log(rng.random(E))
    inverse = factor.T @ factor
    weight, bias = centers @ inverse, log_pi - np.einsum("ki,ij,kj->k", centers, inverse, centers) / 2
    x = rng.standard_normal((20, D))
    got = system.run({"x": x.astype(np.float32), "weight": weight.astype(np.float32), "bias": bias.astype(np.float32)}, "linear")
    apart = x[:, None] - centers
    z = log_pi - np.einsum("tki,ij,tkj->tk", apart, inverse, apart) / 2
    p = np.exp(z - z.max(-1, keepdims=True))
    assert got["ids"].tolist() == [list(range(E))] * 20
    # The inputs are float32, so logits of magnitude 30 differ by their rounding, and shares by as much.
    assert np.abs(got["weights"] - p / p.sum(-1, keepdims=True)).max() < 64 * 2.0**-24 * np.abs(z).max()


def trap_every_expert_runs_and_shares_sum_to_1(system):
    """At a point as far from all centres, the result is the plain mean of the experts."""
    x = np.random.default_rng(9).standard_normal((7, D)).astype(np.float32)
    nothing = {"weight": np.zeros((E, D), np.float32), "bias": np.zeros(E, np.float32)}
    got = system.run({"x": x, **nothing}, "linear")
    system.compare("shares", got["weights"], np.full((7, E), 0.2))
