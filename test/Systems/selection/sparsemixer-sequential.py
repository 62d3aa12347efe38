"""SparseMixer (Phi-3.5-MoE), inference: e1 = argmax z, its weight from a softmax without what is far from it; once more without e1."""
import numpy as np

JITTER = 0.01
E = 8
SCALES = {"router": 1}  # logits close to one another: with the usual 128 nobody is close


def picks(z, jitter=JITTER):
    left = list(range(len(z)))
    for _ in range(2):
        best = max(left, key=lambda e: (z[e], -e))
        with np.errstate(invalid="ignore", divide="ignore"):
            far = (z[best] - z) / np.maximum(np.abs(z), z[best]) > 2 * jitter
        close = [e for e in left if not far[e]]
        yield best, 1 / sum(np.exp(z[e] - z[best]) for e in close)
        left.remove(best)


def oracle(weights, x):
    y = np.zeros_like(x)
    for t, row in enumerate(x):
        for e, g in picks(weights["router"] @ row):
            y[t] += g * np.maximum(weights["expert"][e] @ row, 0)
    return y


def choose(system, rows, function="choice"):
    got = system.run({"logits": np.atleast_2d(np.array(rows, np.float32))}, function)
    return got["ids"].tolist(), got["weights"]


def trap_weights_do_not_sum_to_1(system):
    z = [3, 2.97, 2.95, 1, 0, 0, 0, 0]  # 2.95 is close to 2.97 and to 3
    ids, weights = choose(system, z)
    assert ids == [[0, 1]]
    want = [g for _, g in picks(np.array(z, np.float64))]
    system.compare("two softmaxes", weights[0], want)
    assert abs(sum(want) - 1) > 0.05 and weights[0, 1] > weights[0, 0]


def trap_well_separated_logits_weigh_1(system):
    ids, weights = choose(system, [1, 5, 3, 0, -1, -2, -3, -4])
    assert ids == [[1, 2]]
    system.compare("weights", weights, np.ones((1, 2), np.float32), exact=True)


def trap_without_a_bound_two_plain_softmaxes(system):
    rng = np.random.default_rng(3)
    z = rng.standard_normal((20, E)).astype(np.float32)
    ids, weights = choose(system, z, "unbounded")
    want = []
    for row in z.astype(np.float64):
        first, second = np.argsort(-row, kind="stable")[:2]
        rest = np.delete(row, first)
        want.append([np.exp(row[first]) / np.exp(row).sum(), np.exp(row[second]) / np.exp(rest).sum()])
    system.compare("unbounded", weights, np.array(want))
    assert ids == np.argsort(-z, axis=-1, kind="stable")[:, :2].tolist()


def trap_distance_is_relative_to_the_larger_magnitude(system):
    """For negative logits the magnitude of the other one counts; zeros are not far from zeros."""
    for z in ([-1, -1.015, -1.1, -5, -5, -5, -5, -5], [0.5, 0.495, 0.4, 0, 0, 0, 0, 0], [0] * 8, [1e-3, 0, -1e-3, 0, 0, 0, 0, 0]):
        want = list(picks(np.array(z, np.float64)))
        ids, weights = choose(system, z)
        assert ids == [[e for e, _ in want]], (z, ids)
        system.compare(f"{z}", weights[0], [g for _, g in want])


def trap_ties_share_the_weight(system):
    ids, weights = choose(system, [2] * 8)
    assert ids == [[0, 1]]
    system.compare("ties", weights[0], [1 / 8, 1 / 7])


def trap_nan_is_chosen_last(system):
    ids, weights = choose(system, [np.nan, 1, np.nan, 5, 0, 0, 0, 0])
    assert ids == [[3, 1]]
    assert np.isnan(weights).all()  # NaN is not far from anything, so it takes part in both sums
