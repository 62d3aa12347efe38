"""AdaMoLE: p = softmax z, t = sigmoid(v x + b) / 4; e with p_e >= t, g = (p - t) / sum; y = W x + 2 sum of g B A x."""
import numpy as np

E = 4
SCALES = {"router": 1, "bound": 1}
# A softmax, a sigmoid and sums of 24 products; weights divide differences by their sum, a few times smaller than these.
DEPTH = 8 * (64 + 24)


def inputs(rng, tokens, integers):
    """Scores are whole numbers for rows of zeros only; nothing else is exact."""
    x = np.zeros((tokens, 24)) if integers else rng.standard_normal((tokens, 24)) / 2
    return {"x": x.astype(np.float32)}


def softmax(z):
    p = np.exp(z - z.max())
    return p / p.sum()


def chosen(p, bound):
    qualify = np.flatnonzero(p >= bound)
    above = p[qualify] - bound
    return qualify, above / (above.sum() or 1)


def oracle(weights, x):
    y = np.zeros_like(x)
    for t, row in enumerate(x):
        y[t] = weights["base"] @ row
        bound = 1 / (1 + np.exp(-(weights["bound"][0] @ row + weights["bound_bias"][0]))) / E
        for e, g in zip(*chosen(softmax(weights["router"] @ row), bound)):
            y[t] += g * 2 * (weights["b"][e] @ (weights["a"][e] @ row))
    return y


def run(system, logits, thresholds):
    thresholds = np.broadcast_to(np.array(thresholds, np.float32).reshape(-1, 1), (len(logits), 1))
    inputs = {"logits": np.array(logits, np.float32), "thresholds": np.ascontiguousarray(thresholds)}
    return system.run(inputs, "given")


def trap_the_comparison_includes_equality(system):
    """Probabilities of exactly a quarter reach a threshold of a quarter: all are chosen and add exactly 0, not NaN."""
    got = run(system, np.zeros((2, E)), [0.25, 0.25 + 2**-20])
    assert got["chosen.ids"].tolist() == [[0, 1, 2, 3], [-1] * 4]
    system.compare("weights", got["chosen.weights"], np.zeros((2, E), np.float32), exact=True)


def trap_a_threshold_of_0_is_the_dense_mixture(system):
    logits = np.random.default_rng(2).standard_normal((20, E))
    got = run(system, logits, 0)
    p = np.stack([softmax(row) for row in logits.astype(np.float32).astype(np.float64)])
    order = np.argsort(-p, axis=-1)
    system.compare("ids", got["chosen.ids"], order)
    system.compare("weights", got["chosen.weights"], np.take_along_axis(p, order, -1))


def trap_weights_are_shifted_by_the_threshold(system):
    """Not the probabilities divided by their sum: with p = .5, .3, .1, .1 and a threshold of .2 the weights are 3/4, 1/4."""
    got = run(system, [np.log([0.5, 0.3, 0.1, 0.1])], 0.2)
    assert got["chosen.ids"].tolist() == [[0, 1, -1, -1]]
    system.compare("weights", got["chosen.weights"], np.array([[0.75, 0.25, 0, 0]]))


def trap_one_threshold_for_each_token(system):
    logits = np.random.default_rng(3).standard_normal((20, E)).astype(np.float32)
    bounds = np.random.default_rng(4).random(20) / 4
    got = run(system, logits, bounds)
    for t in range(20):
        ids, g = chosen(softmax(logits[t].astype(np.float64)), np.float64(np.float32(bounds[t])))
        order = np.argsort(-g, kind="stable")
        system.compare(f"token {t}", got["chosen.ids"][t][: len(ids)], ids[order])
        system.compare(f"token {t}", got["chosen.weights"][t][: len(ids)], g[order])
        assert (got["chosen.ids"][t][len(ids) :] == -1).all()


def trap_nan_reaches_no_threshold(system):
    got = run(system, [[np.nan] * 4, [0, 0, 0, 0]], [0.1, np.nan])
    assert (got["chosen.ids"] == -1).all() and (got["chosen.weights"] == 0).all()


def trap_the_factor_of_the_low_rank_products_counts(system):
    inputs = system.inputs(13, integers=False)
    y = system.check("alpha / r is 2", inputs)["y"]
    weights = {name: value.astype(np.float64) for name, value in system.weights.items()}
    plain = oracle({**weights, "b": weights["b"] / 2}, inputs["x"].astype(np.float64))
    assert np.abs(plain - y).max() > 0.01 * np.abs(y).max()
