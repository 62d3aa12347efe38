"""AdaMoE: one softmax over true and null experts, top-k over all, weights renormalised over the selected true ones."""
import numpy as np

TRUE, K = 5, 3


def oracle(weights, x):
    y = np.zeros_like(x)
    for t, row in enumerate(x):
        z = weights["router"] @ row
        p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
        p = p.astype(np.float32)  # scores are of this type: one may be exactly 0
        chosen = [e for e in np.argsort(-p, kind="stable")[:K] if e < TRUE]
        total = sum(p[e] for e in chosen)
        for e in chosen:
            y[t] += p[e] / (total or 1) * (weights["down"][e] @ np.maximum(weights["up"][e] @ row, 0))
    return y


def rows_for(weights, experts):
    """One row whose logits are highest at `experts`: found among random ones."""
    rng = np.random.default_rng(1)
    for _ in range(100000):
        row = rng.integers(-1, 2, 24).astype(np.float32)
        order = np.argsort(-(weights["router"] @ row), kind="stable")
        if set(order[:K]) <= set(experts):
            return row
    raise AssertionError("no such row")


def trap_only_null_experts_give_exact_zero(system):
    row = rows_for(system.weights, range(TRUE, 8))
    x = system.inputs(5, integers=True)["x"]
    x[3] = row
    y = system.check("one token of null experts only", {"x": x}, exact=True)["y"]
    system.compare("the token of null experts", y[3], np.zeros(24, np.float32), exact=True)


def trap_renormalised_over_true_experts_only(system):
    """One true expert beside two null ones weighs 1, whatever its score."""
    rng = np.random.default_rng(2)
    x = (rng.standard_normal((200, 24)) / 128).astype(np.float32)
    order = np.argsort(-(x @ system.weights["router"].T), axis=-1, kind="stable")[:, :K]
    lone = x[(order < TRUE).sum(-1) == 1]
    assert len(lone) > 3
    experts = [next(e for e in row if e < TRUE) for row in order[(order < TRUE).sum(-1) == 1]]
    up, down = system.weights["up"].astype(np.float64), system.weights["down"].astype(np.float64)
    want = np.stack([down[e] @ np.maximum(up[e] @ row, 0) for e, row in zip(experts, lone)])
    system.compare("a lone true expert", system.run({"x": lone})["y"], want)


def trap_without_null_experts_it_is_renormalised_top_k(system):
    """Null experts of logit -inf are as good as none."""
    x = system.inputs(13, integers=False)["x"]
    logits = (x @ system.weights["router"].T).astype(np.float32)
    logits[:, TRUE:] = -np.inf
    want = np.zeros((13, 24))
    for t, row in enumerate(x.astype(np.float64)):
        z = logits[t, :TRUE].astype(np.float64)
        chosen = np.argsort(-z, kind="stable")[:K]
        g = np.exp(z[chosen] - z.max()) / np.exp(z[chosen] - z.max()).sum()
        for e, share in zip(chosen, g):
            want[t] += share * (system.weights["down"][e] @ np.maximum(system.weights["up"][e] @ row, 0))
    system.compare("no null experts", system.run({"x": x, "logits": logits}, "given")["y"], want)


def trap_scores_of_true_experts_that_are_0_give_0_not_nan(system):
    """The third choice is a true expert whose score is 0: the sum that its weight is divided by is 0."""
    logits = np.full((3, 8), -300, np.float32)
    logits[:, [TRUE, TRUE + 1]] = 0
    x = system.inputs(3, integers=True)["x"]
    system.compare("scores of 0", system.run({"x": x, "logits": logits}, "given")["y"], x * 0, exact=True)
