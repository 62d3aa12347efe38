"""Dynamic-MoE: probabilities in descending order, every rank up to and including the first with cumsum > p."""
import numpy as np


def inputs(rng, tokens, integers):
    x = rng.integers(-1, 2, (tokens, 24)) if integers else rng.standard_normal((tokens, 24)) / 128
    return {"x": x.astype(np.float32), "p": np.array([0.55], np.float32)}


def softmax(z):
    p = np.exp(z - z.max())
    return p / p.sum()


def prefix(scores, p):
    total = 0
    for e in np.argsort(-scores, kind="stable"):
        yield e
        total += scores[e]
        if total > p:
            return


def oracle(weights, x, p):
    y = np.zeros_like(x)
    for t, row in enumerate(x):
        scores = softmax(weights["router"] @ row)
        for e in prefix(scores, p[0]):
            y[t] += scores[e] * np.maximum(weights["expert"][e] @ row, 0)
    return y


def chosen(system, scores, p):
    scores = np.atleast_2d(np.array(scores, np.float32))
    ids = system.run({"scores": scores, "p": np.full(len(scores), p, np.float32)}, "choice")["ids"]
    return [[e for e in row if e >= 0] for row in ids.tolist()]


SCORES = [0.125, 0.5, 0.0625, 0.25, 0.03125, 0.03125, 0, 0]  # sums of these are exact


def trap_the_crossing_expert_is_included(system):
    assert chosen(system, SCORES, 0.6) == [[1, 3]]


def trap_the_comparison_is_strict(system):
    assert chosen(system, SCORES, 0.5) == [[1, 3]]
    assert chosen(system, SCORES, np.nextafter(np.float32(0.5), np.float32(0))) == [[1]]
    assert chosen(system, SCORES, 0.75) == [[1, 3, 0]]


def trap_p_of_1_or_more_keeps_all(system):
    assert chosen(system, SCORES, 1) == chosen(system, SCORES, 2) == [[1, 3, 0, 2, 4, 5, 6, 7]]
    x = system.inputs(13, integers=False)["x"]
    system.compare("p = 2", system.run({"x": x, "p": np.array([2], np.float32)})["y"], system.run({"x": x}, "dense")["y"],
                   exact=True)


def trap_p_of_0_is_raw_top_1(system):
    assert chosen(system, SCORES, 0) == [[1]]
    assert chosen(system, SCORES, -1) == [[1]]
    x = system.inputs(13, integers=False)["x"]
    y = system.run({"x": x, "p": np.zeros(1, np.float32)})["y"]
    wide = x.astype(np.float64)
    scores = np.stack([softmax(system.weights["router"].astype(np.float64) @ row) for row in wide])
    best = scores.argmax(-1)
    want = np.stack([scores[t, e] * np.maximum(system.weights["expert"][e] @ wide[t], 0) for t, e in enumerate(best)])
    system.compare("p = 0", y, want)


def trap_one_p_for_each_token(system):
    scores = np.tile(np.array(SCORES, np.float32), (3, 1))
    ids = system.run({"scores": scores, "p": np.array([0, 0.6, 2], np.float32)}, "choice")["ids"]
    assert [(row >= 0).sum() for row in ids] == [1, 2, 8]


def trap_ties_take_the_lowest_index(system):
    assert chosen(system, [0.125] * 8, 0.25) == [[0, 1, 2]]


def trap_nan_is_below_every_number(system):
    assert chosen(system, [np.nan, 0.5, 0.25, np.nan, 0, 0, 0, 0], 0.6) == [[1, 2]]
    assert chosen(system, [np.nan] * 8, 0.6) == [list(range(8))]  # no sum of NaN passes


def trap_weights_are_raw(system):
    """They sum to what was passed, less than 1; divided by their sum they are another layer."""
    inputs = system.inputs(37, integers=False)
    y = system.check("raw", inputs)["y"]
    weights = {name: weight.astype(np.float64) for name, weight in system.weights.items()}
    totals = []
    for row in inputs["x"].astype(np.float64):
        scores = softmax(weights["router"] @ row)
        totals.append(sum(scores[e] for e in prefix(scores, inputs["p"][0])))
    renormalised = y / np.array(totals)[:, None]
    assert max(totals) < 1 and np.abs(renormalised - y).max() > 0.1 * np.abs(y).max()
