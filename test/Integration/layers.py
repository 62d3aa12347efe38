"""Compiles hand-written layers and checks them exactly, on small integers, against NumPy: the edge list.

layers.py TOOLS SCRATCH CASE... [-- MOE_COMPILE_FLAG...]
Every lowering, the fast and --moe-reference, must give the numbers that NumPy gives, without any difference.

Why exact: rows and weights are -1, 0 or 1, so products of the gate and up projections are integers of at most H,
their gated product of at most H^2, the output of at most H^2 F, and what a token sums of at most 2 k H^2 F, which
`check_bound` holds below 2^24: every partial sum in any order is an integer that float32 holds.
"""
import os

import numpy as np

import harness
from harness import safetensors

# The experts, as both layers below have them: relu(gate) * up, then down.
EXPERTS = """
  %gate = ml_program.global_load_const @gate : {BankIn}
  %up = ml_program.global_load_const @up : {BankIn}
  %down = ml_program.global_load_const @down : {BankOut}
  %y = moe.experts rows(%x : tensor<?x{H}xf32>) routed_by(%routing : !moe.routing<? x {E}, slots = {k}>)
         banks(%gate, %up, %down : {BankIn}, {BankIn}, {BankOut})
         combine(#moe.weighted_sum) -> tensor<?x{H}xf32> {{
  ^bb0(%rows: tensor<?x{H}xf32>, %g: tensor<{F}x{H}xf32>, %u: tensor<{F}x{H}xf32>, %d: tensor<{H}x{F}xf32>):
    %zero = arith.constant 0.0 : f32
    %c0 = arith.constant 0 : index
    %count = tensor.dim %rows, %c0 : tensor<?x{H}xf32>
    %wide = tensor.empty(%count) : tensor<?x{F}xf32>
    %wide_zero = linalg.fill ins(%zero : f32) outs(%wide : tensor<?x{F}xf32>) -> tensor<?x{F}xf32>
    %gated = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%rows, %g : tensor<?x{H}xf32>, tensor<{F}x{H}xf32>) outs(%wide_zero : tensor<?x{F}xf32>) -> tensor<?x{F}xf32>
    %raised = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%rows, %u : tensor<?x{H}xf32>, tensor<{F}x{H}xf32>) outs(%wide_zero : tensor<?x{F}xf32>) -> tensor<?x{F}xf32>
    %h = linalg.generic {{indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel"]}}
      ins(%gated, %raised : tensor<?x{F}xf32>, tensor<?x{F}xf32>) outs(%wide : tensor<?x{F}xf32>) {{
    ^bb0(%a: f32, %b: f32, %unused: f32):
      %positive = arith.maximumf %a, %zero : f32
      %product = arith.mulf %positive, %b : f32
      linalg.yield %product : f32
    }} -> tensor<?x{F}xf32>
    %narrow = tensor.empty(%count) : tensor<?x{H}xf32>
    %narrow_zero = linalg.fill ins(%zero : f32) outs(%narrow : tensor<?x{H}xf32>) -> tensor<?x{H}xf32>
    %out = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%h, %d : tensor<?x{F}xf32>, tensor<{H}x{F}xf32>) outs(%narrow_zero : tensor<?x{H}xf32>) -> tensor<?x{H}xf32>
    moe.yield %out : tensor<?x{H}xf32>
  }}
"""

