"""C3PO: marked tokens take the normalised kernel mean of stored routing vectors for their softmax; top-2, weights kept."""
import numpy as np


def inputs(rng, tokens, integers):
    x = rng.integers(-1, 2, (tokens, 24)) if integers else rng.standard_normal((tokens, 24)) / 128
    marked = np.zeros(tokens, np.int32)
    marked[-1:] = 1  # the last token alone, as published
    stored = rng.permutation(8 * 3).reshape(3, 8) + 1.0
    kernel = np.array([1, 2, 1]) if integers else rng.random(3)
    return {"x": x.astype(np.float32), "marked": marked, "stored": stored.astype(np.float32),
            "kernel": kernel.astype(np.float32)}


def oracle(weights, x, marked, stored, kernel):
    mix = kernel @ stored / (kernel @ stored).sum()
    y, vectors = np.zeros_like(x), np.zeros((len(x), 8))
    for t, row in enumerate(x):
        z = weights["router"] @ row
        p = mix if marked[t] else np.exp(z - z.max()) / np.exp(z - z.max()).sum()
        vectors[t] = p = p.astype(np.float32)
        for e in np.argsort(-p, kind="stable")[:2]:
            y[t] += p[e] * (weights["down"][e] @ np.maximum(weights["up"][e] @ row, 0))
    return {"y": y, "vectors": vectors}


def trap_own_vector_as_override_is_neutral(system):
    """Bit for bit where the vector's sum is 1 as it stands, which on integers it is; else the division rounds."""
    inputs = system.inputs(9, integers=True)
    inputs["marked"][:] = 0
    plain = system.run(inputs)
    inputs["marked"][8] = 1
    inputs["stored"][1] = plain["vectors"][8]
    inputs["kernel"][:] = (0, 1, 0)
    own = system.run(inputs)
    assert plain["vectors"][8].sum() == 1
    system.compare("its own vector", own["y"], plain["y"], exact=True)


def trap_other_tokens_are_not_touched(system):
    inputs = system.inputs(9, integers=False)
    before = system.check("the last is marked", inputs)["y"]
    inputs["stored"][:] = inputs["stored"][::-1]
    after = system.check("another override", inputs)["y"]
    system.compare("the other tokens", after[:8], before[:8], exact=True)
    assert not np.array_equal(after[8], before[8])
