"""One attention and one expert layer: every prefix, every way to the same logits, the same bits.

bitwise.py TOOLS SCRATCH WINDOW [HEADS/KEY_HEADS] [MOE_COMPILE_FLAG...]      WINDOW is 3, 7 or none
A cache that holds NaN where nothing was written shows a key that is masked by a zero instead of skipped.
"""
import os
import shutil

import numpy as np

import harness
from decoder import Decoder
from make_checkpoint import make

TOKENS = 40


def test(tools, scratch, arguments):
    window, flags = arguments[0], arguments[1:]
    heads = flags.pop(0) if flags and "/" in flags[0] else "3/1"
    shutil.rmtree(scratch, ignore_errors=True)
    folder = os.path.join(scratch, "checkpoint")
    # 13 experts and 3 of them a token: among 40 tokens groups of every size from none to several tiles' rows occur.
    make(folder, "mixtral", seed=7, num_hidden_layers=1, num_local_experts=13, num_experts_per_tok=3,
         sliding_window=None if window == "none" else int(window), num_attention_heads=int(heads.split("/")[0]),
         num_key_value_heads=int(heads.split("/")[1]))
    prompt = np.random.default_rng(7).integers(3, 97, TOKENS)
    program = harness.compile_program(tools, folder, os.path.join(scratch, "program"), flags)
    logits = program.logits(prompt)
    harness.check_close("logits", logits, Decoder(folder).forward(prompt)[0].astype(np.float32))
    for length in range(1, TOKENS):
        got = program.logits(prompt[:length], "--poison-cache", "--threads", str(1 + length % 2))
        harness.check_bits(f"the first {length} tokens alone", got, logits[:length])
    for threads in ("1", "2"):
        for piece in ("1", "2", "3", "16", "39"):
            got = program.logits(prompt, "--prefill-chunk", piece, "--threads", threads, "--poison-cache")
            harness.check_bits(f"pieces of {piece} on {threads} threads", got, logits)
    # Room for other contexts: rings of other sizes.
    for context in (TOKENS, TOKENS + 9, 256):
        got = program.logits(prompt, "--context", str(context), "--prefill-chunk", "5", "--poison-cache")
        harness.check_bits(f"a context of {context}", got, logits)
    # The same token in company of others that choose the same experts, and of none that do.
    for first in (5, 50):
        company = np.concatenate([prompt[:20], np.full(60, first)])
        harness.check_bits(f"in company of 60 times {first}", program.logits(company)[:20], logits[:20])
    print(f"window {window}, heads {heads}: {TOKENS} prefixes, 10 ways of decoding, 2 companies: the same bits")


if __name__ == "__main__":
    harness.main(test, __doc__)
