"""BinaryMoS: g = softmax(router x); y = ((x * g S_in) sign(W)^T) * g S_out + b."""
import numpy as np

ROUNDED = {"y"}  # shares of three experts that tie are thirds


def oracle(weights, x, signs=None):
    signs = np.where(weights["binary"] < 0, -1.0, 1.0) if signs is None else signs
    y = np.zeros((len(x), 20))
    for t, row in enumerate(x):
        z = weights["router"] @ row
        g = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
        y[t] = (signs @ (row * (g @ weights["scale_in"]))) * (g @ weights["scale_out"]) + weights["offset"]
    return y


def bits(signs):
    return ((signs < 0) * (1 << np.arange(24))).sum(-1).astype(np.int32)


def trap_packed_signs_equal_unpacked_ones(system):
    inputs = system.inputs(13, integers=False)
    packed = system.run({**inputs, "bits": bits(system.weights["binary"])}, "packed")["y"]
    system.compare("packed", packed, system.run(inputs)["y"], exact=True)


def trap_sign_of_zero_is_plus_one(system):
    assert (system.weights["binary"] == 0).any()
    inputs = system.inputs(9, integers=True)
    y = system.check("zeros among the weights", inputs, exact=True)["y"]
    weights = {name: value.astype(np.float64) for name, value in system.weights.items()}
    without = oracle(weights, inputs["x"].astype(np.float64), np.sign(weights["binary"]))
    assert not np.array_equal(without, y)


def trap_scale_inside_is_not_a_scale_outside(system):
    """The input's scale is inside the sum over inputs: one number for the token would not do."""
    inputs = system.inputs(9, integers=True)
    y = system.check("integers", inputs, exact=True)["y"]
    weights = {name: value.astype(np.float64) for name, value in system.weights.items()}
    weights["scale_in"] = np.repeat(weights["scale_in"].mean(-1, keepdims=True), 24, 1)
    assert np.abs(oracle(weights, inputs["x"].astype(np.float64)) - y).max() > 0.1 * np.abs(y).max()
