"""Calls a function with numbers of rows that fit, and with those that do not: refused before anything is read.

extents.py TOOLS SCRATCH PROGRAM.mlir [MOE_COMPILE_FLAG...]
"""
import os
import shutil
import subprocess

import numpy as np

import harness
from harness import Failure

SIZES = {"x": 5, "y": 5, "sequences": 5, "limits": 3}


def make(sizes):
    return {
        "x": np.ones((sizes["x"], 4), np.float32), "y": np.ones((sizes["y"], 4), np.float32),
        "sequences": np.zeros(sizes["sequences"], np.int32), "limits": np.full(sizes["limits"], 2, np.int32),
    }


def refuse(program, sizes, message):
    """That the program says so, with status 1, and writes nothing."""
    source, out = (os.path.join(program.folder, name) for name in ("in.safetensors", "out.safetensors"))
    harness.safetensors.save(source, make(sizes))
    if os.path.exists(out):
        os.remove(out)
    command = [program.path, "--function", "limited", "--inputs", source, "--outputs", out, *program.flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=harness.TIMEOUT_SECONDS)
    if done.returncode != 1 or done.stderr != f"error: {message}\n" or os.path.exists(out):
        raise Failure(f"sizes {sizes}: status {done.returncode}, {done.stderr!r}, expected {message!r}")


def test(tools, scratch, arguments):
    source, *flags = arguments
    shutil.rmtree(scratch, ignore_errors=True)
    os.makedirs(scratch)
    program = harness.compile_program(tools, source, os.path.join(scratch, "program"), flags)
    for rows in (0, 1, 5):
        sizes = {**SIZES, "x": rows, "y": rows, "sequences": rows}
        got = program.call("limited", make(sizes))["sum"]
        harness.check_equal(f"{rows} rows", got, np.full((rows, 4), 2, np.float32))
    # So many rows are missing that reading them would end the program.
    refuse(program, {**SIZES, "x": 1 << 20},
           "input 'y' of 'limited': got shape [5, 4], expected 1048576 where it has 5, as input 'x' has")
    refuse(program, {**SIZES, "sequences": 4}, "input 'sequences' of 'limited': got shape [4], expected 5 where it has "
           "4, as input 'x' has")
    print("numbers of rows: three accepted, two refused")


if __name__ == "__main__":
    harness.main(test, __doc__)
