"""The NumPy decoder with rows rounded to bf16 before each product, as tensor cores have them: how far off such
arithmetic is, seen without a device."""
import numpy as np

import sources
import fused
from decoder import Decoder
from fused import FusedDecoder
from workloads import to_bf16, to_float


class RoundsRows(np.ndarray):
    """A matrix of weights: what it is multiplied with is rounded to bf16 first, itself it is not. With a generator in
    `random` up or down by chance, which makes other errors of about the same size."""

    random = None

    @classmethod
    def round(cls, rows):
        if cls.random:
            # Up to half a unit in the last place to either side.
            rows = rows + np.ldexp(cls.random.uniform(-1, 1, rows.shape), np.frexp(rows)[1] - 9)
        return to_float(to_bf16(rows)).astype(rows.dtype)

    def __array_ufunc__(self, ufunc, method, *inputs, **arguments):
        plain = [value.view(np.ndarray) if isinstance(value, RoundsRows) else value for value in inputs]
        if ufunc is np.matmul:
            plain = [now if isinstance(before, RoundsRows) else self.round(now)
                     for before, now in zip(inputs, plain)]
        return getattr(ufunc, method)(*plain, **arguments)


def is_router(name):
    """Products that decide which experts are chosen stay in f32."""
    return any(name.endswith(end) for end in (".gate.weight", "router.weight", "router.layer.weight"))


def load(folder, rounded=False):
    """The decoder of a checkpoint folder, in float64."""
    kind = fused.load_checkpoint(folder)[0]["model_type"]
    decoder = (FusedDecoder if kind in fused.KINDS else Decoder)(folder)
    if rounded:
        decoder.weights = {name: value if value.ndim < 2 or is_router(name) else value.view(RoundsRows)
                           for name, value in decoder.weights.items()}
    return decoder


DRAWS = 4


def modelled_errors(folder, ids):
    """For each token the largest difference that rounding makes in its logits, over the largest logit: to the nearest,
    and the most of that and of draws by chance."""
    exact = load(folder).forward(ids)[0]
    decoder, errors = load(folder, rounded=True), []
    for draw in range(DRAWS):
        RoundsRows.random = np.random.default_rng(draw) if draw else None
        errors.append(np.abs(decoder.forward(ids)[0] - exact).max(1) / np.abs(exact).max())
    RoundsRows.random = None
    return errors[0], np.max(errors, 0)
