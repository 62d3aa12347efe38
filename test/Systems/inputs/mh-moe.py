"""MH-MoE: u = head x + b, three sub-tokens of u routed alone (top-2 of the softmax, renormalised), joined, merged."""
import numpy as np

HEADS = 3


def weights(rng, weights):
    weights["head"] *= rng.random((24, 24)) < 0.3
    weights["identity"][:], weights["no_bias"][:] = np.eye(24), 0


def oracle(weights, x):
    y = np.zeros_like(x)
    for t, row in enumerate(x):
        parts = (weights["head"] @ row + weights["head_bias"]).reshape(HEADS, 8)
        back = np.zeros_like(parts)
        for h, part in enumerate(parts):
            z = weights["router"] @ part
            p = (np.exp(z - z.max()) / np.exp(z - z.max()).sum()).astype(np.float32)
            chosen = np.argsort(-p, kind="stable")[:2]
            for e in chosen:
                out = weights["down"][e] @ np.maximum(weights["up"][e] @ part, 0)
                back[h] += p[e] / p[chosen].astype(np.float64).sum() * out
        y[t] = weights["merge"] @ back.reshape(24) + weights["merge_bias"]
    return y


def trap_one_head_without_projections_is_the_ordinary_layer(system):
    for integers in (True, False):
        x = system.inputs(13, integers)["x"]
        want = np.zeros((13, 24))
        for t, row in enumerate(x.astype(np.float64)):
            z = system.weights["router_whole"] @ row
            p = (np.exp(z - z.max()) / np.exp(z - z.max()).sum()).astype(np.float32)
            chosen = np.argsort(-p, kind="stable")[:2]
            for e in chosen:
                h = np.maximum(system.weights["up_whole"][e] @ row, 0)
                want[t] += p[e] / p[chosen].astype(np.float64).sum() * (system.weights["down_whole"][e] @ h)
        system.compare("one head", system.run({"x": x}, "one_head", exact=integers)["y"], want)


def trap_sub_tokens_are_routed_alone(system):
    """Sub-tokens of one token that differ go to different experts: the result differs from that of routing whole tokens."""
    x = system.inputs(40, integers=True)["x"]
    system.check("40 tokens", {"x": x}, exact=True)
    parts = (x @ system.weights["head"].T + system.weights["head_bias"]).reshape(40, HEADS, 8)
    first = (parts @ system.weights["router"].T).argmax(-1)
    assert (first != first[:, :1]).any(-1).sum() > 20
