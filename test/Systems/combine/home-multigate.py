"""HoME: O_e = swish(batchnorm(W_e (x * 2 sigmoid(B_e A_e x)))); each task a masked softmax gate over them, and a self-gate."""
import numpy as np

OWN = (2, 4)  # the expert that is a task's own
SEEN = ((1, 1, 1, 0, 0), (1, 0, 0, 1, 1))  # 0 is shared by all; 1 and 2 are of the first task, 3 and 4 of the second
SCALES = {"task_router": 128, "self_router": 128, "low": 16, "high": 16}


def weights(rng, weights):
    weights["mask"][:] = np.where(np.array(SEEN).ravel(), 0, -np.inf)
    weights["bn_variance"][:] = rng.integers(1, 4, (5, 12))
    weights["bn_mean"] *= 2


def sigmoid(x):
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))


def experts(weights, row):
    outputs = []
    for e in range(5):
        gated = row * 2 * sigmoid(weights["high"][e] @ (weights["low"][e] @ row))
        normal = (weights["up"][e] @ gated - weights["bn_mean"][e]) / np.sqrt(weights["bn_variance"][e] + 2.0**-10)
        normal = normal * weights["bn_scale"][e] + weights["bn_offset"][e]
        outputs.append(normal * sigmoid(normal))
    return np.stack(outputs)


def task(weights, row, outputs, number):
    seen = np.flatnonzero(SEEN[number])
    z = weights["task_router"].reshape(2, 5, 24)[number][seen] @ row
    gate = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
    return gate @ outputs[seen] + sigmoid(weights["self_router"][number] @ row) * outputs[OWN[number]]


def oracle(weights, x):
    results = np.zeros((2, len(x), 12))
    for t, row in enumerate(x):
        outputs = experts(weights, row)
        results[:, t] = [task(weights, row, outputs, number) for number in range(2)]
    return {"first": results[0], "second": results[1]}


def trap_hidden_experts_do_not_reach_a_task(system):
    """An expert that gives NaN to the second task's tokens leaves the first task's results alone: see the mask."""
    inputs = system.inputs(9, integers=False)
    got = system.check("masked", inputs)
    weights = {name: value.astype(np.float64) for name, value in system.weights.items()}
    open_gates = []
    for row in inputs["x"].astype(np.float64):
        z = weights["task_router"].reshape(2, 5, 24)[0] @ row
        gate = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
        outputs = experts(weights, row)
        open_gates.append(gate @ outputs + sigmoid(weights["self_router"][0] @ row) * outputs[OWN[0]])
    assert np.abs(np.stack(open_gates) - got["first"]).max() > 1e-2 * np.abs(got["first"]).max()


def trap_two_gates_equal_two_layers_that_share_experts(system):
    inputs = system.inputs(9, integers=False)
    got = system.run(inputs)
    weights = {name: value.astype(np.float64) for name, value in system.weights.items()}
    for number, name in enumerate(("first", "second")):
        alone = np.stack([task(weights, row, experts(weights, row), number) for row in inputs["x"].astype(np.float64)])
        system.compare(f"the {name} task alone", got[name], alone)


def trap_folded_norm_equals_stored_statistics(system):
    """The norm is linear in front of swish: folded into matrix and offset it gives the same."""
    inputs = system.inputs(9, integers=False)
    got = system.run(inputs)
    folded = {name: value.astype(np.float64) for name, value in system.weights.items()}
    factor = folded["bn_scale"] / np.sqrt(folded["bn_variance"] + 2.0**-10)
    folded["up"] = folded["up"] * factor[:, :, None]
    folded["bn_offset"] = folded["bn_offset"] - folded["bn_mean"] * factor
    folded["bn_mean"], folded["bn_scale"] = folded["bn_mean"] * 0, factor * 0 + 1
    folded["bn_variance"] = folded["bn_variance"] * 0 + 1 - 2.0**-10
    want = np.stack([task(folded, row, experts(folded, row), 0) for row in inputs["x"].astype(np.float64)])
    system.compare("folded", got["first"], want)


def trap_masked_before_the_softmax_and_not_after(system):
    """Shares of the visible experts sum to 1; with a mask of weights, or of logits to 0, they do not."""
    inputs = system.inputs(9, integers=False)
    got = system.check("before", inputs)
    weights = {name: value.astype(np.float64) for name, value in system.weights.items()}
    for number, name in enumerate(("first", "second")):
        seen = np.array(SEEN[number])
        after, zeroed = [], []
        for row in inputs["x"].astype(np.float64):
            outputs = experts(weights, row)
            own = sigmoid(weights["self_router"][number] @ row) * outputs[OWN[number]]
            z = weights["task_router"].reshape(2, 5, 24)[number] @ row
            for results, logits, mask in ((after, z, seen), (zeroed, z * seen, 1)):
                results.append(np.exp(logits) / np.exp(logits).sum() * mask @ outputs + own)
        for other in (after, zeroed):
            assert np.abs(np.stack(other) - got[name]).max() > 1e-2 * np.abs(got[name]).max()
