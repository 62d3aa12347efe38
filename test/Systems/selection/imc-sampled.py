"""IMC: z drawn from softmax(router x) by u, the first expert with cumsum > u * sum; y = E_z(x)."""
import numpy as np

E = 8
KEY = 20231127


def mix(h):
    """The finaliser of MurmurHash3 on 32 bits."""
    mask = 0xFFFFFFFF
    h ^= h >> 16
    h = h * 0x85EBCA6B & mask
    h ^= h >> 13
    h = h * 0xC2B2AE35 & mask
    return h ^ h >> 16


def uniform(key, number):
    return (mix((int(number) & 0xFFFFFFFF) ^ mix(int(key) & 0xFFFFFFFF)) >> 8) * 2.0**-24


def drawn(scores, key, number):
    """Sums in float32, in order of index, as the draw compares them."""
    scores = np.asarray(scores, np.float32)
    total = np.float32(0)
    for score in scores:
        total += score
    bound, before = np.float32(uniform(key, number)) * total, np.float32(0)
    for e, score in enumerate(scores):
        before += score
        if before > bound:
            return e
    return E - 1


def inputs(rng, tokens, integers):
    x = rng.integers(-1, 2, (tokens, 24)) if integers else rng.standard_normal((tokens, 24)) / 128
    return {"x": x.astype(np.float32), "key": np.array([KEY], np.int32), "number": np.arange(tokens, dtype=np.int32) * 7 - 50}


def oracle(weights, x, key, number):
    y = np.zeros_like(x)
    for t, row in enumerate(x):
        z = weights["router"] @ row
        p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
        y[t] = np.maximum(weights["expert"][drawn(p, key[0], number[t])] @ row, 0)
    return y


def draw(system, scores, numbers, key=KEY):
    scores = np.broadcast_to(np.array(scores, np.float32), (len(numbers), E))
    inputs = {"scores": np.ascontiguousarray(scores), "key": np.array([key], np.int32), "number": np.array(numbers, np.int32)}
    return system.run(inputs, "draw")


def trap_experts_are_drawn_in_proportion(system):
    p = np.array([0.4, 0, 0.3, 0.05, 0.05, 0.1, 0.1, 0])
    ids = draw(system, p, np.arange(20000))["ids"][:, 0]
    share = np.bincount(ids, minlength=E) / 20000
    assert np.abs(share - p).max() < 5 * np.sqrt(0.25 / 20000), share
    assert share[1] == 0 and share[7] == 0
    want = [drawn(p, KEY, number) for number in range(500)]
    system.compare("every draw", ids[:500], np.array(want))


def trap_a_sure_expert_is_top_1_with_weight_1(system):
    """Temperature 0: probabilities of 1 and 0 leave nothing to draw."""
    x = np.random.default_rng(2).integers(-1, 2, (50, 24)).astype(np.float32)
    logits = x @ system.weights["router"].T
    top = np.sort(logits, -1)
    x = x[top[:, -1] > top[:, -2]]
    best = np.argmax(x @ system.weights["router"].T, -1)
    want = np.stack([np.maximum(system.weights["expert"][e] @ row, 0) for e, row in zip(best, x)])
    for key in (KEY, 1):
        inputs = {"x": x, "key": np.array([key], np.int32), "number": np.arange(len(x), dtype=np.int32)}
        system.compare(f"key {key}", system.run(inputs, exact=True)["y"], want.astype(np.float32), exact=True)


def trap_draws_depend_on_key_and_number_alone(system):
    scores = np.random.default_rng(3).random((64, E))
    numbers = np.arange(64)
    whole = draw(system, scores, numbers)["ids"]
    turned = draw(system, scores[::-1], numbers[::-1])["ids"]
    system.compare("in other order", turned[::-1], whole)
    system.compare("some", draw(system, scores[5:9], numbers[5:9])["ids"], whole[5:9])
    assert (draw(system, scores, numbers, key=1)["ids"] != whole).any()


def trap_scores_that_are_no_probabilities(system):
    """Of none, or of NaN, the last; of scores that fall below what was passed, still the first."""
    numbers = np.arange(30)
    for scores in ([0] * 8, [np.nan] * 8, [1, np.nan, 1, 1, 1, 1, 1, 1]):
        got = draw(system, scores, numbers)["ids"][:, 0]
        system.compare(f"{scores}", got, np.array([drawn(scores, KEY, number) for number in numbers]))
        assert (got == E - 1).all()
    falling = [3, -2, 4, 0, 0, 0, 0, 0]
    got = draw(system, falling, numbers)
    system.compare("falling", got["ids"][:, 0], np.array([drawn(falling, KEY, number) for number in numbers]))
    assert set(got["ids"][:, 0].tolist()) == {0, 2}
    system.compare("raw weights", got["weights"], np.array(falling, np.float32)[got["ids"]], exact=True)
