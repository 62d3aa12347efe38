"""Several sequences in one call, cut and mixed in many ways: the bits of each sequence alone.

sequences.py TOOLS SCRATCH CC [CC_FLAG...]
One layer with a window of 7 and as many key heads as heads, where tokens that follow each other are worked on together,
and one that sees everything.
"""
import os
import shutil
import subprocess

import numpy as np

import harness
from make_checkpoint import make

VOCABULARY = 97
LENGTHS = (61, 40, 9)


def run(example, piece, calls):
    """Logits of all rows of all calls; a call is a list of (sequence, id)."""
    text = "".join(" ".join(f"{s}:{i}" for s, i in call) + "\n" for call in calls)
    done = subprocess.run([example, str(piece)], input=text.encode(), capture_output=True, cwd="/", timeout=600)
    if done.returncode or done.stderr:
        raise harness.Failure(f"the program ended with {done.returncode}: {done.stderr.decode()}")
    return np.frombuffer(done.stdout, np.float32).reshape(-1, VOCABULARY)


def orders(random):
    """Ways of mixing: the sequence of each token."""
    each = [[s] * n for s, n in enumerate(LENGTHS)]
    yield "one after the other", sum(each, [])
    yield "at random", random.permutation(sum(each, [])).tolist()
    # Runs of 11: a full tile, and three tokens that share one with the next run.
    runs, left = [], list(LENGTHS)
    while any(left):
        for s in range(len(left)):
            runs += [s] * min(11, left[s])
            left[s] -= min(11, left[s])
    yield "in runs", runs


def test(tools, scratch, compiler):
    shutil.rmtree(scratch, ignore_errors=True)
    random = np.random.default_rng(5)
    prompts = [random.integers(3, VOCABULARY, n).tolist() for n in LENGTHS]
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sequences.c")
    for window in (7, None):
        folder = os.path.join(scratch, f"window-{window}")
        make(os.path.join(folder, "checkpoint"), "mixtral", seed=3, num_hidden_layers=1, sliding_window=window,
             num_attention_heads=2, num_key_value_heads=2, vocab_size=VOCABULARY)
        library, example = (os.path.join(folder, name) for name in ("libmodel.so", "sequences"))
        harness.run([os.path.join(tools, "moe-compile"), os.path.join(folder, "checkpoint"), "--emit=shared", "-o", library])
        harness.run([*compiler, "-std=c99", "-Wall", "-Wextra", "-Werror", f"-I{folder}", source, library,
                     "-Wl,-rpath,$ORIGIN", "-o", example])
        alone = [run(example, 1, [[(s, i) for i in prompts[s]]]) for s in range(len(prompts))]
        for title, order in orders(random):
            next_of, tokens, wanted = [0] * len(prompts), [], []
            for s in order:
                tokens.append((s, prompts[s][next_of[s]]))
                wanted.append(alone[s][next_of[s]])
                next_of[s] += 1
            for piece in (1, 7, 16, 0):
                for size in (len(tokens), 13):
                    calls = [tokens[i : i + size] for i in range(0, len(tokens), size)]
                    what = f"window {window}, {title}, pieces of {piece}, calls of {size}"
                    harness.check_bits(what, run(example, piece, calls), np.array(wanted))
    print("3 sequences mixed in 3 ways, cut in 8: the same bits")


if __name__ == "__main__":
    harness.main(test, __doc__)
