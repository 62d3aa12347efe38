"""Every kernel class, forced in turn on a whole model: the same bits for every class, prefix, cut and thread count.

classes.py TOOLS SCRATCH
"""
import os
import shutil

import numpy as np

import harness
from decoder import Decoder
from make_checkpoint import make

CLASSES = ("single", "few", "full")
TOKENS = 61


def test(tools, scratch, arguments):
    shutil.rmtree(scratch, ignore_errors=True)
    folder = os.path.join(scratch, "checkpoint")
    # Among 61 tokens with 3 of 5 experts each, groups have more rows than a full tile and some leave a remainder; a
    # shared expert is a group of all rows.
    make(folder, "qwen2_moe", seed=11, num_hidden_layers=2, num_experts=5, num_experts_per_tok=3)
    prompt = np.random.default_rng(11).integers(3, 97, TOKENS)
    program = harness.compile_program(tools, folder, os.path.join(scratch, "program"))
    logits = program.logits(prompt)
    harness.check_close("logits", logits, Decoder(folder).forward(prompt)[0].astype(np.float32))
    for name in CLASSES:
        forced = harness.compile_program(tools, folder, os.path.join(scratch, name), [f"--force-class={name}"])
        for threads in ("1", "2"):
            title = f"class {name} on {threads} threads"
            harness.check_bits(title, forced.logits(prompt, "--threads", threads), logits)
            for chunk in ("1", "7"):
                got = forced.logits(prompt, "--prefill-chunk", chunk, "--threads", threads, "--poison-cache")
                harness.check_bits(f"{title}, {chunk} tokens at a time", got, logits)
        for length in (1, 2, 3, 4, 5, 12, 13, 60):
            harness.check_bits(f"class {name}, the first {length} tokens", forced.logits(prompt[:length]), logits[:length])
    print(f"{len(CLASSES)} classes, 6 ways and 8 prefixes each: the same bits")


if __name__ == "__main__":
    harness.main(test, __doc__)
