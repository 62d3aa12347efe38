"""Adaptive gating: p = softmax z; the best expert if p_1 - p_2 > gap, else the two best; weights divided by their sum."""
import numpy as np

E = 8


def inputs(rng, tokens, integers, gap=0.25):
    x = rng.integers(-1, 2, (tokens, 24)) if integers else rng.standard_normal((tokens, 24)) / 128
    return {"x": x.astype(np.float32), "gap": np.array([gap], np.float32)}


def shares(weights, row, gap):
    z = weights["router"] @ row
    p = (np.exp(z - z.max()) / np.exp(z - z.max()).sum()).astype(np.float32)
    best = np.argsort(-p, kind="stable")[:2]
    if p[best[0]] - p[best[1]] > gap:
        best = best[:1]
    return best, p[best] / p[best].astype(np.float64).sum()


def oracle(weights, x, gap):
    y = np.zeros_like(x)
    for t, row in enumerate(x):
        for e, g in zip(*shares(weights, row, np.float32(gap[0]))):
            y[t] += g * np.maximum(weights["expert"][e] @ row, 0)
    return y


def choose(system, scores, gap):
    scores = np.array(scores, np.float32).reshape(-1, E)
    gaps = np.broadcast_to(np.array(gap, np.float32), len(scores))
    return system.run({"scores": scores, "gap": np.ascontiguousarray(gaps)}, "choice")


def trap_both_kinds_of_tokens_are_met(system):
    weights = {name: weight.astype(np.float64) for name, weight in system.weights.items()}
    x = system.inputs(37, integers=False)["x"].astype(np.float64)
    assert {len(shares(weights, row, np.float32(0.25))[0]) for row in x} == {1, 2}


def trap_a_gap_of_1_is_top_2_and_below_0_is_top_1(system):
    scores = np.random.default_rng(2).random((50, E))
    order = np.argsort(-scores.astype(np.float32), kind="stable")[:, :2]
    system.compare("1", choose(system, scores, 1)["ids"], order)
    first = np.stack([order[:, 0], np.full(50, -1)], -1)
    got = choose(system, scores, -1)
    system.compare("-1", got["ids"], first)
    system.compare("an empty slot weighs 0", got["weights"][:, 1], np.zeros(50, np.float32), exact=True)


def trap_at_0_only_equal_scores_run_two_experts(system):
    got = choose(system, [[0.5, 0.5, 0, 0, 0, 0, 0, 0], [0.5, 0.5 - 2**-20, 0, 0, 0, 0, 0, 0]], 0)
    assert got["ids"].tolist() == [[0, 1], [0, -1]]


def trap_the_comparison_is_strict(system):
    """A lead of exactly the gap is no lead."""
    scores = [[0.75, 0.5, 0, 0, 0, 0, 0, 0]] * 2
    assert choose(system, scores, [0.25, 0.25 - 2**-20])["ids"].tolist() == [[0, 1], [0, -1]]


def trap_one_gap_for_each_token(system):
    scores = np.random.default_rng(3).random((50, E))
    gaps = np.random.default_rng(4).random(50).astype(np.float32) / 4
    whole = choose(system, scores, gaps)
    for t in range(50):
        alone = choose(system, scores[t], gaps[t])
        system.compare(f"token {t}", alone["ids"][0], whole["ids"][t])
    assert len(set((whole["ids"][:, 1] < 0).tolist())) == 2


def trap_ties_and_what_is_no_number(system):
    """Of equals the lowest index; a lead over NaN, or of infinity over infinity, is no lead."""
    nan, inf = np.nan, np.inf
    scores = [[0] * 8, [nan] * 8, [nan, 1, nan, nan, nan, nan, nan, nan], [0, inf, inf, 0, 0, 0, 0, 0], [0, 0, inf, 0, 0, 0, 0, 0]]
    assert choose(system, scores, 0.5)["ids"].tolist() == [[0, 1], [0, 1], [1, 0], [1, 2], [2, -1]]
