"""What ptxas says of kernels, and the limits that it is held to."""
import os
import re
import shlex
import subprocess

import structure
from harness import Failure

# A multiprocessor has 65536 registers: two blocks of 256 threads of a general kernel, one of 384 threads of a product.
REGISTERS = 65536
GENERAL_REGISTERS = REGISTERS // (2 * 256)
PRODUCT_REGISTERS = REGISTERS // 384 // 8 * 8
SHARED_BYTES = 232448  # that a block can have
KERNEL = re.compile(
    r"Compiling entry function '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
    r".*?Used (\d+) registers", re.S)


class Kernel:
    """One line of the report."""

    def __init__(self, text, name, stack, stores, loads, registers):
        self.name, self.registers, self.stack = name, int(registers), int(stack)
        self.spilled = max(int(stores), int(loads))
        self.shared = structure.shared_bytes(text)
        self.split = structure.registers_split(text) if structure.is_product(name) else None

    def problems(self):
        if self.spilled:
            yield f"spills {self.spilled} bytes"
        if self.stack:
            yield f"a stack of {self.stack} bytes"
        limit = PRODUCT_REGISTERS if self.split else GENERAL_REGISTERS
        if self.registers > limit:
            yield f"{self.registers} registers, expected at most {limit}"
        if self.split and (self.split[0] + 2 * self.split[1]) * 128 > REGISTERS:
            yield f"setmaxnreg asks for {self.split[0]} and twice {self.split[1]} registers, more than there are"
        if self.shared > SHARED_BYTES:
            yield f"{self.shared} bytes of shared memory, expected at most {SHARED_BYTES}"


def assemble(ptxas, ptx, scratch):
    """The report on all kernels of a module; fails if a limit is passed or ptxas gave something up (C75xx)."""
    source = os.path.join(scratch, "assembled.ptx")
    with open(source, "w") as file:
        file.write(ptx)
    command = [ptxas, "-arch=sm_90a", "-v", source, "-o", os.path.join(scratch, "assembled.cubin")]
    done = subprocess.run(command, capture_output=True, text=True)
    said = done.stdout + done.stderr
    if done.returncode:
        raise Failure(f"{shlex.join(command)}: {said.strip()[:2000]}")
    texts = structure.kernels(ptx)
    report = [Kernel(texts[name], name, *numbers) for name, *numbers in KERNEL.findall(said)]
    if sorted(kernel.name for kernel in report) != sorted(texts):
        raise Failure(f"{source}: ptxas reports {len(report)} of {len(texts)} kernels")
    found = [f"{kernel.name}: {problem}" for kernel in report for problem in kernel.problems()]
    for line in said.splitlines():
        if "C7508" in line:
            print(line)
        elif "C75" in line:
            found.append(line)
    if found:
        raise Failure(f"{source}:\n  " + "\n  ".join(found))
    return report
