"""dots.llm1: s = sigmoid z; the two groups of four with the best two s + b, the best three s + b where others count as 0;
g = s / (sum s + 1e-20) * 2.5; y = sum g E(x) + shared(x)."""
import numpy as np

E, GROUPS, KEEP, K, SCALE = 8, 4, 2, 3, 2.5


def inputs(rng, tokens, integers):
    x = rng.integers(-1, 2, (tokens, 24)) if integers else rng.standard_normal((tokens, 24)) / 128
    bias = rng.integers(-2, 3, E) / 4 if integers else rng.standard_normal(E) / 4
    return {"x": x.astype(np.float32), "bias": bias.astype(np.float32)}


def sigmoid(z):
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-z))


def choose(s, b, groups=GROUPS, keep=KEEP, k=K, judge=2, excluded=0.0):
    """Experts by biased score within the best groups."""
    biased = s + b
    size = len(s) // groups
    judged = [np.sort(biased[g * size : (g + 1) * size])[::-1][:judge].sum() for g in range(groups)]
    kept = np.argsort(-np.array(judged), kind="stable")[:keep]
    masked = [biased[e] if e // size in kept else excluded for e in range(len(s))]
    return np.argsort(-np.array(masked), kind="stable")[:k]


def oracle(weights, x, bias):
    y = np.zeros_like(x)
    for t, row in enumerate(x):
        s = sigmoid(weights["router"] @ row).astype(np.float32).astype(np.float64)
        chosen = choose(s.astype(np.float32), bias.astype(np.float32))
        y[t] = np.maximum(weights["shared"] @ row, 0)
        for e in chosen:
            y[t] += s[e] / (s[chosen].sum() + 1e-20) * SCALE * np.maximum(weights["expert"][e] @ row, 0)
    return y


def run(system, function, scores, bias):
    scores = np.atleast_2d(np.array(scores, np.float32))
    return system.run({"scores": scores, "bias": np.array(bias, np.float32)}, function)


def scores(seed):
    return np.random.default_rng(seed).random((50, E)).astype(np.float32)


def trap_bias_changes_the_choice_never_the_weight(system):
    s, bias = [0.9, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05, 0.01], [0, 0, 0, 0, 0, 0, 0, 5]
    plain, biased = run(system, "no_groups", s, np.zeros(E)), run(system, "no_groups", s, bias)
    assert plain["ids"].tolist() == [[0, 1, 2]] and biased["ids"].tolist() == [[7, 0, 1]]
    for got in (plain, biased):
        own = np.array(s)[got["ids"][0]]
        system.compare("weights", got["weights"][0], SCALE * own / own.sum())


def trap_excluded_as_0_or_as_negative_infinity(system):
    """The catalogue's numbers: biased scores are negative, so 0 wins over what is kept."""
    s, b = [0.9, 0.8, 0.1, 0.2], [-1, -1, -0.05, -0.3]
    zero, lowest = run(system, "excluded_0", s, b), run(system, "excluded_lowest", s, b)
    assert sorted(zero["ids"][0].tolist()) == [0, 2] and sorted(lowest["ids"][0].tolist()) == [2, 3]
    for got in (zero, lowest):
        system.compare("weights", got["weights"][0], np.array(s)[got["ids"][0]])


def trap_groups_judged_by_their_two_best_are_not_by_their_best(system):
    s = [0.9, 0.0, 0.6, 0.5, 0.55, 0.54, 0.1, 0.1]
    best, two = run(system, "judged_by_max", s, np.zeros(E)), run(system, "judged_by_two", s, np.zeros(E))
    assert best["ids"].tolist() == [[0, 2, 3]] and two["ids"].tolist() == [[2, 4, 5]]
    for seed in range(3):
        rows = scores(seed)
        for function, judge in (("judged_by_max", 1), ("judged_by_two", 2)):
            got = run(system, function, rows, np.zeros(E))
            want = [choose(row, np.zeros(E, np.float32), judge=judge, excluded=-np.inf).tolist() for row in rows]
            assert got["ids"].tolist() == want, function


def trap_all_groups_kept_is_no_groups(system):
    rows, bias = scores(9), np.linspace(-1, 1, E)
    all_of_them, none = run(system, "all_groups", rows, bias), run(system, "no_groups", rows, bias)
    for name in none:
        system.compare(name, all_of_them[name], none[name], exact=True)


def trap_the_same_added_to_every_bias_changes_nothing_in_one_group(system):
    inputs = system.inputs(37, integers=True)
    y = system.run(inputs, "one_group")["y"]
    more = system.run({**inputs, "bias": inputs["bias"] + np.float32(0.5)}, "one_group")["y"]  # exact in float32
    system.compare("shifted", more, y, exact=True)


def trap_the_scale_is_always_applied(system):
    """Also to weights that are divided by their sum: they sum to 2.5."""
    got = run(system, "no_groups", scores(4), np.zeros(E))
    system.compare("sum", got["weights"].sum(-1), np.full(50, SCALE))


def trap_a_sum_of_0_gives_0_not_nan(system):
    got = run(system, "no_groups", np.zeros((1, E)), np.zeros(E))
    system.compare("weights", got["weights"], np.zeros((1, K), np.float32), exact=True)
    tiny = np.full((1, E), 1e-20)
    system.compare("sum of 3e-20 and 1e-20", run(system, "no_groups", tiny, np.zeros(E))["weights"], np.full((1, K), SCALE / 4))


def trap_ties_and_nan_among_groups(system):
    got = run(system, "judged_by_two", np.full((1, E), 0.5), np.zeros(E))
    assert got["ids"].tolist() == [[0, 1, 2]]
    s = [np.nan, 0.9, 0.3, 0.3, 0.2, 0.2, 0.1, 0.1]  # the first group's sum is NaN, which is below every number
    assert run(system, "judged_by_two", s, np.zeros(E))["ids"].tolist() == [[2, 3, 4]]
    assert run(system, "judged_by_max", s, np.zeros(E))["ids"].tolist() == [[1, 2, 3]]
