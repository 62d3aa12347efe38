"""What --max-tokens means when a program runs: a function takes so many rows and no more, and a language model computes
longer calls in pieces of as many tokens, with the same bits.

max_tokens.py MOE_BIN DRIVER SCRATCH MODEL
"""
import os
import subprocess
import sys

import numpy as np

TOOLS, DRIVER, SCRATCH, MODEL = sys.argv[1:]
HERE = os.path.dirname(os.path.abspath(__file__))


def file(name):
    return os.path.join(SCRATCH, name)


def check(condition, *what):
    if not condition:
        raise SystemExit(" ".join(map(str, what)))


def compile_for(source, most):
    subprocess.run([os.path.join(TOOLS, "moe-compile"), source, "--target=nvptx", "--chip=host", f"--max-tokens={most}",
                    "-o", file("program")], check=True)
    version = subprocess.run([file("program"), "--version"], check=True, capture_output=True, text=True).stdout
    check(f"--max-tokens={most} " in version, "recorded options:", version)


def run(*arguments):
    """The result of a run and what it wrote, or None."""
    out = file("out.npy")
    if os.path.exists(out):
        os.remove(out)
    result = subprocess.run([file("program"), *arguments, out, "--driver", DRIVER], capture_output=True, text=True)
    return result, np.load(out) if os.path.exists(out) else None


def check_rows(most, fitting, more):
    compile_for(os.path.join(HERE, "Inputs", "double.mlir"), most)
    for rows in fitting + more:
        x = np.arange(rows * 8, dtype=np.float32).reshape(rows, 8)
        np.save(file("x.npy"), x)
        result, y = run("--function", "double", "--inputs", file("x.npy"), "--outputs")
        if rows in fitting:
            check(result.returncode == 0 and np.array_equal(y, 2 * x * x), rows, "of", most, result, y)
            continue
        check(result.returncode == 1 and y is None, rows, "of", most, "leaves an output", result)
        check(result.stderr == f"error: input 'x' of 'double': got {rows} rows, the program was compiled for at most {most} "
              "at once; call it for fewer, or compile it with another --max-tokens\n", result.stderr)
    print(f"at most {most}: {fitting} rows computed, {more} refused", flush=True)


def check_pieces():
    np.save(file("ids.npy"), np.arange(3, 24))
    want = None
    for most in (2048, 1, 20):
        compile_for(MODEL, most)
        result, logits = run("--tokens", file("ids.npy"), "--logits")
        check(result.returncode == 0 and logits.shape[0] == 21, most, result)
        want = logits if want is None else want
        check(np.array_equal(logits.view(np.uint32), want.view(np.uint32)), most, "tokens at once give other bits")
        print(f"21 tokens, at most {most} at once: the same bits", flush=True)


os.makedirs(SCRATCH, exist_ok=True)
check_rows(1, [0, 1], [2])
check_rows(37, [0, 1, 36, 37], [38, 5000])
check_rows(2**31 - 1, [0, 3], [])
check_pieces()
