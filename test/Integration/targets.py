"""Compiles a checkpoint for two CPUs and compares the logits bit by bit.

targets.py TOOLS SCRATCH FOLDER CPU CPU
Reductions run over 16 logical lanes on every target, so the width of the registers must not show.
"""
import os
import shutil

import harness


def test(tools, scratch, arguments):
    folder, *cpus = arguments
    prompt = harness.safetensors.load(os.path.join(folder, "expected.safetensors"))["prompt"]
    logits = []
    for number, cpu in enumerate(cpus):
        place = os.path.join(scratch, str(number))
        shutil.rmtree(place, ignore_errors=True)
        os.makedirs(place)
        program = harness.compile_program(tools, folder, os.path.join(place, "program"), [f"--cpu={cpu}"])
        logits.append(program.logits(prompt))
    harness.check_bits(f"--cpu={cpus[1]} after --cpu={cpus[0]}", logits[1], logits[0])
    print(f"{' and '.join(cpus)}: the same bits")


if __name__ == "__main__":
    harness.main(test, __doc__)
