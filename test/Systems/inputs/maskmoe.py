"""MaskMoE: p = softmax(router x + mask of the token's word); the expert of highest p, weighed by p."""
import numpy as np

WORDS, EXPERTS = 11, 6


def weights(rng, weights):
    masks = weights["masks"]
    masks[:] = -np.inf
    for word in range(WORDS):
        seen = EXPERTS if word == 0 else 1 if word < 5 else 3  # the first sees all, rare ones see one
        masks[word, rng.permutation(EXPERTS)[:seen]] = 0


def inputs(rng, tokens, integers):
    x = rng.integers(-1, 2, (tokens, 24)) if integers else rng.standard_normal((tokens, 24)) / 128
    return {"x": x.astype(np.float32), "words": rng.integers(0, WORDS, tokens).astype(np.int32)}


def oracle(weights, x, words):
    y = np.zeros_like(x)
    for t, row in enumerate(x):
        seen = np.flatnonzero(weights["masks"][words[t]] == 0)
        z = weights["router"][seen] @ row
        p = (np.exp(z - z.max()) / np.exp(z - z.max()).sum()).astype(np.float32)
        best = np.argmax(p)
        y[t] = p[best] * (weights["down"][seen[best]] @ np.maximum(weights["up"][seen[best]] @ row, 0))
    return y


def trap_all_visible_is_the_layer_without_masks(system):
    x = system.inputs(13, integers=False)["x"]
    masked = system.run({"x": x, "words": np.zeros(13, np.int32)})["y"]
    system.compare("all visible", masked, system.run({"x": x}, "unmasked")["y"], exact=True)


def trap_one_visible_expert_has_weight_one_and_no_nan(system):
    x = system.inputs(13, integers=True)["x"]
    words = np.full(13, 2, np.int32)
    y = system.check("one visible", {"x": x, "words": words}, exact=True)["y"]
    only = int(np.flatnonzero(system.weights["masks"][2] == 0)[0])
    want = np.maximum(x @ system.weights["up"][only].T, 0) @ system.weights["down"][only].T
    system.compare("the visible expert alone", y, want, exact=True)


def trap_masked_before_the_softmax_and_not_after(system):
    """Scores of a softmax over all experts, with masked ones set to zero afterwards, are smaller."""
    x = system.inputs(13, integers=False)["x"]
    words = np.full(13, 3, np.int32)
    only = int(np.flatnonzero(system.weights["masks"][3] == 0)[0])
    z = x.astype(np.float64) @ system.weights["router"].T
    late = (np.exp(z - z.max(-1, keepdims=True)) / np.exp(z - z.max(-1, keepdims=True)).sum(-1, keepdims=True))[:, only]
    y = system.check("one visible", {"x": x, "words": words})["y"]
    full = np.maximum(x @ system.weights["up"][only].T, 0) @ system.weights["down"][only].T
    assert np.abs(y - full * late[:, None]).max() > 0.1 * np.abs(y).max()
