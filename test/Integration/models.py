"""Compiles a checkpoint folder and compares the program with the numbers stored beside it.

models.py TOOLS SCRATCH FOLDER [MOE_COMPILE_FLAG...]
Logits, greedy tokens, and bit for bit: prefixes, thread counts, decoding against prefill.
"""
import os
import shutil

import harness
from harness import Failure


def test(tools, scratch, arguments):
    folder, flags = arguments[0], arguments[1:]
    expected = harness.safetensors.load(os.path.join(folder, "expected.safetensors"))
    prompt, generated = expected["prompt"], expected["generated"].tolist()

    # The program has to do without the folder it was compiled from, and in another place than it was written to.
    shutil.rmtree(scratch, ignore_errors=True)
    checkpoint, written, moved = (os.path.join(scratch, name) for name in ("checkpoint", "written", "moved"))
    shutil.copytree(folder, checkpoint, ignore=shutil.ignore_patterns("expected.safetensors"))
    os.makedirs(written)
    compiled = harness.compile_program(tools, checkpoint, os.path.join(written, "program"), flags)
    shutil.rmtree(checkpoint)
    os.rename(written, moved)
    program = harness.Program(os.path.join(moved, "program"), compiled.flags)

    logits = program.logits(prompt)
    error = harness.check_close("logits", logits, expected["logits"])
    ids = program.generate(prompt, len(generated))
    if ids != generated:
        raise Failure(f"greedy tokens {ids}, expected {generated}")

    for length in sorted({1, len(prompt) // 2, len(prompt) - 1}):
        harness.check_bits(f"the first {length} tokens alone", program.logits(prompt[:length]), logits[:length])
    for threads in ("1", "2"):
        harness.check_bits(f"--threads {threads}", program.logits(prompt, "--threads", threads), logits)
    harness.check_bits("decoding", program.logits(prompt, "--prefill-chunk", "1"), logits)
    harness.check_bits("chunks of 5", program.logits(prompt, "--prefill-chunk", "5"), logits)
    print(f"{os.path.basename(folder)}: error {error:.1e}, greedy tokens and bits the same")


if __name__ == "__main__":
    harness.main(test, __doc__)
