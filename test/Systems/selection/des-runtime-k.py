"""DES: top-k with k given per token, weights divided by their sum."""
import numpy as np

E, BUILT_IN = 8, 3


def inputs(rng, tokens, integers):
    x = rng.integers(-1, 2, (tokens, 24)) if integers else rng.standard_normal((tokens, 24)) / 128
    return {"x": x.astype(np.float32), "k": rng.integers(1, E + 1, tokens).astype(np.int32)}


def softmax(z):
    p = np.exp(z - z.max())
    return p / p.sum()


def oracle(weights, x, k, normalise=True):
    y = np.zeros_like(x)
    for t, row in enumerate(x):
        # Scores are of this type: of those that are 0 in it, the lowest index comes first.
        p = softmax(weights["router"] @ row).astype(np.float32).astype(np.float64)
        chosen = np.argsort(-p, kind="stable")[: k[t]]
        for e in chosen:
            y[t] += p[e] / (p[chosen].sum() if normalise else 1) * np.maximum(weights["expert"][e] @ row, 0)
    return y


def trap_built_in_k_is_neutral_in_every_bit(system):
    x = system.inputs(37, integers=False)["x"]
    given = system.run({"x": x, "k": np.full(37, BUILT_IN, np.int32)})["y"]
    system.compare("k as built in", given, system.run({"x": x}, "built_in")["y"], exact=True)


def trap_at_another_k_the_renormalise_flag_decides(system):
    inputs = system.inputs(37, integers=False)
    wide = {name: weight.astype(np.float64) for name, weight in system.weights.items()}
    raw = oracle(wide, inputs["x"].astype(np.float64), inputs["k"], normalise=False)
    system.compare("raw", system.run(inputs, "raw")["y"], raw)
    assert np.abs(raw - oracle(wide, inputs["x"].astype(np.float64), inputs["k"])).max() > 0.01 * np.abs(raw).max()


def trap_k_of_all_experts_is_dense_and_more_counts_as_all(system):
    x = system.inputs(13, integers=False)["x"]
    all_of_them = system.check("k = 8", {"x": x, "k": np.full(13, E, np.int32)})["y"]
    more = system.run({"x": x, "k": np.full(13, 2**31 - 1, np.int32)})["y"]
    system.compare("k = 2^31 - 1", more, all_of_them, exact=True)


def trap_k_of_0_or_less_gives_nothing(system):
    x = system.inputs(5, integers=False)["x"]
    system.compare("k <= 0", system.run({"x": x, "k": np.array([0, -1, -(2**31), 0, 0], np.int32)})["y"], x * 0, exact=True)


def trap_different_k_in_one_batch_equal_separate_runs(system):
    inputs = system.inputs(37, integers=False)
    whole = system.run(inputs)["y"]
    for k in range(1, E + 1):
        mine = inputs["k"] == k
        alone = system.run({name: value[mine] for name, value in inputs.items()})["y"]
        system.compare(f"k = {k}", alone, whole[mine], exact=True)
