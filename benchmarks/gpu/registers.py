#!/usr/bin/env python3
"""Assembles the product kernels of Hopper and prints what ptxas says of them.

registers.py --opt MOE_OPT --llvm LLVM_BIN [--ptxas PTXAS]

One line per kernel: registers per thread at launch, as setmaxnreg splits them between the producer and the consumers,
dynamic shared memory, spilled bytes. Ends with 1 if a kernel spills, uses local memory, exceeds what a multiprocessor
has, or if ptxas warns of wgmmas that run one by one or of an ignored setmaxnreg (C75xx).
"""
import argparse
import itertools
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "test", "GPU", "Hopper"))
from kernels import make_ptx

REGISTERS, SHARED = 65536, 232448
STAGES = {8: 8, 64: 8, 128: 6, 160: 6, 256: 4}


def shared_bytes(tile, stages):
    return stages * (128 * 128 + tile * 128) + 8 * 640 + 16 * stages


def assemble(ptxas, ptx):
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "kernels.ptx")
        with open(source, "w") as file:
            file.write(ptx)
        command = [ptxas, "-arch=sm_90a", "-v", "-O3", source, "-o", os.path.join(folder, "kernels.cubin")]
        result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(f"ptxas failed: {result.stderr}")
    return result.stdout + result.stderr


def report_of(text, name):
    """Registers and spilled bytes of one kernel in ptxas' report."""
    part = re.search(rf"Function properties for {name}\n(.*?)Used (\d+) registers", text, re.S)
    stack, stores, loads = map(int, re.search(r"(\d+) bytes stack.* (\d+) bytes spill st.* (\d+) bytes spill lo",
                                              part.group(1)).groups())
    return int(part.group(2)), stack + stores + loads


def problems_of(ptx, text, registers, split, spills, shared):
    if ".local" in ptx:
        yield "local memory"
    if spills:
        yield "spills"
    if warning := re.search(r"C75\d\d.*", text):
        yield warning.group(0)
    if registers * 384 > REGISTERS or (split[0] + 2 * split[1]) * 128 > REGISTERS:
        yield "more registers than there are"
    if shared > SHARED:
        yield "more shared memory than there is"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--opt", required=True)
    parser.add_argument("--llvm", required=True)
    parser.add_argument("--ptxas", default="/usr/local/cuda/bin/ptxas")
    options = parser.parse_args()
    print(f"{'kernel':44} {'registers':>9} {'split':>8} {'shared':>7} {'spills':>6}")
    bad = 0
    for tile, banks, gathered, k in itertools.product(STAGES, (1, 2), (0, 1), (2048, 2000, 128, 64)):
        # Tails, and loops of one or two rounds, in the tiles with most registers.
        if k != 2048 and tile not in (64, 256):
            continue
        kernel = {"tile-n": tile, "stages": STAGES[tile], "banks": banks, "gathered": gathered, "k": k}
        if banks == 2:
            kernel["epilogue"] = "silu"
        ptx = make_ptx(options.opt, options.llvm, kernel)
        text = assemble(options.ptxas, ptx)
        registers, spills = report_of(text, "product")
        split = [int(re.search(rf"setmaxnreg\.{way}\S*\s+(\d+)", ptx).group(1)) for way in ("dec", "inc")]
        shared = shared_bytes(tile, STAGES[tile])
        found = list(problems_of(ptx, text, registers, split, spills, shared))
        bad += bool(found)
        name = f"n={tile}, {'gate and up' if banks == 2 else 'one bank'}{', gathered' if gathered else ''}, K={k}"
        print(f"{name:44} {registers:9} {'/'.join(map(str, split)):>8} {shared:7} {spills:6}  {'; '.join(found)}",
              flush=True)
    return bad != 0


if __name__ == "__main__":
    sys.exit(main())
