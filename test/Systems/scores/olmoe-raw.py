"""OLMoE: p = softmax z over 16 experts, the best 8, y = sum of p_e E_e(x)."""
import numpy as np

E, K = 16, 8


def softmax(z):
    p = np.exp(z - z.max())
    return p / p.sum()


def oracle(weights, x):
    y = np.zeros_like(x)
    for t, row in enumerate(x):
        p = softmax(weights["router"] @ row)
        for e in np.argsort(-p.astype(np.float32), kind="stable")[:K]:
            y[t] += p[e] * np.maximum(weights["expert"][e] @ row, 0)
    return y


def logits(seed, tokens=50):
    return np.random.default_rng(seed).standard_normal((tokens, E)).astype(np.float32)


def choose(system, z, function):
    return system.run({"logits": z}, function)


def trap_raw_weights_sum_to_less_than_1(system):
    z = logits(1)
    got = choose(system, z, "raw")
    p = np.stack([softmax(row) for row in z.astype(np.float64)])
    system.compare("raw", got["weights"], -np.sort(-p, axis=-1)[:, :K])
    assert (got["weights"].sum(-1) < 0.99).all()


def trap_softmax_then_sum_to_one_equals_softmax_of_the_chosen(system):
    """The same layer in two orders; with raw weights another."""
    z = logits(2)
    divided, after, raw = (choose(system, z, function) for function in ("sum", "after", "raw"))
    assert (divided["ids"] == after["ids"]).all() and (divided["ids"] == raw["ids"]).all()
    system.compare("both orders", divided["weights"], after["weights"])
    assert np.abs(divided["weights"] - raw["weights"]).max() > 0.01


def trap_the_flag_is_data(system):
    x = system.inputs(13, integers=False)["x"]
    raw, divided = system.run({"x": x})["y"], system.run({"x": x}, "renormalised")["y"]
    p = np.stack([softmax(system.weights["router"].astype(np.float64) @ row) for row in x.astype(np.float64)])
    share = -np.sort(-p, axis=-1)[:, :K].sum(-1)
    system.compare("raw / share", divided, raw / share[:, None])


def trap_one_expert_keeps_its_probability_and_all_are_dense(system):
    z = logits(3)
    p = np.stack([softmax(row) for row in z.astype(np.float64)])
    system.compare("k = 1", choose(system, z, "one")["weights"][:, 0], p.max(-1))
    dense = choose(system, z, "dense")
    assert (np.sort(dense["ids"], -1) == np.arange(E)).all()
    system.compare("k = E", dense["weights"], np.take_along_axis(p, dense["ids"].astype(np.int64), -1))


def trap_ties_nan_and_infinities(system):
    z = np.zeros((4, E), np.float32)
    z[1, [3, 9]] = np.inf
    z[2, 5] = np.nan
    z[3] = -np.inf
    z[3, 7] = 0
    got = system.run({"logits": z}, "raw", exact=True)
    assert got["ids"][0].tolist() == list(range(8))
    assert got["ids"][2].tolist() == list(range(8)) and np.isnan(got["weights"][2]).all()  # every share is NaN
    assert np.isnan(got["weights"][1]).all()
    assert got["ids"][3].tolist() == [7, 0, 1, 2, 3, 4, 5, 6] and got["weights"][3].tolist() == [1] + [0] * 7
