"""THOR: y = E_e(x), e drawn uniformly from 8 by a counter-based generator (the mixing of MurmurHash3)."""
import numpy as np

E = 8
KEY = 20211005


def inputs(rng, tokens, integers):
    x = rng.integers(-1, 2, (tokens, 24)) if integers else rng.standard_normal((tokens, 24)) / 128
    return {"x": x.astype(np.float32), "key": np.array([KEY], np.int32), "position": np.arange(tokens, dtype=np.int32) + 7}


def mix(x):
    x = (x ^ x >> 16) * 0x85EBCA6B % 2**32
    x = (x ^ x >> 13) * 0xC2B2AE35 % 2**32
    return x ^ x >> 16


def draw(key, counter):
    return mix(int(counter) % 2**32 ^ mix(int(key) % 2**32)) * E >> 32


def outputs(weights, x, ids):
    rows = [np.maximum(weights["expert"][e] @ row, 0) for e, row in zip(ids, x)]
    return np.stack(rows) if rows else x * 0


def oracle(weights, x, key, position):
    return outputs(weights, x, [draw(key[0], p) for p in position])


def trap_draws_depend_on_key_and_position_alone(system):
    inputs = system.inputs(37, integers=False)
    whole = system.run(inputs)["y"]
    for part in (slice(0, 1), slice(5, 30), slice(36, 37)):
        some = {"x": inputs["x"][part], "key": inputs["key"], "position": inputs["position"][part]}
        system.compare(f"{part}", system.run(some)["y"], whole[part], exact=True)
    back = {"x": inputs["x"][::-1], "key": inputs["key"], "position": inputs["position"][::-1]}
    system.compare("in reverse", system.run({n: np.ascontiguousarray(v) for n, v in back.items()})["y"], whole[::-1], exact=True)


def trap_every_expert_is_drawn_equally_often(system):
    rows = np.ones((4096, 24), np.float32)
    for key in (0, 1, -1):
        counts = np.bincount([draw(key, p) for p in range(4096)], minlength=E)
        assert counts.min() > 512 - 90 and counts.max() < 512 + 90, (key, counts)  # four standard deviations
    system.check("4096 tokens", {"x": rows, "key": np.array([-1], np.int32), "position": np.arange(4096, dtype=np.int32)})


def trap_another_key_draws_otherwise(system):
    inputs = system.inputs(37, integers=False)
    other = system.check("another key", {**inputs, "key": inputs["key"] + 1})["y"]
    assert (other != system.run(inputs)["y"]).any(-1).sum() > 20


def trap_weight_is_1_and_equals_a_table(system):
    inputs = system.inputs(37, integers=False)
    ids = np.array([[draw(KEY, p)] for p in inputs["position"]], np.int32)
    table = system.run({"x": inputs["x"], "ids": ids, "weights": np.ones((37, 1), np.float32)}, "table")["y"]
    system.compare("table", system.run(inputs)["y"], table, exact=True)


def trap_one_draw_for_a_sentence(system):
    inputs = system.inputs(13, integers=False)
    sequence = np.array([0] * 5 + [1] * 8, np.int32)
    got = system.run({"x": inputs["x"], "key": inputs["key"], "sequence": sequence, "number": np.array([3, 900], np.int32)},
                     "sentence")["y"]
    wide = system.weights["expert"].astype(np.float64)
    ids = [draw(KEY, 3)] * 5 + [draw(KEY, 900)] * 8
    system.compare("sentences", got, outputs({"expert": wide}, inputs["x"].astype(np.float64), ids))
    strange = system.run({"x": inputs["x"], "key": inputs["key"], "sequence": sequence * 0 - 1,
                          "number": np.zeros(0, np.int32)}, "sentence")["y"]
    system.compare("no such sentence", strange, inputs["x"] * 0, exact=True)
