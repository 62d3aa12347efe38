"""SMILE: i = argmax p(x) over nodes, j = argmax q_i(x) over the node's devices, y = p_i q_ij E_ij(x)."""
import numpy as np

NODES, DEVICES = 3, 4
# Two routers of width 24 in one weight each, experts of width 24; scores are two softmaxes.
DEPTH = 3 * 24 + 2 * 64


def softmax(z):
    p = np.exp(z - z.max())
    return p / p.sum()


def oracle(weights, x):
    y = np.zeros_like(x)
    for t, row in enumerate(x):
        p = softmax(weights["router_nodes"] @ row)
        i = int(np.argmax(p))
        mine = slice(i * DEVICES, (i + 1) * DEVICES)
        q = softmax(weights["router_devices"][mine] @ row)
        j = int(np.argmax(q))
        y[t] = p[i] * q[j] * np.maximum(weights["expert"][mine][j] @ row, 0)
    return y


def trap_weight_is_the_product_of_both_levels(system):
    rng = np.random.default_rng(7)
    nodes, devices = rng.standard_normal((50, 3)).astype(np.float32), rng.standard_normal((50, 12)).astype(np.float32)
    got = system.run({"node_logits": nodes, "device_logits": devices}, "choice")
    for t in range(50):
        p = softmax(nodes[t].astype(np.float64))
        i = int(np.argmax(p))
        q = softmax(devices[t, i * 4 : i * 4 + 4].astype(np.float64))
        assert got["ids"][t, 0] == i * 4 + np.argmax(q)
        system.compare(f"weight of {t}", got["weights"][t], [p[i] * q.max()])


def trap_two_levels_are_not_the_best_product(system):
    """The best node may hold no device that wins, while the second node has a clear one."""
    nodes, devices = [[1, 0.9, -9]], [[0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]]
    two = system.run({"node_logits": np.array(nodes, np.float32), "device_logits": np.array(devices, np.float32)}, "choice")
    p, q = softmax(np.array(nodes[0])), np.concatenate([softmax(np.array(devices[0])[i : i + 4]) for i in (0, 4, 8)])
    products = np.repeat(p, 4) * q
    flat = system.run({"products": products[None].astype(np.float32)}, "flat")
    assert two["ids"].tolist() == [[0]] and flat["ids"].tolist() == [[4]]
    system.compare("the same pair, the same weight", two["weights"][0], products[:1])


def trap_one_node_is_plain_top_1(system):
    rng = np.random.default_rng(8)
    devices = rng.standard_normal((50, 4)).astype(np.float32)
    got = system.run({"node_logits": np.zeros((50, 1), np.float32), "device_logits": devices}, "one_node")
    p = np.stack([softmax(row) for row in devices.astype(np.float64)])
    assert (got["ids"][:, 0] == p.argmax(-1)).all()
    system.compare("weights", got["weights"][:, 0], p.max(-1))


def trap_ties_take_the_first_node_and_device(system):
    got = system.run({"node_logits": np.zeros((1, 3), np.float32), "device_logits": np.zeros((1, 12), np.float32)}, "choice")
    assert got["ids"].tolist() == [[0]]
    system.compare("weights", got["weights"], [[1 / 12]])
