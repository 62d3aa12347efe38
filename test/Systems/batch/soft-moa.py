"""Soft-MoA: L = X Phi, D its softmax over tokens, C over slots; y = C adapters(D^T X), two slots an adapter."""
import numpy as np

COUPLED = True
SCALES = {"router": 1}
ROUNDED = {"y"}  # sums over tokens, in any order
DEPTH = 24 + 2 * 64 + 37 + 24 + 6 + 8  # logits, two softmaxes, mixing, an adapter, mixing back


def softmax(z, axis):
    p = np.exp(z - z.max(axis, keepdims=True))
    return p / p.sum(axis, keepdims=True)


def layer(weights, x, over_tokens=0, over_slots=1):
    z = x @ weights["router"].T
    slots = softmax(z, over_tokens).T @ x
    adapted = [weights["up"][s // 2] @ np.maximum(weights["down"][s // 2] @ row, 0) for s, row in enumerate(slots)]
    return softmax(z, over_slots) @ np.stack(adapted)


def oracle(weights, x):
    return layer(weights, x) if len(x) else np.zeros_like(x)


def trap_one_tensor_of_logits_has_two_softmaxes(system):
    """Over tokens for what goes in, over slots for what comes out; exchanged, or twice the same, it is another layer."""
    x = system.inputs(13, integers=False)["x"] * 64
    y = system.check("two axes", {"x": x})["y"]
    weights = {name: value.astype(np.float64) for name, value in system.weights.items()}
    for axes in ((1, 0), (0, 0), (1, 1)):
        assert np.abs(layer(weights, x.astype(np.float64), *axes) - y).max() > 0.1 * np.abs(y).max()


def trap_equal_tokens_are_their_slots(system):
    """Shares of tokens sum to 1: equal tokens make slots equal to them, whatever their number."""
    x = system.inputs(1, integers=False)["x"] * 64
    alone = system.run({"x": x})["y"]
    system.compare("nine equal tokens", system.run({"x": np.repeat(x, 9, 0)})["y"], np.repeat(alone, 9, 0))


def trap_tokens_in_other_order_give_results_in_that_order(system):
    x = system.inputs(13, integers=False)["x"]
    system.compare("reversed", system.run({"x": x[::-1].copy()})["y"][::-1], system.run({"x": x})["y"])
