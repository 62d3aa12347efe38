"""Octavius: per request the top-2 of softmax(mean of instruction tokens' logits), g / (sum + 1e-9); twice W x + sum g B A x."""
import numpy as np

COUPLED = True  # tokens of a request share a choice that all of them make
SCALES = {"router": 128 * 2520}  # a mean of up to ten integers stays a multiple of 128
DEPTH = 64 + 40 + 2 * (24 + 24 + 4 + 2)  # the mean over up to 37 tokens, and two layers
TOKENS = (0, 1, 2, 5, 13, 30)


def inputs(rng, tokens, integers):
    x = rng.integers(-1, 2, (tokens, 24)) if integers else rng.standard_normal((tokens, 24)) / 128 / 2520
    instruction = np.zeros(tokens)
    requests = np.sort(rng.integers(0, 3, tokens))
    for request in range(3):
        instruction[np.flatnonzero(requests == request)[:10]] = 1
    instruction[rng.random(tokens) < 0.2] = 0
    return {"x": x.astype(np.float32), "requests": requests.astype(np.int32), "instruction": instruction.astype(np.float32)}


def choice(weights, x, requests, instruction, request):
    own = x[(requests == request) & (instruction != 0)]
    z = (own @ weights["router"].T).sum(0) / max(len(own), 1)
    p = (np.exp(z - z.max()) / np.exp(z - z.max()).sum()).astype(np.float32)
    chosen = np.argsort(-p, kind="stable")[:2]
    return chosen, p[chosen] / (p[chosen].astype(np.float64).sum() + 1e-9)


def layers(weights, x, choices):
    """Both layers of rows whose experts and weights are `choices`."""
    state = x
    for number in range(2):
        after = state @ weights[f"base{number}"].T
        for t, chosen in enumerate(choices):
            for e, g in zip(*chosen):
                after[t] += g * (weights[f"b{number}"][e] @ (weights[f"a{number}"][e] @ state[t]))
        state = after
    return state


def oracle(weights, x, requests, instruction):
    return layers(weights, x, [choice(weights, x, requests, instruction, request) for request in requests])


def trap_padding_counts_or_not(system):
    """Rows of padding that the mean leaves out change nothing; the mean over all rows is another function."""
    inputs = system.inputs(13, integers=True)
    inputs["requests"][:] = 0
    inputs["instruction"][:] = [1] * 8 + [0] * 5
    masked = system.check("masked", inputs, exact=True)["y"]
    padded = {**inputs, "x": inputs["x"].copy()}
    padded["x"][8:] = -padded["x"][:8].sum(0)  # turns the mean around when it counts
    system.compare("other padding", system.run(padded, exact=True)["y"][:8], masked[:8], exact=True)
    weights = {name: value.astype(np.float64) for name, value in system.weights.items()}
    unmasked = oracle(weights, padded["x"].astype(np.float64), padded["requests"], np.ones(13))
    assert np.abs(unmasked[:8] - masked[:8]).max() > 0


def trap_all_experts_with_zero_weights_equal_the_chosen_ones(system):
    inputs = system.inputs(13, integers=False)
    y = system.check("random", inputs)["y"]
    weights = {name: value.astype(np.float64) for name, value in system.weights.items()}
    x = inputs["x"].astype(np.float64)
    dense = np.zeros((13, 4))
    for t in range(13):
        chosen, g = choice(weights, x, inputs["requests"], inputs["instruction"], inputs["requests"][t])
        dense[t, chosen] = g
    for number in range(2):
        low = np.einsum("td,erd->ter", x, weights[f"a{number}"])
        x = x @ weights[f"base{number}"].T + np.einsum("te,ter,edr->td", dense, low, weights[f"b{number}"])
    system.compare("dense", y, x)


def trap_requests_do_not_mix(system):
    inputs = system.inputs(13, integers=False)
    y = system.run(inputs)["y"]
    other = {**inputs, "x": inputs["x"].copy()}
    other["x"][inputs["requests"] == 2] *= -2
    same = inputs["requests"] != 2
    system.compare("other requests", system.run(other)["y"][same], y[same], exact=True)


def trap_decoding_keeps_the_choice_of_the_prompt(system):
    """Later tokens use what was chosen for the prompt; chosen from them alone it would be another function."""
    inputs = system.inputs(13, integers=True)
    prompt = system.run(inputs, "prompt", exact=True)
    system.compare("the prompt", prompt["y"], system.run(inputs, exact=True)["y"], exact=True)
    later = {"x": -inputs["x"][:5], "requests": inputs["requests"][:5]}
    decided = {name: prompt[name] for name in ("decided.ids", "decided.weights")}
    y = system.run({**later, **decided}, "decode", exact=True)["y"]
    weights = {name: value.astype(np.float64) for name, value in system.weights.items()}
    x = inputs["x"].astype(np.float64)
    choices = [choice(weights, x, inputs["requests"], inputs["instruction"], request) for request in later["requests"]]
    want = layers(weights, later["x"].astype(np.float64), choices)
    system.compare("later tokens", y, want)
    assert np.abs(system.run({**later, "instruction": np.ones(5, np.float32)})["y"] - y).max() > 0


def trap_tiny_sums_show_the_epsilon(system):
    """g / (sum + 1e-9): of scores that are small the weights do not sum to one, and of zeros they are 0 and not NaN."""
    scores = np.array([[4e-9, 1e-9, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [1e-30, 0, 0, 0]], np.float32)
    got = system.run({"scores": scores}, "shares")["decided.weights"]
    want = np.array([[4 / 6, 1 / 6], [0.5, 0.5], [0, 0], [1e-21, 0]])
    for row in range(4):
        system.compare(f"scores {scores[row]}", got[row], want[row])


def trap_the_second_expert_is_the_second_best_and_not_drawn(system):
    """Of three experts that are close: the two best, in every one of 200 requests and at every call."""
    means = np.random.default_rng(3).standard_normal((200, 4)).astype(np.float32) / 16
    want = np.argsort(-means, axis=-1, kind="stable")[:, :2]
    for call in range(2):
        system.compare(f"call {call}", system.run({"means": means}, "choice")["decided.ids"], want)


def trap_low_rank_products_have_no_factor(system):
    """B A x counts as it is; a factor alpha / r (say 16 / 4) is another function."""
    inputs = system.inputs(13, integers=True)
    y = system.check("no factor", inputs, exact=True)["y"]
    weights = {name: value.astype(np.float64) for name, value in system.weights.items()}
    wide = {name: value.astype(np.float64) if name != "requests" else value for name, value in inputs.items()}
    factor = {name: value * 4 if name[0] == "b" and name[1] in "01" else value for name, value in weights.items()}
    assert np.abs(oracle(factor, **wide) - y).max() > 0
