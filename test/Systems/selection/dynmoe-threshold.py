"""DynMoE: s_e = sigmoid(c cos(x, w_e)); the mean of E_e(x) over s_e > sigmoid(c G_e), or the best one alone."""
import numpy as np

E = 8
GATES = np.array([0.13, -0.21, 0.34, 0.05, 0.47, -0.08, 0.29, 0.55], np.float32)
# Cosine, scale and sigmoid before a comparison, then a mean of at most 8 sums of 24 products.
DEPTH = 64 + 24 + 24 + 8


def inputs(rng, tokens, integers):
    x = rng.integers(-1, 2, (tokens, 24)) if integers else rng.standard_normal((tokens, 24)) / 128
    return {"x": x.astype(np.float32), "gates": GATES, "scale": np.array([1.5], np.float32)}


def weights(rng, weights):
    weights["router"] = rng.standard_normal((E, 24)).astype(np.float32)


def unit(vector):
    return vector / max(np.sqrt((vector**2).sum()), 1e-12)


def oracle(weights, x, gates, scale, fallback=True):
    y = np.zeros_like(x)
    c = np.exp(min(scale[0], np.log(100)))
    sigmoid = lambda z: 1 / (1 + np.exp(-z))  # noqa: E731
    for t, row in enumerate(x):
        s = np.array([sigmoid(c * (unit(row) @ unit(key))) for key in weights["router"]])
        s = s.astype(np.float32)  # zeros are ties, which the lowest index wins
        chosen = [e for e in range(len(s)) if s[e] > np.float32(sigmoid(c * gates[e]))]
        if not chosen and fallback:
            chosen = [int(np.argmax(s))]
        for e in chosen:
            y[t] += np.maximum(weights["expert"][e] @ row, 0) / len(chosen)
    return y


def choose(system, scores, thresholds):
    got = system.run({"scores": np.atleast_2d(np.array(scores, np.float32)),
                      "thresholds": np.atleast_2d(np.array(thresholds, np.float32))}, "choice")
    return [[e for e in row if e >= 0] for row in got["ids"].tolist()], got["weights"]


def trap_thresholds_of_minus_infinity_are_the_mean_of_all(system):
    inputs = {**system.inputs(13, integers=False), "gates": np.full(E, -np.inf, np.float32)}
    y = system.check("all pass", inputs)["y"]
    wide = inputs["x"].astype(np.float64)
    each = np.maximum(np.einsum("enk,tk->etn", system.weights["expert"].astype(np.float64), wide), 0)
    system.compare("mean", y, each.mean(0))


def trap_nothing_selected_takes_the_best_with_weight_1(system):
    ids, weights = choose(system, [[0.1, 0.3, 0.2, 0.3, 0, 0, 0, 0]], [np.inf] * E)
    assert ids == [[1]]
    system.compare("weights", weights, np.eye(1, E, dtype=np.float32), exact=True)
    system.check("none passes", {**system.inputs(13, integers=False), "gates": np.full(E, np.inf, np.float32)})


def trap_nothing_selected_in_training_gives_exact_0(system):
    inputs = {**system.inputs(13, integers=False), "gates": np.full(E, np.inf, np.float32)}
    system.compare("training", system.run(inputs, "training")["y"], inputs["x"] * 0, exact=True)
    wide = {name: weight.astype(np.float64) for name, weight in system.weights.items()}
    mixed = system.inputs(37, integers=False)
    mixed["gates"] = mixed["gates"] + np.float32(0.2)
    want = oracle(wide, *(value.astype(np.float64) for value in mixed.values()), fallback=False)
    system.compare("some get nothing", system.run(mixed, "training")["y"], want)


def trap_the_comparison_is_strict(system):
    ids, weights = choose(system, [[0.5, 0.75, 0.25, 0.5, 0, 0, 0, 0]], [0.5] * E)
    assert ids == [[1]]
    ids, weights = choose(system, [[0.5, 0.75, 0.25, 0.5, 0, 0, 0, 0]], [0.25] * E)
    assert ids == [[1, 0, 3]]
    system.compare("uniform", weights[0, :3], [1 / 3] * 3)


def trap_masking_an_expert_is_deleting_it(system):
    inputs = system.inputs(37, integers=False)
    mask = np.where(np.arange(E) == 5, -np.inf, 0).astype(np.float32)
    y = system.run({**inputs, "mask": mask}, "masked")["y"]
    keep = np.delete(np.arange(E), 5)
    left = {name: weight[keep].astype(np.float64) for name, weight in system.weights.items()}
    want = oracle(left, inputs["x"].astype(np.float64), np.delete(inputs["gates"], 5).astype(np.float64), inputs["scale"])
    system.compare("without expert 5", y, want)


def trap_nan_passes_no_threshold(system):
    ids, _ = choose(system, [[np.nan] * E, [np.nan, 0.1, 0.9, 0, 0, 0, 0, 0]], [0.5] * E)
    assert ids == [[0], [2]]


def trap_scale_is_clamped(system):
    inputs = system.inputs(13, integers=False)
    high, higher = ({**inputs, "scale": np.array([s], np.float32)} for s in (4.6051702, 50))
    system.compare("clamped", system.run(high)["y"], system.run(higher)["y"], exact=True)
