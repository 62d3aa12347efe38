#!/usr/bin/env python3
"""Prepares cases for run.sh on a machine that needs no GPU: checkpoint, program, prompt, and the numbers to compare with.

prepare.py OUT [CASE...] --flags "FLAGS OF moe-compile FOR THE GPU" [--build FOLDER] [--expected TOKENS]
           [--prefill T...] [--decode N] [--arithmetic f32|bf16]
    FLAGS are for example "--target=nvptx --chip=sm_90a"; with --chip=host the stand-in driver of the tests runs them.
    CASE is a name in benchmarks/cases (default: all). OUT/CASE is all that the machine with the GPU needs, with run.sh
    and pieces.py.
"""
import argparse
import json
import os
import shlex
import subprocess
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
BENCHMARKS = os.path.dirname(HERE)
ROOT = os.path.dirname(BENCHMARKS)
sys.path[:0] = [BENCHMARKS, os.path.join(ROOT, "test", "Reference")]
from decoder import Decoder
from make_checkpoint import make
from run import work


def prepare(name, options):
    with open(os.path.join(BENCHMARKS, "cases", name + ".json")) as file:
        case = json.load(file)
    folder = os.path.join(options.out, name)
    checkpoint = os.path.join(options.out, "checkpoints", name)
    os.makedirs(folder, exist_ok=True)
    if not os.path.exists(os.path.join(checkpoint, "complete")):
        make(checkpoint, case["kind"], seed=3, storage=case["storage"], **case["config"])
        open(os.path.join(checkpoint, "complete"), "w").close()
    command = [os.path.join(options.build, "bin", "moe-compile"), checkpoint, "-o", os.path.join(folder, "program"),
               *shlex.split(options.flags)]
    if subprocess.run(command).returncode:
        sys.exit(f"prepare.py: {shlex.join(command)} failed")
    ids = np.random.default_rng(0).integers(3, case["config"]["vocab_size"], max(options.prefill))
    np.save(os.path.join(folder, "ids.npy"), ids)
    # Token by token in NumPy, so only the beginning.
    some = ids[: options.expected]
    np.save(os.path.join(folder, "expected.npy"), Decoder(checkpoint, np.float32).forward(some)[0])
    lengths = {str(tokens): work({**case, "prefill": tokens, "decode": options.decode}) for tokens in options.prefill}
    with open(os.path.join(folder, "case.json"), "w") as file:
        json.dump({
            "source": case["source"], "storage": options.arithmetic, "layers": case["config"]["num_hidden_layers"],
            "flags": options.flags, "decode": options.decode, "prefill": options.prefill,
            "flops": {tokens: flops for tokens, (flops, _) in lengths.items()},
            "bytes": {tokens: size for tokens, (_, size) in lengths.items()},
        }, file, indent=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("cases", nargs="*")
    parser.add_argument("--flags", required=True)
    parser.add_argument("--build", default=os.path.join(ROOT, "build"))
    parser.add_argument("--expected", type=int, default=16)
    parser.add_argument("--prefill", type=int, nargs="+", default=[1, 64, 512, 2048])
    parser.add_argument("--decode", type=int, default=64)
    parser.add_argument("--arithmetic", choices=["f32", "bf16"], default="f32", help="what products compute in")
    options = parser.parse_args()
    known = sorted(file[:-5] for file in os.listdir(os.path.join(BENCHMARKS, "cases")))
    for name in options.cases or known:
        if name not in known:
            parser.error(f"unknown case '{name}', expected one of {', '.join(known)}")
        prepare(name, options)


if __name__ == "__main__":
    main()
