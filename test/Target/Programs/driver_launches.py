"""Compares the launches that are counted in the IR with those that the driver is asked for.

driver_launches.py TOOLS SCRATCH CHECKPOINT_FOLDER DRIVER
In f32 a program for the chip `host` runs, so that tokens are generated and a step of decoding is captured; in bf16 one for
sm_90a, whose kernels the stand-in driver only records.
"""
import os
import shutil

from programs import Failure, Program, harness, host_code, launches, store_as_bf16


def driver_calls(program, scratch, run):
    """What the driver was asked for while `run` used the program."""
    log = os.path.join(scratch, "log")
    if os.path.exists(log):
        os.remove(log)
    os.environ["MOE_STAND_IN"] = f"log={log}"
    run(program)
    with open(log) as file:
        return file.read().splitlines()


def check(what, found, expected):
    if found != expected:
        raise Failure(f"{what}: the driver was asked for {found} launches, {expected} are counted in the IR")
    print(f"{what}: {found} launches")


def test(tools, scratch, arguments):
    folder, driver = arguments
    shutil.rmtree(scratch, ignore_errors=True)
    prompt = harness.safetensors.load(os.path.join(folder, "expected.safetensors"))["prompt"]
    stored = os.path.join(scratch, "bf16")
    store_as_bf16(folder, stored)
    for what, source, flags in (("f32", folder, ["--chip=host"]), ("bf16", stored, [])):
        counted = host_code(tools, source, *flags)
        kernels = Program(tools, scratch, source).kernels
        program = harness.compile_program(tools, source, os.path.join(scratch, f"{what}-program"),
                                          ["--target=nvptx", *flags, f"--driver={driver}"])
        calls = driver_calls(program, scratch, lambda program: program.logits(prompt))
        check(f"{what}, forward", sum(" launch " in call for call in calls), launches.count(counted, "forward", kernels))
        if what == "bf16":
            continue
        calls = driver_calls(program, scratch, lambda program: program.generate(prompt, 4))
        check(f"{what}, a step", sum(" capture " in call for call in calls),
              launches.count(counted, "decode_step"))


if __name__ == "__main__":
    harness.main(test, __doc__)
