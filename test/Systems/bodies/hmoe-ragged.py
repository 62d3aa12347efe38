"""HMoE: the two experts of highest softmax score, each a gated block of its own width, weighed by the scores."""
import numpy as np

WIDTHS = (8, 8, 20, 40)
BANKS = ((0, 0), (0, 1), (1, 0), (2, 0))  # class and number in the class


def weights(rng, weights):
    for part in ("gate", "up", "down"):
        padded = weights[part + "_padded"]
        padded[:] = 0
        for e, (kind, number) in enumerate(BANKS):
            own = weights[f"{part}{kind}"][number]
            padded[e, : own.shape[0], : own.shape[1]] = own


def oracle(weights, x):
    y = np.zeros_like(x)
    for t, row in enumerate(x):
        z = weights["router"] @ row
        p = (np.exp(z - z.max()) / np.exp(z - z.max()).sum()).astype(np.float32)
        for e in np.argsort(-p, kind="stable")[:2]:
            gate, up, down = (weights[f"{part}{BANKS[e][0]}"][BANKS[e][1]] for part in ("gate", "up", "down"))
            h = gate @ row
            y[t] += p[e] * (down @ (h / (1 + np.exp(-h)) * (up @ row)))
    return y


def trap_padding_with_zeros_changes_no_bit(system):
    for tokens in (1, 13, 37):
        inputs = system.inputs(tokens, integers=False)
        system.compare("padded", system.run(inputs, "padded")["y"], system.run(inputs)["y"], exact=True)


def trap_one_class_takes_all_rows(system):
    """Rows that only the widest expert, or only the two small ones, want: other classes get none."""
    rng = np.random.default_rng(3)
    rows = rng.integers(-1, 2, (400, 24)).astype(np.float32)
    order = np.argsort(-(rows @ system.weights["router"].T), axis=-1, kind="stable")
    small = rows[(order[:, :2] < 2).all(-1)]
    wide = rows[order[:, 0] == 3]
    assert len(small) > 5 and len(wide) > 5
    system.check("small experts only", {"x": small}, exact=True)
    system.check("the wide expert first", {"x": np.repeat(wide[:1], 9, 0)}, exact=True)
