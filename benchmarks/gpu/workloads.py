"""The workloads W0 to W8: one layer of experts of known models, its program, its routing and what it costs at least.

Definitions. bf16 weights and activations, sums in f32, h in bf16 between the two products, f32 combine, bf16 result;
SwiGLU, no bias, no shared expert. Two regions: `experts` is (x, ids, shares) -> y, `layer` is x -> y with the router's
product and the choice. Operations are 6 T K H I, and padding never counts; bytes that must move are (active experts) 6
H I + 4 T H. Weights are arguments of the functions: a program holds none, and all workloads of a model can use the same
ones.
"""
import dataclasses
import math

import numpy as np


@dataclasses.dataclass(frozen=True)
class Model:
    name: str
    hidden: int
    width: int
    experts: int
    slots: int
    groups: int = 0  # not 0: sigmoid scores, and a choice limited to the `kept` best groups
    kept: int = 0
    scale: float = 1.0

    def shrunken(self, factor):
        """A model of the same form for rehearsals: multiples of 8, and as many experts as its choice needs."""
        part = lambda size, least: max(least, size // factor // 8 * 8)
        experts = part(self.experts, max(2 * self.slots, 4 * self.groups))
        return dataclasses.replace(self, hidden=part(self.hidden, 16), width=part(self.width, 8), experts=experts)


MODELS = {
    "olmoe": Model("OLMoE", 2048, 1024, 64, 8),
    "qwen3": Model("Qwen3-30B-A3B", 2048, 768, 128, 8),
    "mixtral": Model("Mixtral-8x7B", 4096, 14336, 8, 2),
    "deepseek": Model("DeepSeek-V3", 7168, 2048, 256, 8, groups=8, kept=4, scale=2.5),
    "wide": Model("a 120B model", 4096, 1024, 128, 8),
}
# Tokens, and routings.
WORKLOADS = {
    "W0": ("olmoe", 2048, ["uniform", "zipf1"]), "W1": ("qwen3", 1, ["uniform"]), "W2": ("qwen3", 64, ["zipf1"]),
    "W3": ("qwen3", 4096, ["uniform", "zipf1", "hot"]), "W4": ("qwen3", 32768, ["uniform"]),
    "W5": ("mixtral", 4096, ["uniform", "zipf1"]), "W6": ("deepseek", 512, ["uniform"]),
    "W7": ("deepseek", 4096, ["uniform", "zipf1"]), "W8": ("wide", 32768, ["uniform"]),
}


def tokens_of(name, factor=1):
    """Tokens of a workload, fewer where it is shrunken."""
    return max(1, WORKLOADS[name][1] // factor)


def flops(model, tokens):
    return 6 * tokens * model.slots * model.hidden * model.width


def least_bytes(model, tokens, active):
    return active * 6 * model.hidden * model.width + 4 * tokens * model.hidden


# --- Routing -------------------------------------------------------------

def choose(model, tokens, kind, seed):
    """Ids [tokens, slots], in descending order of their logits, and shares, the softmax of these.

    A logit is the logarithm of the expert's weight plus Gumbel noise from a counter-based generator, so the chosen are
    a draw of distinct experts in proportion to the weights. `uniform`: all equal. `zipf1`: 1 / rank, ranks shuffled by
    the seed. `hot`: uniform, and half of the tokens have one expert forced upon them."""
    random = np.random.Generator(np.random.Philox(seed))
    logits = random.gumbel(size=(tokens, model.experts))
    if kind == "zipf1":
        logits -= np.log(random.permutation(model.experts) + 1.0)
    elif kind == "hot":
        logits[random.permutation(tokens)[: tokens // 2], random.integers(model.experts)] = logits.max() + 1
    ids = np.argsort(-logits, axis=1, kind="stable")[:, : model.slots]
    kept = np.take_along_axis(logits, ids, 1)
    shares = np.exp(kept - kept.max(1, keepdims=True))
    return ids.astype(np.int32), (shares / shares.sum(1, keepdims=True)).astype(np.float32)


def load_of(ids, experts):
    """Experts with rows, and the most rows of one over the mean of all."""
    rows = np.bincount(ids.reshape(-1), minlength=experts)
    return int((rows > 0).sum()), float(rows.max() / rows.mean())


# --- Programs ------------------------------------------------------------

HEAD = """
#rows = affine_map<(m, n, k) -> (m, k)>
#weight = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(i, j) -> (i, j)>
!wide = tensor<{E}x{I}x{H}xbf16>
!narrow = tensor<{E}x{H}x{I}xbf16>
!wide_bank = !moe.bank<!wide>
!narrow_bank = !moe.bank<!narrow>
!routing = !moe.routing<? x {E}, slots = {K}>
"""

BODY = """
func.func private @body(%x: tensor<?x{H}xf32>, %routing: !routing, %gate: !wide, %up: !wide, %down: !narrow)
    -> tensor<?x{H}xbf16> {{
  %g = moe.make_bank %gate : !wide -> !wide_bank
  %u = moe.make_bank %up : !wide -> !wide_bank
  %d = moe.make_bank %down : !narrow -> !narrow_bank
  %y = moe.experts rows(%x : tensor<?x{H}xf32>) routed_by(%routing : !routing)
         banks(%g, %u, %d : !wide_bank, !wide_bank, !narrow_bank) combine(#moe.weighted_sum) -> tensor<?x{H}xf32> {{
  ^bb0(%own: tensor<?x{H}xf32>, %a: tensor<{I}x{H}xbf16>, %b: tensor<{I}x{H}xbf16>, %c: tensor<{H}x{I}xbf16>):
    %zero = arith.constant 0.0 : f32
    %one = arith.constant 1.0 : f32
    %first = arith.constant 0 : index
    %count = tensor.dim %own, %first : tensor<?x{H}xf32>
    %w = tensor.empty(%count) : tensor<?x{I}xf32>
    %wz = linalg.fill ins(%zero : f32) outs(%w : tensor<?x{I}xf32>) -> tensor<?x{I}xf32>
    %gated = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%own, %a : tensor<?x{H}xf32>, tensor<{I}x{H}xbf16>) outs(%wz : tensor<?x{I}xf32>) -> tensor<?x{I}xf32>
    %raised = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%own, %b : tensor<?x{H}xf32>, tensor<{I}x{H}xbf16>) outs(%wz : tensor<?x{I}xf32>) -> tensor<?x{I}xf32>
    %h = linalg.generic {{indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel"]}}
      ins(%gated, %raised : tensor<?x{I}xf32>, tensor<?x{I}xf32>) outs(%w : tensor<?x{I}xf32>) {{
    ^bb1(%p: f32, %q: f32, %unused: f32):
      %n = arith.negf %p : f32
      %e = math.exp %n : f32
      %s = arith.addf %e, %one : f32
      %t = arith.divf %p, %s : f32
      %r = arith.mulf %t, %q : f32
      linalg.yield %r : f32
    }} -> tensor<?x{I}xf32>
    %v = tensor.empty(%count) : tensor<?x{H}xf32>
    %vz = linalg.fill ins(%zero : f32) outs(%v : tensor<?x{H}xf32>) -> tensor<?x{H}xf32>
    %o = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%h, %c : tensor<?x{I}xf32>, tensor<{H}x{I}xbf16>) outs(%vz : tensor<?x{H}xf32>) -> tensor<?x{H}xf32>
    moe.yield %o : tensor<?x{H}xf32>
  }}
  %z = arith.truncf %y : tensor<?x{H}xf32> to tensor<?x{H}xbf16>
  return %z : tensor<?x{H}xbf16>
}}

func.func @experts(%x: tensor<?x{H}xbf16> {{moe.name = "x"}}, %ids: tensor<?x{K}xi32> {{moe.name = "ids"}},
    %shares: tensor<?x{K}xf32> {{moe.name = "shares"}}, %gate: !wide {{moe.name = "gate"}},
    %up: !wide {{moe.name = "up"}}, %down: !narrow {{moe.name = "down"}}) -> (tensor<?x{H}xbf16> {{moe.name = "y"}}) {{
  %rows = arith.extf %x : tensor<?x{H}xbf16> to tensor<?x{H}xf32>
  %routing = moe.make_routing %ids, %shares : tensor<?x{K}xi32>, tensor<?x{K}xf32> -> !routing
  %y = call @body(%rows, %routing, %gate, %up, %down)
    : (tensor<?x{H}xf32>, !routing, !wide, !wide, !narrow) -> tensor<?x{H}xbf16>
  return %y : tensor<?x{H}xbf16>
}}

func.func @layer(%x: tensor<?x{H}xbf16> {{moe.name = "x"}}, %router: tensor<{E}x{H}xbf16> {{moe.name = "router"}},
    %gate: !wide {{moe.name = "gate"}}, %up: !wide {{moe.name = "up"}}, %down: !narrow {{moe.name = "down"}})
    -> (tensor<?x{H}xbf16> {{moe.name = "y"}}) {{
  %zero = arith.constant 0.0 : f32
  %first = arith.constant 0 : index
  %rows = arith.extf %x : tensor<?x{H}xbf16> to tensor<?x{H}xf32>
  %tokens = tensor.dim %x, %first : tensor<?x{H}xbf16>
  %empty = tensor.empty(%tokens) : tensor<?x{E}xf32>
  %zeros = linalg.fill ins(%zero : f32) outs(%empty : tensor<?x{E}xf32>) -> tensor<?x{E}xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%rows, %router : tensor<?x{H}xf32>, tensor<{E}x{H}xbf16>) outs(%zeros : tensor<?x{E}xf32>) -> tensor<?x{E}xf32>
  %routing = moe.select %logits {choice} : tensor<?x{E}xf32> -> !routing
  %y = call @body(%rows, %routing, %gate, %up, %down)
    : (tensor<?x{H}xf32>, !routing, !wide, !wide, !narrow) -> tensor<?x{H}xbf16>
  return %y : tensor<?x{H}xbf16>
}}
"""


def source(model):
    """A module with the functions `experts` and `layer`."""
    choice = f"policy(#moe.top_k<{model.slots}>) score(#moe.softmax) normalize(#moe.sum_to_one)"
    if model.groups:
        choice = (f"policy(#moe.group_limited_top_k<k = {model.slots}, groups = {model.groups}, keep = {model.kept}, "
                  f"judge = top2_sum>) score(#moe.sigmoid) normalize(#moe.sum_to_one) scale({model.scale})")
    sizes = {"H": model.hidden, "I": model.width, "E": model.experts, "K": model.slots}
    return HEAD.format(**sizes) + BODY.format(choice=choice, **sizes)


# --- Data ----------------------------------------------------------------

POOL = 16777259  # a prime, so that no two rows of a matrix begin alike


def to_bf16(values):
    """float32 to the bits of bf16, to the nearest even."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def to_float(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


class Numbers:
    """Normal numbers in bf16, a pool of them drawn once from a counter-based generator. A tensor reads the pool in a
    circle from a place of its own, so that gigabytes take the time of a copy. (Zeros or constants would let the card
    run faster.)"""

    def __init__(self, seed, size=POOL):
        self.pool = np.random.Generator(np.random.Philox(seed)).standard_normal(size, np.float32)

    def tensor(self, shape, deviation, place):
        pool = to_bf16(self.pool * np.float32(deviation))
        result = np.empty(math.prod(shape), np.uint16)
        start = place % len(pool)
        for begin in range(-start, len(result), len(pool)):
            end = min(begin + len(pool), len(result))
            result[max(begin, 0): end] = pool[max(begin, 0) - begin: end - begin]
        return result.reshape(shape)

    def weights(self, model):
        """Router, gate, up and down as the programs take them; products keep about the size of what they multiply."""
        e, h, i = model.experts, model.hidden, model.width
        return {"router": self.tensor((e, h), h**-0.5, 1), "gate": self.tensor((e, i, h), h**-0.5, 1234567),
                "up": self.tensor((e, i, h), h**-0.5, 7654321), "down": self.tensor((e, h, i), i**-0.5, 4567890)}

    def rows(self, model, tokens):
        return self.tensor((tokens, model.hidden), 1.0, 9999991)
