#!/usr/bin/env python3
"""Writes docs/GPUPrograms.md: what every checkpoint and system of the tests is for sm_90a.

make-gpu-doc.py [--build FOLDER] [--ptxas FILE]    compiles them all (two minutes and more) and writes the page
make-gpu-doc.py --check                            ends with 1 if one of them is missing there or in the tests; compiles nothing

Without ptxas the page keeps the table of what ptxas said. That the other rows are what the compiler makes is tested by
test/Target/Programs, each program once.
"""
import argparse
import glob
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "test", "Target", "Programs"))
import programs  # noqa: E402  (shared with the tests, see the path above)
from programs import assembler, structure  # noqa: E402

LLVM = "/usr/lib/llvm-22/bin"
MODELS = sorted(glob.glob(os.path.join(ROOT, "test", "Models", "*", "")))
SYSTEMS = sorted(glob.glob(os.path.join(ROOT, "test", "Systems", "*", "*.mlir")), key=os.path.basename)
# How a kernel is shown to be right that cannot run on the CPU thread by thread.
SHOWN_BY = {
    "product_ExNxK_nT": "`test/GPU/Hopper/product-numbers.test`: its PTX on a modelled machine; its index arithmetic as code "
                        "of the CPU, `index-functions.test`",
    "*_plan": "`test/GPU/routing-blocks.test`: its PTX on a modelled machine, blocks arriving in any order; in the tests above, as "
              "blocks of one thread on the CPU",
}
PTXAS_TABLE = "| kernels | number | registers | producer/consumer | shared memory | spilled |\n"
PAGE = """# Programs for GPUs

What each checkpoint of `test/Models` and each system of `test/Systems` is when it is compiled for sm_90a. This page is
made by `scripts/make-gpu-doc.py`; the tests of `test/Target/Programs` compile each program again and fail when its row is
not what they find. Nothing here has run on a device.

PTX needs nothing of CUDA: the bytes are the same where it is installed and where not, and from whatever folder
(`test/Target/same-bytes.test`). `--emit=cubin` needs `ptxas`, and says so where it finds none. A program is compiled for
calls of up to `--max-tokens` tokens, by default 2048; a call of more is refused, longer prompts are cut.

## Checkpoints

All {models} compile. *f32* is the checkpoint with `--arithmetic=f32`, *bf16* the same stored in bf16, whose products run on
tensor cores. Launches of one call: of each layer in turn, of what is outside of layers, of the whole; of a step of greedy
decoding, which is one CUDA graph. On tensor cores: products of one call. The numbers are the same for any number of tokens
but none. `test/Target/Programs/launches.test` compares the counting, which looks at the compiler's IR, with what the driver
is asked for.

| checkpoint | stored in | each layer | outside | a call | a step of decoding | on tensor cores |
| --- | --- | --- | --- | --- | --- | --- |
{checkpoints}
## Systems

All {systems} compile: no system stands aside. Their weights are f32, so they have general kernels only. Launches of one call
of the function that is named like the system, and the tests that run its kernels on the CPU.

| system | a call | kernels run on the CPU in |
| --- | --- | --- |
{rows}
## What ran on the CPU, and what cannot

The general kernels but those of plans have no barrier, no shuffle, no shared memory and no atomics: their threads do not know
of each other. So the chip `host` compiles the same kernels, after they were mapped to blocks and threads, for the CPU, and a
stand-in for the driver runs every thread of every launch, forwards, backwards and in disorder
([Testing](Testing.md#the-stand-in-driver)). All checkpoints run that way against the numbers of `transformers`
(`test/Integration/NVPTX/models.test`, `more-models.test`), and all systems against their oracles, with every trap (the tests
of that folder that are named above).

Not shown by it: what LLVM's NVPTX back end and ptxas make of them, races between threads that run at once, speed.

These kernels cannot run so, thread by thread. What is modelled of them and what is not stands in
[GPU](GPU.md#shown-without-a-device):

| kernel | its threads share | shown instead by |
| --- | --- | --- |
{cooperating}
## What every program is held to

By `test/Target/Programs`, which compiles eight of the checkpoints with `--tile-n=256` for the sake of time: products of each
kind are among the others, with every n. This page is made from all kernels of all.

- no external function, no call, no shared memory but the external symbol `moe_shared`, aligned to 1024;
- `wgmma` in every product of experts in bf16, of the shape of its tile, and none in any other kernel; none, no approximation
  and no flushing of subnormal numbers in f32;
- TMA for weights, copies of 16 bytes for gathered rows, and results stored by 16 bytes wherever their rows allow it;
- no local memory.

The general kernels read and write elements of 4 bytes (2 where something is stored in bf16), never 16 bytes at a time:
neighbouring threads have neighbouring elements where the innermost loop allows it, and nothing else is done about it.

By ptxas, where it is: no line C75xx, but C7508, which is printed; no spill; registers, at most {general} in general kernels,
so that two blocks of 256 threads fit a multiprocessor, and {product} in products, whose block has 384, with what `setmaxnreg`
asks for within the {registers} registers there are; shared memory of at most {shared} bytes.

## What ptxas says

{version}, all kernels of the checkpoints above: smallest to largest, bytes.

"""


