"""MixER: G = softmax(W [context; 1]); experts with G > max G - 1e-6 are summed with weight one; three Euler steps."""
import numpy as np

STEP = 0.0625
DEPTH = 3 * (24 + 20 + 2) + 64  # three steps, one after the other


def inputs(rng, tokens, integers):
    x = rng.integers(-1, 2, (tokens, 24)) if integers else rng.standard_normal((tokens, 24))
    return {"x": x.astype(np.float32), "environment": rng.integers(0, 3, tokens).astype(np.int32),
            "context": rng.integers(-2, 3, (3, 5)).astype(np.float32)}


def oracle(weights, x, environment, context):
    z = context @ weights["router"].T + weights["router_bias"]
    scores = np.exp(z - z.max(-1, keepdims=True))
    scores = (scores / scores.sum(-1, keepdims=True)).astype(np.float32)
    state = x.copy()
    for _ in range(3):
        change = np.zeros_like(state)
        for t, row in enumerate(state):
            own = scores[environment[t]]
            for e in np.flatnonzero(own - own.max() > np.float32(-1e-6)):
                change[t] += weights["down"][e] @ np.maximum(weights["up"][e] @ row, 0)
        state = state + STEP * change
    return state


def logits(system, context):
    return context @ system.weights["router"].T + system.weights["router_bias"]


def contexts(system, ties):
    """A context whose highest logit so many experts share."""
    for number in range(5**5):
        context = np.array([number // 5**i % 5 - 2 for i in range(5)], np.float32)
        z = logits(system, context)
        if (z == z.max()).sum() == ties:
            return context
    raise AssertionError("no such context")


def trap_an_exact_tie_sums_both_experts(system):
    inputs = system.inputs(7, integers=True)
    inputs["context"][:] = contexts(system, 2)
    tied = system.check("a tie", inputs, exact=True)["y"]
    inputs["context"][:] = contexts(system, 1)
    alone = system.check("no tie", inputs, exact=True)["y"]
    assert not np.array_equal(tied, alone)


def trap_router_reads_the_environment_and_not_the_state(system):
    """Other states, same contexts: the same experts, so the map is the same function of the state."""
    inputs = system.inputs(6, integers=True)
    inputs["environment"][:] = 1
    inputs["x"][3:] = inputs["x"][:3]
    y = system.check("equal states", inputs, exact=True)["y"]
    system.compare("states that are repeated", y[3:], y[:3], exact=True)
    moved = {**inputs, "context": inputs["context"].copy()}
    moved["context"][0] += 1
    system.compare("another environment's context", system.run(moved)["y"], y, exact=True)
