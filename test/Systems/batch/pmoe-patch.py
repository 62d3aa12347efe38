"""pMoE: per sample and expert the two patches of highest score; E(G x) summed over them, G the softmax of those scores."""
import numpy as np

TAKEN = 2


def gates(scores, over_all):
    """Gate of each patch for one expert, 0 where it is not taken; scores are float32, as ties are."""
    order = np.argsort(-scores.astype(np.float32), kind="stable")[:TAKEN]
    base = np.arange(len(scores)) if over_all else order
    weights = np.exp(scores - scores.max())
    result = np.zeros(len(scores))
    result[order] = weights[order] / weights[base].sum()
    return result


def oracle(weights, x, over_all=False):
    y = np.zeros((len(x), 3))
    for s, patches in enumerate(x):
        for e in range(4):
            gate = gates(patches @ weights["router"][e], over_all)
            for j in np.flatnonzero(gate):
                y[s] += weights["heads"][e] @ np.maximum(weights["filters"][e] @ (gate[j] * patches[j]), 0)
    return y


def trap_both_gates_choose_alike_and_weigh_differently(system):
    x = system.inputs(13, integers=False)["x"]
    y = system.check("over the chosen", {"x": x})["y"]
    weights = {name: value.astype(np.float64) for name, value in system.weights.items()}
    over_all = system.run({"x": x}, "over_all")["y"]
    system.compare("over all patches", over_all, oracle(weights, x.astype(np.float64), over_all=True))
    assert np.abs(over_all - y).max() > 1e-2 * np.abs(y).max()


def trap_samples_never_meet(system):
    x = system.inputs(6, integers=False)["x"]
    y = system.run({"x": x})["y"]
    other = x.copy()
    other[1:] = other[1:] * -3
    system.compare("the first sample", system.run({"x": other})["y"][:1], y[:1], exact=True)


def trap_ties_go_to_the_first_patches(system):
    x = np.repeat(system.inputs(1, integers=True)["x"][:, :1], 5, 1)
    system.check("equal patches", {"x": x}, exact=True)


def trap_gate_on_the_input_of_a_homogeneous_expert_is_a_gate_on_its_output(system):
    x = system.inputs(5, integers=False)["x"].astype(np.float64)
    want = np.zeros((5, 3))
    for s, patches in enumerate(x):
        for e in range(4):
            gate = gates(patches @ system.weights["router"][e], False)
            for j in np.flatnonzero(gate):
                want[s] += gate[j] * (system.weights["heads"][e] @ np.maximum(system.weights["filters"][e] @ patches[j], 0))
    system.compare("output scaled", system.run({"x": x.astype(np.float32)})["y"], want)


def trap_a_patch_may_be_taken_by_none_or_by_all(system):
    x = system.inputs(200, integers=False)["x"]
    weights = {name: value.astype(np.float64) for name, value in system.weights.items()}
    counts = {int(count) for patches in x.astype(np.float64)
              for count in sum((gates(patches @ weights["router"][e], False) > 0).astype(int) for e in range(4))}
    assert {0, 1, 2, 3, 4} <= counts
    system.check("taken by none to all", {"x": x})