def span(values):
    low, high = min(values), max(values)
    return f"{low}" if low == high else f"{low} to {high}"


def kind_of(kernel):
    """Where a kernel stands in the table: an order and a title."""
    if match := structure.PRODUCT.match(kernel.name):
        return 4, int(match.group(4)), f"products, n = {match.group(4)}"
    for number, (pattern, title) in enumerate(((r"_(select|plan)(_\d+)?$", "routing"),
                                               (r"_attention(_\d+)?$", "attention"), ("", "other general kernels"))):
        if re.search(pattern, kernel.name):
            return number, 0, title
    return None


def table_of_ptxas(report):
    lines = [PTXAS_TABLE, "| --- | --- | --- | --- | --- | --- |\n"]
    for kind in sorted({kind_of(kernel) for kernel in report}):
        group = [kernel for kernel in report if kind_of(kernel) == kind]
        splits = sorted({"/".join(map(str, kernel.split)) for kernel in group if kernel.split})
        lines.append(f"| {kind[2]} | {len(group)} | {span([kernel.registers for kernel in group])} | {', '.join(splits)} | "
                     f"{span([kernel.shared for kernel in group])} | "
                     f"{span([kernel.spilled for kernel in group])} |\n")
    return "".join(lines)


def version_of(ptxas):
    text = subprocess.run([ptxas, "--version"], capture_output=True, text=True, check=True).stdout
    return "ptxas " + re.search(r"release ([\d.]+)", text).group(1)


def table_of_cooperating(needs):
    unknown = sorted(needs.keys() - SHOWN_BY.keys())
    if unknown:
        sys.exit(f"make-gpu-doc.py: SHOWN_BY does not say how {', '.join(unknown)} are shown to be right")
    return "".join(f"| `{name}` | {', '.join(sorted(found))} | {SHOWN_BY[name]} |\n" for name, found in sorted(needs.items()))


def measure_all(build, ptxas):
    """Rows of checkpoints, of systems, what kernels need, and the report on those of checkpoints."""
    rows, needs, reports = {}, {}, []
    sources = [source.rstrip("/") for source in [*MODELS, *SYSTEMS]]
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(os.cpu_count()) as pool:
        started = {source: pool.submit(programs.measure, os.path.join(build, "bin"),
                                       os.path.join(scratch, programs.name_of(source)), source, LLVM,
                                       ptxas if os.path.isdir(source) else None) for source in sources}
        for source, measured in started.items():
            rows[source], found, report = measured.result()
            print(programs.name_of(source), file=sys.stderr, flush=True)
            for name, what in found.items():
                needs.setdefault(name, set()).update(what)
            reports += report
    return rows, needs, reports


def write_page(options):
    ptxas = options.ptxas if os.path.exists(options.ptxas) else None
    rows, needs, report = measure_all(options.build, ptxas)
    checkpoints = "".join(row + "\n" for source in MODELS for row in rows[source.rstrip("/")])
    systems = "".join(row + "\n" for source in SYSTEMS for row in rows[source])
    if ptxas:
        version, table = version_of(ptxas), table_of_ptxas(report)
    else:
        with open(programs.PAGE) as file:
            version, table = re.search(r"^(ptxas [\d.]+),.*?^(\| kernels .*)", file.read(), re.M | re.S).groups()
    page = PAGE.format(
        models=len(MODELS), systems=len(SYSTEMS), checkpoints=checkpoints, rows=systems,
        cooperating=table_of_cooperating(needs), general=assembler.GENERAL_REGISTERS,
        product=assembler.PRODUCT_REGISTERS, registers=assembler.REGISTERS, shared=assembler.SHARED_BYTES, version=version)
    with open(programs.PAGE, "w") as file:
        file.write(page + table)


def check_names():
    with open(programs.PAGE) as file:
        listed = set(re.findall(r"^\| `([\w*-]+)` \|", file.read(), re.M))
    known = {programs.name_of(source.rstrip("/")) for source in [*MODELS, *SYSTEMS]} | SHOWN_BY.keys()
    if listed != known:
        sys.exit(f"{programs.PAGE} is stale, run scripts/make-gpu-doc.py: it lists {sorted(listed - known)}, which are not, "
                 f"and leaves out {sorted(known - listed)}")


def check_tests():
    """The claims that all checkpoints are tested and that all systems ran on the CPU."""
    tests = os.path.join(ROOT, "test", "Target", "Programs")
    untested = [name for name in map(programs.name_of, (model.rstrip("/") for model in MODELS))
                if not os.path.exists(os.path.join(tests, name + ".test"))]
    untested += [name for name in map(programs.name_of, SYSTEMS) if not programs.where_run(name)]
    if untested:
        sys.exit(f"make-gpu-doc.py: {', '.join(untested)}: expected a checkpoint to have a test in test/Target/Programs, and a "
                 "system one in test/Integration/NVPTX")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(ROOT, "build"))
    parser.add_argument("--ptxas", default="/usr/local/cuda/bin/ptxas")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    if options.check:
        check_names()
        check_tests()
    else:
        write_page(options)


if __name__ == "__main__":
    main()
