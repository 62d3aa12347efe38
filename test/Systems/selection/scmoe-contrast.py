"""SCMoE: z_s with the two best experts, z_w with the second best; (1 + b) z_s - b z_w where z_s >= log 0.1 + max z_s, else -inf."""
import numpy as np

E = 8
DEPTH = 3 * (24 + 24 + 24 + 64)  # router, expert and head, 1.5 times one run less half of the other
NAN_STAYS = False  # what is not at least some bound is minus infinity, NaN too


def inputs(rng, tokens, integers, beta=0.5):
    x = rng.integers(-1, 2, (tokens, 24)) if integers else rng.standard_normal((tokens, 24)) / 16
    return {"x": x.astype(np.float32), "beta": np.array([beta], np.float32)}


def run(weights, row, ranks):
    z = weights["router"] @ row
    p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
    chosen = np.argsort(-p.astype(np.float32), kind="stable")[ranks]
    total = p[chosen].astype(np.float32).astype(np.float64).sum()
    y = sum(p[e] / total * np.maximum(weights["expert"][e] @ row, 0) for e in chosen)
    return weights["head"] @ y


def contrast(weights, row, beta):
    strong, weak = run(weights, row, [0, 1]), run(weights, row, [1])
    return np.where(strong >= np.log(0.1) + strong.max(), (1 + beta) * strong - beta * weak, -np.inf)


def oracle(weights, x, beta):
    return np.stack([contrast(weights, row, beta[0]) for row in x]) if len(x) else np.zeros((0, 11))


def trap_without_contrast_it_is_the_strong_run(system):
    """b = 0 leaves the first run's logits where they are likely, and its best choice is always likely."""
    inputs = {**system.inputs(37, integers=False), "beta": np.zeros(1, np.float32)}
    y, strong = system.run(inputs)["logits"], system.run({"x": inputs["x"]}, "strong")["logits"]
    kept = np.isfinite(y)
    system.compare("kept", y[kept], strong[kept], exact=True)
    system.compare("best", np.argmax(y, -1), np.argmax(strong, -1))
    assert kept.sum() < y.size


def trap_the_first_two_ranks_are_top_2(system):
    x = system.inputs(37, integers=False)["x"]
    ranks, top = (system.run({"x": x}, name)["logits"] for name in ("first_ranks", "strong"))
    system.compare("every bit", ranks, top, exact=True)


def trap_logits_are_contrasted_and_not_probabilities(system):
    inputs = system.inputs(37, integers=False)
    y = system.check("logits", inputs)["logits"]
    weights = {name: value.astype(np.float64) for name, value in system.weights.items()}
    runs = [[run(weights, row, ranks) for row in inputs["x"].astype(np.float64)] for ranks in ([0, 1], [1])]
    strong, weak = (np.exp(z) / np.exp(z).sum(-1, keepdims=True) for z in map(np.stack, runs))
    assert (np.argmax(1.5 * strong - 0.5 * weak, -1) != np.argmax(y, -1)).any() or np.abs(1.5 * strong - y).max() > 0


def trap_ranks_are_by_score_and_ties_by_index(system):
    nan = np.nan
    scores = np.array([[5, 7, 6, 4, 3, 2, 1, 0], [0] * 8, [nan, 1, nan, 2, 3, nan, 4, 5], [nan] * 8], np.float32)
    got = system.run({"scores": scores}, "some_ranks")
    assert got["chosen.ids"].tolist() == [[2, 0, 7], [1, 2, 7], [6, 4, 5], [1, 2, 7]]
    system.compare("weights", got["chosen.weights"][:2], np.array([[6, 5, 0], [0, 0, 0]], np.float32), exact=True)
    random = np.random.default_rng(5).standard_normal((50, E)).astype(np.float32)
    order = np.argsort(-random, axis=-1, kind="stable")[:, [1, 2, 7]]
    system.compare("random", system.run({"scores": random}, "some_ranks")["chosen.ids"], order)
