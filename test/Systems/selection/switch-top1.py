"""Switch: e = argmax p, y = p_e E_e(x); in each sequence the first C = ceil(n / 8 * 1.25) tokens of an expert."""
import math

import numpy as np

E, FACTOR = 8, 1.25
COUPLED = True


def inputs(rng, tokens, integers):
    x = rng.integers(-1, 2, (tokens, 24)) if integers else rng.standard_normal((tokens, 24)) / 128
    sequence = np.sort(rng.integers(0, 3, tokens)).astype(np.int32)
    return {"x": x.astype(np.float32), "sequence": sequence,
            "length": np.bincount(sequence, minlength=3).astype(np.int32)}


def softmax(z):
    p = np.exp(z - z.max())
    return p / p.sum()


def expert(weights, e, row):
    return np.maximum(weights["expert"][e] @ row, 0)


def kept(weights, x, sequence, length, rounding=math.ceil):
    """For each token: its expert, its probability, and whether the expert has room."""
    count = {}
    for t, row in enumerate(x):
        p = softmax(weights["router"] @ row)
        e, s = int(np.argmax(p)), int(sequence[t])
        count[s, e] = count.get((s, e), 0) + 1
        yield e, p[e], count[s, e] <= rounding(length[s] / E * FACTOR)


def oracle(weights, x, sequence, length):
    y = np.zeros_like(x)
    for t, (e, p, fits) in enumerate(kept(weights, x, sequence, length)):
        if fits:
            y[t] = p * expert(weights, e, x[t])
    return y


def crowd(tokens):
    """All tokens of one sequence on one expert."""
    x = np.tile(np.linspace(-1, 1, 24) / 64, (tokens, 1)) * (1 + np.arange(tokens)[:, None] / 64)
    return {"x": x.astype(np.float32), "sequence": np.zeros(tokens, np.int32), "length": np.array([tokens], np.int32)}


def trap_weight_is_the_probability_not_1(system):
    x = system.inputs(37, integers=False)["x"]
    raw, one = (system.run({"x": x}, function)["y"] for function in ("dropless", "renormalised"))
    wide = {name: weight.astype(np.float64) for name, weight in system.weights.items()}
    p = [softmax(wide["router"] @ row) for row in x.astype(np.float64)]
    outputs = np.stack([expert(wide, int(np.argmax(q)), row) for q, row in zip(p, x.astype(np.float64))])
    system.compare("weight 1", one, outputs)
    system.compare("the probability", raw, outputs * np.array([q.max() for q in p])[:, None])
    assert min(q.max() for q in p) < 0.9


def trap_room_for_all_equals_dropless(system):
    inputs = system.inputs(37, integers=False)
    inputs["length"] = np.full(3, 37 * 8, np.int32)
    system.compare("room for all", system.run(inputs)["y"], system.run({"x": inputs["x"]}, "dropless")["y"], exact=True)


def trap_dropped_token_is_0_or_its_weighed_input(system):
    inputs = crowd(13)
    y, old = system.check("one expert", inputs)["y"], system.run(inputs, "older_port")["y"]
    rows = list(kept(system.weights, *inputs.values()))
    dropped = [t for t, (_, _, fits) in enumerate(rows) if not fits]
    assert dropped == list(range(3, 13))  # ceil(13 / 8 * 1.25) = 3
    system.compare("dropped", y[dropped], np.zeros((10, 24), np.float32), exact=True)
    weighed = np.stack([rows[t][1] * inputs["x"][t].astype(np.float64) for t in dropped])
    system.compare("dropped, older port", old[dropped], weighed)
    system.compare("kept, older port", old[:3], y[:3], exact=True)


def trap_rounding_up_and_one_token_more(system):
    """13 tokens have room for 3 rounded up, 2 rounded down; 19 tokens for 3, 20 for 4."""
    for tokens, room in ((13, 3), (19, 3), (20, 4)):
        y = system.check(f"{tokens} tokens", crowd(tokens))["y"]
        assert np.count_nonzero(np.abs(y).sum(-1)) == room, (tokens, room)


def trap_sequences_do_not_share_room(system):
    """Each sequence alone gives the same, and later tokens take nothing from earlier ones."""
    inputs = system.inputs(37, integers=False)
    y = system.run(inputs)["y"]
    for s in range(3):
        mine = inputs["sequence"] == s
        alone = {"x": inputs["x"][mine], "sequence": np.zeros(mine.sum(), np.int32), "length": inputs["length"][s : s + 1]}
        system.compare(f"sequence {s}", system.run(alone)["y"], y[mine], exact=True)
        first = {**alone, "x": alone["x"][:3], "sequence": alone["sequence"][:3]}
        system.compare(f"first of {s}", system.run(first)["y"], y[mine][:3], exact=True)


def trap_no_room_and_unknown_sequence(system):
    inputs = system.inputs(5, integers=True)
    system.compare("no room", system.run({**inputs, "length": np.zeros(3, np.int32)})["y"], inputs["x"] * 0, exact=True)
    strange = {**inputs, "sequence": np.array([-1, 3, 2**31 - 1, -(2**31), 7], np.int32)}
    system.compare("no such sequence", system.run(strange)["y"], inputs["x"] * 0, exact=True)


def to_bfloat16(values):
    """Rounds to the nearest of 8 bits, of equals to the even one."""
    bits = np.asarray(values, np.float32).reshape(-1).view(np.uint32).astype(np.uint64)
    even = (bits >> np.uint64(16)) & np.uint64(1)
    rounded = (bits + np.uint64(0x7FFF) + even) & np.uint64(0xFFFF0000)
    return rounded.astype(np.uint32).view(np.float32).reshape(np.shape(values))


def trap_the_router_is_f32_among_16_bits(system):
    """Logits that differ by less than 16 bits tell are told apart; in 16 bits they would tie and another expert win."""
    x = to_bfloat16(np.random.default_rng(8).standard_normal((4000, 24)) / 128)
    wide = {name: weight.astype(np.float64) for name, weight in system.weights.items()}
    logits = x.astype(np.float64) @ wide["router"].T
    other = np.argmax(logits, -1) != np.argmax(to_bfloat16(logits), -1)
    x, logits = x[other], logits[other]
    assert len(x) > 3
    want = np.stack([to_bfloat16(softmax(z).max()) * expert(wide, int(np.argmax(z)), row)
                     for z, row in zip(logits, x.astype(np.float64))])
    system.compare("16 bits", system.run({"x": x}, "half")["y"], want)


def trap_nothing_random_reaches_the_router(system):
    """Training multiplies the router's input by 1 + noise of up to 0.01; here logits that close keep their order."""
    rng = np.random.default_rng(9)
    x = (rng.standard_normal((4000, 24)) / 128).astype(np.float32)
    wide = {name: weight.astype(np.float64) for name, weight in system.weights.items()}
    logits = x.astype(np.float64) @ wide["router"].T
    noisy = (x * (1 + 0.01 * rng.uniform(-1, 1, x.shape))) @ wide["router"].T
    assert (np.argmax(noisy, -1) != np.argmax(logits, -1)).sum() > 3
    want = np.stack([softmax(z).max() * expert(wide, int(np.argmax(z)), row) for z, row in zip(logits, x.astype(np.float64))])
    system.compare("close logits", system.run({"x": x}, "dropless")["y"], want)
