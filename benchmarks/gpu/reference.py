"""What a layer of experts must give for some of its tokens, in NumPy, and how far off a result may be.

Bounds. Let R of an element be sqrt(sum over slots and h of (share * h * down)^2), A the sum over slots of |share *
out|. Rounding to bf16 has the relative error r = models.BF16_ROUNDING as root mean square. A program that rounds h
alone adds independent errors of r * R; the largest of tens of thousands is about four times that, and three times this
is left: 12 r R, and 2^-8 |y| for the result's own rounding. Other implementations round both products, the activation,
the product of the two, each expert's result, its weighted share and the partial sums: 12 r (sqrt(5) R + 2 A). Routers
that compute in bf16 also move each logit by 2^-8 of the largest, and shares by twice as much of themselves. Elements
are of the size of R and of A / sqrt(slots), so that a missing term, a wrong expert or a wrong share is far outside.
"""
import numpy as np

from models import BF16_ROUNDING
from workloads import to_bf16, to_float

MOST_TOKENS = 4


def select(model, logits):
    """Chosen experts and their shares, of logits in float64."""
    if not model.groups:
        ids = np.argsort(-logits, axis=1, kind="stable")[:, : model.slots]
        kept = np.take_along_axis(logits, ids, 1)
        shares = np.exp(kept - kept.max(1, keepdims=True))
        return ids, shares / shares.sum(1, keepdims=True)
    scores = 1 / (1 + np.exp(-logits))
    groups = scores.reshape(len(scores), model.groups, -1)
    best = np.sort(groups, axis=2)[:, :, -2:].sum(2)
    out = np.argsort(-best, axis=1, kind="stable")[:, model.kept:]
    limited = groups.copy()
    np.put_along_axis(limited, out[:, :, None], -np.inf, 1)
    ids = np.argsort(-limited.reshape(scores.shape), axis=1, kind="stable")[:, : model.slots]
    shares = np.take_along_axis(scores, ids, 1)
    return ids, shares / shares.sum(1, keepdims=True) * model.scale


def clear_tokens(model, x, router):
    """Tokens whose experts stay the same when logits move as in bf16, and the float64 logits of all that were tried."""
    some = np.unique(np.linspace(0, len(x) - 1, min(len(x), 64)).astype(int))
    logits = to_float(x[some]).astype(np.float64) @ to_float(router).astype(np.float64).T
    random, same = np.random.default_rng(0), np.ones(len(some), bool)
    want = np.sort(select(model, logits)[0])
    for _ in range(8):
        noise = random.uniform(-(2.0**-8), 2.0**-8, logits.shape) * np.abs(logits).max(1, keepdims=True)
        same &= (np.sort(select(model, logits + noise)[0]) == want).all(1)
    return some[same], logits[same]


class Reference:
    """The right rows of some tokens for one region, and what rounding may do to them."""

    def __init__(self, model, weights, x, ids, shares, tokens, router_noise=0.0):
        self.tokens = tokens[:MOST_TOKENS]
        self.y, self.root, self.sizes = (np.zeros((len(self.tokens), model.hidden)) for _ in range(3))
        self.router_noise = router_noise
        for place, token in enumerate(self.tokens):
            row = to_float(x[token])
            for expert, share in zip(ids[place], shares[place]):
                # Sums in float32 are off by a thousandth of what a rounding to bf16 is.
                gate, up, down = (to_float(weights[name][expert]) for name in ("gate", "up", "down"))
                gated = gate @ row
                h = gated / (1 + np.exp(-gated)) * (up @ row)
                out = share * (down @ h)
                self.y[place] += out
                self.root[place] += share**2 * (np.square(down, out=down) @ h**2)
                self.sizes[place] += np.abs(out)
        self.root = np.sqrt(self.root)

    def error(self, y, ours):
        """The largest difference as a part of its bound: more than 1 is wrong. `y` holds bf16 bits of all tokens."""
        got = to_float(y[self.tokens]).astype(np.float64)
        if ours:
            limit = 12 * BF16_ROUNDING * self.root + 2.0**-8 * np.abs(self.y)
        else:
            limit = 12 * BF16_ROUNDING * (5**0.5 * self.root + 2 * self.sizes) + self.router_noise * self.sizes
        ratio = np.abs(got - self.y) / limit
        return float(ratio.max()) if np.isfinite(ratio).all() else float("inf")


def of_experts(model, weights, x, ids, shares):
    """The first tokens, the last one, and one of the busiest expert."""
    busiest = np.bincount(ids.reshape(-1)).argmax()
    last_of_it = int(np.nonzero((ids == busiest).any(1))[0][-1])
    tokens = np.array(list(dict.fromkeys([0, len(x) - 1, last_of_it, len(x) // 2])))
    return Reference(model, weights, x, ids[tokens], shares[tokens], tokens)


def of_layer(model, weights, x):
    tokens, logits = clear_tokens(model, x, weights["router"])
    ids, shares = select(model, logits)
    return Reference(model, weights, x, ids, shares, tokens, 2.0**-7 * (1 + float(np.abs(logits).max(initial=0))))
