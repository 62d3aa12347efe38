"""MoM: M_m += k_m^T v_m for the token's two memories, o = q . sum of g_m M_m, then RMSNorm and the output projection."""
import numpy as np

COUPLED = True  # a token reads what earlier ones wrote
ROUNDED = {"y"}  # the norm's sum of squares is rounded
DEPTH = 64 + 2 * 16 + 8 + 37 + 16  # products, the answer, 37 updates of a memory, the norm


def inputs(rng, tokens, integers):
    x = rng.integers(-1, 2, (tokens, 16)) if integers else rng.standard_normal((tokens, 16)) / 32
    memory = rng.integers(-1, 2, (4, 8, 8)) if integers else rng.standard_normal((4, 8, 8)) / 8
    return {"x": x.astype(np.float32), "memory": memory.astype(np.float32)}


def weights(rng, weights):
    for name in ("query", "key", "value"):
        weights[name] *= rng.random(weights[name].shape) < 0.4


def choose(weights, row):
    z = weights["router"] @ row
    p = (np.exp(z - z.max()) / np.exp(z - z.max()).sum()).astype(np.float32)
    return p, np.argsort(-p, kind="stable")[:2]


def oracle(weights, x, memory, room=None):
    state, read = memory.copy(), np.zeros((len(x), 8))
    left = np.zeros(4, int)
    for row in x:
        left[choose(weights, row)[1]] += 1
    for t, row in enumerate(x):
        p, chosen = choose(weights, row)
        for m in chosen:
            left[m] -= 1
            if room and left[m] >= room:
                continue  # so many rows come after this one that it has no place
            state[m] += np.outer(weights["key"][m] @ row, weights["value"][m] @ row)
            read[t] += p[m] / p[chosen].astype(np.float64).sum() * (weights["query"] @ row @ state[m])
    normal = read / np.sqrt((read**2).mean(-1, keepdims=True) + 1e-5)
    return {"y": normal @ weights["merge"].T, "read": read, "updated": state}


def trap_prefill_equals_token_by_token(system):
    inputs = system.inputs(13, integers=False)
    whole = system.run(inputs)
    memory, rows = inputs["memory"], []
    for t in range(13):
        step = system.run({"x": inputs["x"][t : t + 1], "memory": memory})
        memory = step["updated"]
        rows.append(step["y"])
    system.compare("token by token", np.concatenate(rows), whole["y"], exact=True)
    system.compare("memories", memory, whole["updated"], exact=True)


def trap_rows_of_a_memory_keep_their_order(system):
    """What a token reads depends on who wrote before it; the memories in the end do not."""
    inputs = system.inputs(13, integers=True)
    forth = system.check("in order", inputs, exact=True)
    back = system.check("reversed", {"x": inputs["x"][::-1].copy(), "memory": inputs["memory"]}, exact=True)
    system.compare("memories", back["updated"], forth["updated"], exact=True)
    assert not np.array_equal(back["read"][::-1], forth["read"])


def trap_overflow_drops_the_oldest(system):
    inputs = system.inputs(13, integers=True)
    weights = {name: value.astype(np.float64) for name, value in system.weights.items()}
    want = oracle(weights, inputs["x"].astype(np.float64), inputs["memory"].astype(np.float64), room=3)
    got = system.run(inputs, "with_room", exact=True)
    system.compare("read", got["read"], want["read"])
    system.compare("memories", got["updated"], want["updated"].astype(np.float32), exact=True)
    assert not np.array_equal(got["updated"], system.run(inputs, exact=True)["updated"])


def trap_memories_that_nobody_chose_stay(system):
    inputs = system.inputs(1, integers=False)
    after = system.run(inputs)["updated"]
    z = system.weights["router"] @ inputs["x"][0]
    for m in np.argsort(-z)[2:]:
        system.compare(f"memory {m}", after[m], inputs["memory"][m], exact=True)
