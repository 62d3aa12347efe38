"""Breaks a program in every way that the checks of this folder are to notice, and prints what they say.

errors.py TOOLS SCRATCH LAYER [PTXAS]
"""
import os
import shutil

from programs import Failure, Program, assembler, check_page, harness, launches, structure

PRODUCT, GENERAL = "product_4x40x72_n64", "layer_plan"
BROKEN = [
    ("another tile's wgmma", PRODUCT, "m64n64k16", "m64n32k16"),
    ("weights by other copies", PRODUCT, "cp.async.bulk.tensor", "cp.async.bulk"),
    ("results one by one", PRODUCT, "st.global.v4.b32", "st.global.b32"),
    ("rows by 8 bytes", PRODUCT, "], 16, ", "], 8, "),
    ("an array", PRODUCT, "\n{\n", "\n{\n\t.local .align 4 .b8 __local_depot0[64];\n"),
    ("a stray wgmma", GENERAL, "\n{\n", "\n{\n\twgmma.fence.sync.aligned;\n"),
]


def check_kernels(kernels):
    for what, name, old, new in BROKEN:
        if list(structure.problems(name, kernels[name])):
            raise Failure(f"{name} has problems as it is: {list(structure.problems(name, kernels[name]))}")
        print(f"{what}: {'; '.join(structure.problems(name, kernels[name].replace(old, new)))}")


def expect_failure(what, run, *arguments):
    try:
        run(*arguments)
    except (Failure, ValueError) as failure:
        print(f"{what}: {' '.join(str(failure).split())[:400]}")
        return
    raise Failure(f"{what}: nothing was noticed")


def check_assembler(ptxas, ptx, scratch):
    """Without optimisation ptxas runs wgmmas one by one, and general kernels have registers on the stack."""
    slow = os.path.join(scratch, "slow-ptxas")
    with open(slow, "w") as file:
        file.write(f'#!/bin/sh\nexec {ptxas} -O0 "$@"\n')
    os.chmod(slow, 0o755)
    expect_failure("ptxas", assembler.assemble, slow, structure.only(ptx, [PRODUCT]), scratch)
    for what, numbers in (("spills", (8, 8, 8, 40)), ("registers", (0, 0, 0, 129))):
        print(f"{what}: {'; '.join(assembler.Kernel('', GENERAL, *numbers).problems())}")


def test(tools, scratch, arguments):
    shutil.rmtree(scratch, ignore_errors=True)
    os.makedirs(scratch)
    program = Program(tools, scratch, arguments[0], "--tile-n=64")
    check_kernels(program.kernels)
    expect_failure("a row", check_page, "| `other` | 1 |", ["| `layer` | 2 |"], {})
    expect_failure("a kernel with barriers", check_page, "| `*_sum` | shuffles | x |", [], {"*_sum": {"barriers"}})
    expect_failure("a branch", launches.read, "  func.func @f() {\n    scf.if %0 {\n      call @g()\n")
    if arguments[1:]:
        check_assembler(arguments[1], program.ptx, scratch)


if __name__ == "__main__":
    harness.main(test, __doc__)
