"""Sparse Mixer: p = softmax z; per example, expert e takes its ceil(n / 8) tokens of highest p_e; y = sum of p_e E_e(x)."""
import numpy as np

E = 8
COUPLED = True


def inputs(rng, tokens, integers):
    x = rng.integers(-1, 2, (tokens, 24)) if integers else rng.standard_normal((tokens, 24)) / 128
    example = np.sort(rng.integers(0, 3, tokens)).astype(np.int32)
    return {"x": x.astype(np.float32), "example": example, "length": np.bincount(example, minlength=3).astype(np.int32)}


def layer(weights, x, example, room):
    z = x @ weights["router"].T
    p = np.exp(z - z.max(-1, keepdims=True)) if len(x) else z
    p = p / p.sum(-1, keepdims=True)
    y = np.zeros_like(x)
    for s, own_room in enumerate(room):
        own = np.flatnonzero(example == s)
        for e in range(E):
            for t in own[np.argsort(-p[own, e].astype(np.float32), kind="stable")[:own_room]]:
                y[t] += p[t, e] * np.maximum(weights["expert"][e] @ x[t], 0)
    return y


def oracle(weights, x, example, length):
    return layer(weights, x, example, -(-length.astype(np.int64) // E))


def choose(system, logits, room):
    return system.run({"logits": np.array(logits, np.float32), "room": np.array([room], np.int32)}, "choice")


def trap_every_expert_takes_as_many_as_there_is_room(system):
    logits = np.random.default_rng(2).standard_normal((40, E)).astype(np.float32)
    for room in (0, 1, 5, 40, 41):
        got = choose(system, logits, room)
        taken = got["ids"] >= 0
        assert (taken.sum(0) == min(room, 40)).all()
        system.compare("slot e is expert e", np.where(taken, got["ids"], np.arange(E)), np.tile(np.arange(E), (40, 1)))
        system.compare("raw weights", got["weights"], np.where(taken, logits, 0).astype(np.float32), exact=True)
        lowest = np.where(taken, logits, np.inf).min(0)
        assert (np.where(taken, -np.inf, logits).max(0) <= lowest).all()


def trap_a_token_may_be_taken_by_none_or_by_all(system):
    x = np.random.default_rng(3).standard_normal((16, 24)).astype(np.float32) / 128
    inputs = {"x": x, "example": np.zeros(16, np.int32), "length": np.array([16, 0, 0], np.int32)}
    system.check("some", inputs)
    logits = np.zeros((16, E))
    logits[3] = 1
    ids = choose(system, logits, 1)["ids"]
    assert ids[3].tolist() == list(range(E)) and (np.delete(ids, 3, 0) == -1).all()


def trap_room_for_all_is_the_dense_mixture(system):
    inputs = system.inputs(37, integers=False)
    given = {"x": inputs["x"], "example": inputs["example"], "room": np.array([37, 37, 37], np.int32)}
    dense = system.run({"x": inputs["x"]}, "dense")["y"]
    system.compare("dense", system.run(given, "given")["y"], dense, exact=True)


def trap_examples_do_not_interact(system):
    inputs = system.inputs(37, integers=False)
    y = system.run(inputs)["y"]
    other = inputs["x"].copy()
    other[inputs["example"] == 1] *= -3
    changed = system.run({**inputs, "x": other})["y"]
    same = inputs["example"] != 1
    system.compare("other examples", changed[same], y[same], exact=True)


def trap_a_later_token_takes_the_room_of_an_earlier_one(system):
    """Not causal: the first token alone is taken by all experts, beside a better one by none."""
    z = np.array([[1.0] * E, [2.0] * E])
    assert (choose(system, z[:1], 1)["ids"] >= 0).all()
    assert (choose(system, z, 1)["ids"][0] == -1).all()


def trap_ties_go_to_the_first_token_and_nan_is_last(system):
    assert choose(system, np.zeros((3, E)), 2)["ids"][:, 0].tolist() == [0, 0, -1]
    z = np.zeros((3, E))
    z[0] = np.nan
    z[2] = -np.inf
    assert choose(system, z, 2)["ids"][:, 0].tolist() == [-1, 0, 0]


def trap_an_unknown_example_gets_nothing(system):
    inputs = system.inputs(5, integers=True)
    strange = {**inputs, "example": np.array([-1, 3, 2**31 - 1, -(2**31), 7], np.int32)}
    system.compare("no such example", system.run(strange)["y"], inputs["x"] * 0, exact=True)
