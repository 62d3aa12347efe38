"""Greedy choices of a step on a device, by language models that are tables: ties, NaN, infinities, sizes of the tree.

choices.py TOOLS SCRATCH MOE_COMPILE_FLAG...
The logits are the row of a word plus the row of a position, so NumPy knows which word follows which, and where.
"""
import os

import harness
import numpy as np
from harness import Failure

SEED = 20
CONTEXT = 48
# One group, one thread, just more than that, two and three levels of 32.
WORDS = (1, 5, 32, 33, 1056)

MODEL = """
module attributes {{moe.language_model = {{vocabulary = {V} : i64, max_context = {C} : i64}}}} {{
  ml_program.global private @words(#moe.source<"words", tensor<{V}x{V}xf32>>) : tensor<{V}x{V}xf32>
  ml_program.global private @places(#moe.source<"places", tensor<{C}x{V}xf32>>) : tensor<{C}x{V}xf32>
  func.func @forward(%tokens: tensor<?xi32> {{moe.name = "tokens", moe.role = "tokens"}},
                     %positions: tensor<?xi32> {{moe.name = "positions", moe.role = "positions"}},
                     %sequences: tensor<?xi32> {{moe.name = "sequences", moe.role = "sequences"}},
                     %first: index {{moe.name = "first_row", moe.role = "first_row"}})
      -> (tensor<?x{V}xf32> {{moe.name = "logits", moe.role = "logits"}}) {{
    %c0 = arith.constant 0 : index
    %all = tensor.dim %tokens, %c0 : tensor<?xi32>
    %rows = arith.subi %all, %first : index
    %token = tensor.extract_slice %tokens[%first] [%rows] [1] : tensor<?xi32> to tensor<?xi32>
    %position = tensor.extract_slice %positions[%first] [%rows] [1] : tensor<?xi32> to tensor<?xi32>
    %words = ml_program.global_load_const @words : tensor<{V}x{V}xf32>
    %places = ml_program.global_load_const @places : tensor<{C}x{V}xf32>
    %empty = tensor.empty(%rows) : tensor<?x{V}xf32>
    %word = moe.gather ins(%words : tensor<{V}x{V}xf32>) at(%token : tensor<?xi32>)
      outs(%empty : tensor<?x{V}xf32>) -> tensor<?x{V}xf32>
    %place = moe.gather ins(%places : tensor<{C}x{V}xf32>) at(%position : tensor<?xi32>)
      outs(%empty : tensor<?x{V}xf32>) -> tensor<?x{V}xf32>
    %logits = arith.addf %word, %place : tensor<?x{V}xf32>
    return %logits : tensor<?x{V}xf32>
  }}
}}
"""


def make_words(rng, count):
    """Rows of small integers with many ties; some with NaN and infinities, some with nothing else; word 0 ends all."""
    words = rng.integers(-1, 3, (count, count)).astype(np.float32)
    for row in words[2::3]:
        row[rng.random(count) < 0.5] = np.nan
        row[rng.random(count) < 0.2] = -np.inf
        row[rng.integers(count)] = -np.inf
    for row in words[3::7]:
        row[rng.random(count) < 0.1] = np.inf
    if count > 4:
        words[4] = np.nan
        words[4, count - 2:] = -np.inf
        words[:, 0] = np.nan
        words[0] = np.nan
        words[1, 0] = np.inf
    return words


def follow(words, places, word, count):
    """The words that follow; None for what has no number at all."""
    ids = []
    for position in range(count):
        logits = words[word] + places[position]
        if np.isnan(logits).all():
            return ids + [None]
        word = int(np.flatnonzero(logits == np.nanmax(logits))[0])
        ids.append(word)
    return ids


def check_start(program, words, places, start):
    want = follow(words, places, start, CONTEXT)
    if None not in want:
        got = program.generate([start], CONTEXT)
        if got != want:
            raise Failure(f"{len(words)} words, from {start}: got {got}, expected {want}")
        return
    try:
        got = program.generate([start], CONTEXT)
    except Failure as failure:
        if "every logit is NaN" in str(failure):
            return
        raise
    raise Failure(f"{len(words)} words, from {start}: got {got}, expected an error: every logit is NaN")


def test(tools, scratch, flags):
    rng = np.random.default_rng(SEED)
    source, path = os.path.join(scratch, "model.mlir"), os.path.join(scratch, "weights.safetensors")
    starts = 0
    for count in WORDS:
        with open(source, "w") as file:
            file.write(MODEL.format(V=count, C=CONTEXT))
        words = make_words(rng, count)
        places = rng.integers(0, 2, (CONTEXT, count)).astype(np.float32)
        harness.safetensors.save(path, {"words": words, "places": places})
        program = harness.compile_program(tools, source, os.path.join(scratch, "program"), [f"--weights={path}", *flags])
        for start in sorted({*range(min(count, 8)), count // 2, count - 1}):
            check_start(program, words, places, start)
            starts += 1
    print(f"{starts} texts by tables")


if __name__ == "__main__":
    harness.main(test, __doc__)
