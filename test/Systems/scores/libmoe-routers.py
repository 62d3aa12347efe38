"""LibMoE, perturbed cosine: z = x.w / ((|x| + 0.1)(|w| + 0.1)) / 0.3; softmax, the best two, softmax of their probabilities."""
import numpy as np

E, TAU, THETA = 8, 0.3, 0.1
SCALES = {"router": 1}
# Dot product, norms and two softmaxes, then a sum of 24 products.
DEPTH = 3 * 24 + 2 * 64


def inputs(rng, tokens, integers):
    """Similarities are whole numbers, and so the same in any order of summation, for a row of zeros only."""
    x = np.zeros((tokens, 24)) if integers else rng.standard_normal((tokens, 24)) / 128
    return {"x": x.astype(np.float32)}


def softmax(z):
    p = np.exp(z - z.max())
    return p / p.sum()


def cosine(weights, row, theta=THETA):
    norms = np.sqrt((weights["router"] ** 2).sum(-1))
    return weights["router"] @ row / ((np.sqrt((row**2).sum()) + theta) * (norms + theta)) / TAU


def mix(weights, row, chosen, g):
    return sum(w * np.maximum(weights["expert"][e] @ row, 0) for e, w in zip(chosen, g))


def best(scores):
    return np.argsort(-scores.astype(np.float32), kind="stable")[:2]


def perturbed(weights, row, theta=THETA):
    p = softmax(cosine(weights, row, theta))
    return best(p), softmax(p[best(p)])


def oracle(weights, x):
    y = np.zeros_like(x)
    for t, row in enumerate(x):
        y[t] = mix(weights, row, *perturbed(weights, row))
    return y


def layer(system, function, x, weigh, **more):
    """One router against its formula; `weigh(weights, row)` gives experts and weights."""
    wide = {name: weight.astype(np.float64) for name, weight in system.weights.items()}
    y = system.run({"x": x, **more}, function)["y"]
    system.compare(function, y, np.stack([mix(wide, row, *weigh(wide, row)) for row in x.astype(np.float64)]))
    return y


def linear(weights, row):
    z = weights["router"] @ row
    return best(z), softmax(z[best(z)])


def some(system):
    return (np.random.default_rng(6).standard_normal((37, 24)) / 4).astype(np.float32)


def trap_linear_softmax_after_or_before_the_choice(system):
    x = some(system)
    after = layer(system, "linear", x, linear)
    system.compare("before", system.run({"x": x}, "linear_before")["y"], after)


def trap_two_softmaxes_differ_from_one(system):
    x = some(system)

    def once(weights, row):
        p = softmax(cosine(weights, row))
        return best(p), p[best(p)] / p[best(p)].sum()

    one, two = layer(system, "perturbed_once", x, once), layer(system, "libmoe_routers", x, perturbed)
    assert np.abs(one - two).max() > 0.01 * np.abs(one).max()


def trap_perturbation_of_0_is_plain_cosine(system):
    x = some(system)
    plain = layer(system, "cosine", x, lambda weights, row: perturbed(weights, row, theta=0))
    scaled = system.run({"x": x * 4}, "cosine")["y"]  # the choice and its weights do not see the length
    system.compare("four times as long", scaled, plain * 4)


def trap_sigmoid_scores_are_not_normalised(system):
    def sigmoid(weights, row):
        s = 1 / (1 + np.exp(-(weights["router"] @ row)))
        return best(s), s[best(s)]

    layer(system, "sigmoid", some(system), sigmoid)


def trap_folded_hyper_router_is_the_same_in_every_bit(system):
    rng = np.random.default_rng(7)
    embedding, network = rng.integers(-4, 5, (E, 4)).astype(np.float32), rng.integers(-4, 5, (24, 4)).astype(np.float32)
    x = some(system)
    made = system.run({"x": x, "embedding": embedding, "network": network}, "hyper")["y"]
    system.compare("folded", system.run({"x": x, "made": embedding @ network.T}, "folded")["y"], made, exact=True)