LAYER = """
#rows = affine_map<(m, n, k) -> (m, k)>
#weight = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(i, j) -> (i, j)>

ml_program.global private @gate(#moe.bank_recipe<[#moe.source<"gate", tensor<{E}x{F}x{H}xf32>>]>) : {BankIn}
ml_program.global private @up(#moe.bank_recipe<[#moe.source<"up", tensor<{E}x{F}x{H}xf32>>]>) : {BankIn}
ml_program.global private @down(#moe.bank_recipe<[#moe.source<"down", tensor<{E}x{H}x{F}xf32>>]>) : {BankOut}
ml_program.global private @router(#moe.source<"router", tensor<{E}x{H}xf32>>) : tensor<{E}x{H}xf32>

// Routing from outside: ids and weights are arguments.
func.func @given(%x: tensor<?x{H}xf32> {{moe.name = "x"}}, %ids: tensor<?x{k}xi32> {{moe.name = "ids"}},
                 %weights: tensor<?x{k}xf32> {{moe.name = "weights"}}) -> (tensor<?x{H}xf32> {{moe.name = "y"}}) {{
  %routing = moe.make_routing %ids, %weights : tensor<?x{k}xi32>, tensor<?x{k}xf32> -> !moe.routing<? x {E}, slots = {k}>
{Experts}  return %y : tensor<?x{H}xf32>
}}

// The choice alone: scores are the logits, so nothing is rounded.
func.func @choice(%logits: tensor<?x{E}xf32> {{moe.name = "logits"}})
    -> (tensor<?x{k}xi32> {{moe.name = "ids"}}, tensor<?x{k}xf32> {{moe.name = "weights"}}) {{
  %routing = moe.select %logits policy(#moe.top_k<{k}>) score(#moe.identity) normalize(#moe.keep)
    : tensor<?x{E}xf32> -> !moe.routing<? x {E}, slots = {k}>
  %ids, %weights = moe.routing_parts %routing : !moe.routing<? x {E}, slots = {k}> -> tensor<?x{k}xi32>, tensor<?x{k}xf32>
  return %ids, %weights : tensor<?x{k}xi32>, tensor<?x{k}xf32>
}}

// Router product, choice and experts in one: the logits are integers and come out of a product.
func.func @routed(%x: tensor<?x{H}xf32> {{moe.name = "x"}}) -> (tensor<?x{H}xf32> {{moe.name = "y"}}) {{
  %logit_zero = arith.constant 0.0 : f32
  %first = arith.constant 0 : index
  %tokens = tensor.dim %x, %first : tensor<?x{H}xf32>
  %empty = tensor.empty(%tokens) : tensor<?x{E}xf32>
  %init = linalg.fill ins(%logit_zero : f32) outs(%empty : tensor<?x{E}xf32>) -> tensor<?x{E}xf32>
  %r = ml_program.global_load_const @router : tensor<{E}x{H}xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %r : tensor<?x{H}xf32>, tensor<{E}x{H}xf32>) outs(%init : tensor<?x{E}xf32>) -> tensor<?x{E}xf32>
  %routing = moe.select %logits policy(#moe.top_k<{k}>) score(#moe.identity) normalize(#moe.keep)
    : tensor<?x{E}xf32> -> !moe.routing<? x {E}, slots = {k}>
{Experts}  return %y : tensor<?x{H}xf32>
}}
"""

# Sizes: hidden, expert width, experts, slots. Tails of every tile: 1, a prime, one more than a vector, whole vectors.
CASES = {
    "tails": dict(H=52, F=37, E=7, k=2),
    "whole-vectors": dict(H=64, F=32, E=8, k=2),
    "one-of-everything": dict(H=1, F=1, E=1, k=1),
    "top-1": dict(H=33, F=17, E=7, k=1),
    "all-experts": dict(H=29, F=31, E=7, k=7),
    "64-experts": dict(H=17, F=15, E=64, k=8),
}
SEED = 5


def layer_text(E, F, H, k):
    sizes = {"E": E, "F": F, "H": H, "k": k, "BankIn": f"!moe.bank<tensor<{E}x{F}x{H}xf32>>",
             "BankOut": f"!moe.bank<tensor<{E}x{H}x{F}xf32>>"}
    return LAYER.format(Experts=EXPERTS.format(**sizes), **sizes)


def check_bound(H, F, E, k):
    assert 2 * k * H * H * F < 2**24, "the sums of this case are too large to be exact"


def small(rng, *shape):
    return rng.integers(-1, 2, shape).astype(np.float32)


def expected_layer(x, ids, weights, bank):
    y = np.zeros_like(x)
    for token in range(len(x)):
        for expert, weight in zip(ids[token], weights[token]):
            if expert >= 0:
                h = np.maximum(bank["gate"][expert] @ x[token], 0) * (bank["up"][expert] @ x[token])
                y[token] += weight * (bank["down"][expert] @ h)
    return y


def expected_choice(logits, k):
    """The k highest, the lower index first on ties, NaN below everything."""
    key = np.where(np.isnan(logits), -np.inf, logits)
    order = np.lexsort((np.broadcast_to(np.arange(logits.shape[1]), logits.shape), -key, np.isnan(logits)), axis=-1)
    ids = order[:, :k].astype(np.int32)
    return ids, np.take_along_axis(logits, ids, -1)


def distinct_ids(rng, tokens, E, k):
    return np.stack([rng.permutation(E)[:k] for _ in range(tokens)] or [np.zeros(k)]).astype(np.int32)[:tokens]


def routings(rng, E, k):
    """The edge list: name -> ids [tokens, k]."""
    yield "zero tokens", np.zeros((0, k), np.int32)
    yield "one token", distinct_ids(rng, 1, E, k)
    for tokens in (2, 3, 4, 5, 11, 12, 13, 37, 161):  # around the tiles of a kernel, multiples of none
        yield f"{tokens} tokens", distinct_ids(rng, tokens, E, k)
    ids = distinct_ids(rng, 40, E, k)
    ids[:, 0] = E // 2
    ids[:, 1:] = np.where(ids[:, 1:] == E // 2, -1, ids[:, 1:])
    yield "one expert of every token", ids
    ids = np.full((75, k), -1, np.int32)
    ids[:, 0] = E - 1
    yield "all tokens on the last expert, the other slots empty", ids
    yield "no expert at all", np.full((9, k), -1, np.int32)
    if E > 2:
        # Groups of 1, 0, 30, 2, 0, 13 ... rows: boundaries lie inside tiles, and some groups are empty.
        pattern = [0] + [2 % E] * 30 + [3 % E] * 2 + [5 % E] * 13
        ids = np.full((len(pattern), k), -1, np.int32)
        ids[:, 0] = rng.permutation(pattern)
        yield "boundaries inside tiles and empty groups", ids


def logit_cases(rng, E):
    yield "zero tokens", np.zeros((0, E), np.float32)
    yield "random", rng.standard_normal((33, E)).astype(np.float32)
    yield "ties", rng.integers(0, 2, (50, E)).astype(np.float32)
    yield "all equal", np.full((5, E), 0.25, np.float32)
    yield "zeros of both signs", np.where(rng.random((20, E)) < 0.5, np.float32(0), np.float32(-0.0))
    special = rng.standard_normal((60, E)).astype(np.float32)
    special[rng.random((60, E)) < 0.3] = np.nan
    special[rng.random((60, E)) < 0.2] = np.inf
    special[rng.random((60, E)) < 0.2] = -np.inf
    special[0], special[1], special[2] = np.nan, np.inf, -np.inf
    yield "NaN and infinities", special


def test_case(tools, scratch, name, flags):
    sizes = CASES[name]
    check_bound(**sizes)
    H, F, E, k = (sizes[key] for key in "HFEk")
    rng = np.random.default_rng(SEED)
    bank = {"gate": small(rng, E, F, H), "up": small(rng, E, F, H), "down": small(rng, E, H, F), "router": small(rng, E, H)}
    source, weights_file = os.path.join(scratch, "layer.mlir"), os.path.join(scratch, "weights.safetensors")
    with open(source, "w") as file:
        file.write(layer_text(**sizes))
    safetensors.save(weights_file, bank)
    checks = 0
    program = harness.compile_program(
        tools, source, os.path.join(scratch, "program"), [f"--weights={weights_file}", *flags])
    for what, ids in routings(np.random.default_rng(SEED), E, k):
        x = small(rng, len(ids), H)
        weights = rng.integers(1, 3, ids.shape).astype(np.float32)
        got = program.call("given", {"x": x, "ids": ids, "weights": weights})["y"]
        harness.check_equal(f"given, {what}", got, expected_layer(x, ids, weights, bank))
        checks += 1
    for what, logits in logit_cases(np.random.default_rng(SEED), E):
        got = program.call("choice", {"logits": logits})
        ids, weights = expected_choice(logits, k)
        harness.check_equal(f"choice, ids of {what}", got["ids"], ids)
        harness.check_equal(f"choice, weights of {what}", got["weights"], weights)
        checks += 2
    for tokens in (0, 1, 4, 13, 100):
        # Sparse rows keep the router's logits, which weigh the experts here, at 2 or below.
        x = small(rng, tokens, H) * (rng.random((tokens, H)) < 2 / H)
        x[np.abs(x).sum(-1) > 2] = 0
        x = x.astype(np.float32)
        ids, weights = expected_choice(x @ bank["router"].T, k)
        got = program.call("routed", {"x": x})["y"]
        harness.check_equal(f"routed, {tokens} tokens", got, expected_layer(x, ids, weights, bank))
        checks += 1
    print(f"{name}: {checks} results exact")


if __name__ == "__main__":
    harness.main_of_cases(CASES, SEED, test_case, __doc__)
