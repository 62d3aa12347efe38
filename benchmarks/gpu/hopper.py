"""The product kernels of Hopper on a device: what could not be shown without one.

bits      one product of random bf16 with every tile of tokens: are the results equal bit for bit? The PTX ISA leaves
          open in which order wgmma adds inside a step, so this decides whether a program may choose the tile by the
          number of rows.
kernels   the cases of test/GPU/Hopper/product-numbers.test, every output as expected
tiles     grouped products of even groups, each tile: microseconds and TFLOP/s, mean of 100 launches after 25

`write` makes the PTX of all of them where the compiler is; `run` needs the files, NumPy and the driver. In rehearsals
the kernels run on the modelled machine of the tests instead.
"""
import json
import os
import sys

import numpy as np

import sources
from device import Device, Driver
from models import WrongResult
from product_numbers import CASES, Case, Data, Modelled, Run, product_of_both, run_case
from workloads import POOL, Numbers

STAGES = {8: 8, 16: 8, 24: 8, 32: 8, 48: 8, 64: 8, 96: 7, 128: 6, 160: 6, 192: 5, 256: 4}
# Experts, rows of each, K, columns, banks, gathered: up and down of the workloads with 16, 128, 256 and 1024 rows.
SHAPES = [
    (64, 16, 7168, 2048, 2, 1), (64, 16, 2048, 7168, 1, 0), (64, 128, 7168, 2048, 2, 1), (64, 128, 2048, 7168, 1, 0),
    (128, 256, 2048, 768, 2, 1), (128, 256, 768, 2048, 1, 0),
    (8, 1024, 4096, 14336, 2, 1), (8, 1024, 14336, 4096, 1, 0),
]
# For the modelled machine, which takes a second for what a device does in a microsecond.
SMALL_TILES, SMALL_CASES = (8, 16, 24), ("tails of everything", "gathered", "silu")


class NormalData(Data):
    """Normal numbers in bf16 instead of small integers, fast enough for gigabytes. For K that is a multiple of 8."""

    def __init__(self, case, numbers):
        o = case.options
        self.k, self.columns, self.experts, self.total = o["k"], o["columns"], len(case.rows), sum(case.rows)
        self.offsets = np.concatenate([[0], np.cumsum(case.rows)]).astype(np.int64)
        source = 2 * self.total + 1 if o["gathered"] else max(self.total, 1)
        self.indices = np.random.default_rng(1).integers(0, source, self.total)
        self.tokens = numbers.tensor((source, self.k), 1.0, 9999991)
        self.banks = [numbers.tensor((self.experts, self.columns, self.k), 1.0, 1234567 * (bank + 1))
                      for bank in range(o["banks"])]
        self.vector = None

    def padded(self, array, nan=0):
        """They are bits already, and rows have no gaps."""
        return array


class NormalDataOfShapes:
    """The operands of the last shape: those of all its tiles are the same."""

    def __init__(self, small):
        self.numbers, self.shape, self.data = Numbers(1, 65537 if small else POOL), None, None

    def of(self, case):
        shape = (case.rows, *(case.options[name] for name in ("k", "columns", "banks", "gathered")))
        if shape != self.shape:
            self.shape, self.data = shape, NormalData(case, self.numbers)
        return self.data


def cases_of_bits(small):
    for banks, bits in ((1, 32), (1, 16), (2, 32)):
        for tile, stages in STAGES.items():
            if small and tile not in SMALL_TILES:
                continue
            rows, k, columns = ([19, 0, 7, 9], 72, 40) if small else ([300, 0, 7, 129], 1000, 200)
            yield Case(f"banks={banks} out-bits={bits} n={tile}", rows, product_of_both if banks == 2 else None, k=k,
                       columns=columns, banks=banks, gathered=1, stages=stages, **{"tile-n": tile, "out-bits": bits})


def cases_of_tiles(small):
    for experts, rows, k, columns, banks, gathered in SHAPES[:0] if small else SHAPES:
        for tile, stages in STAGES.items():
            if tile > 2 * rows or rows > 16 * tile:
                continue
            name = f"{experts} x {rows}, {k} -> {columns} x {banks}{' gathered' if gathered else ''}"
            case = Case(name, [rows] * experts, product_of_both if banks == 2 else None, k=k, columns=columns,
                        banks=banks, gathered=gathered, stages=stages, **{"tile-n": tile})
            if banks == 2:
                case.options["epilogue"] = "silu"
            yield case


def cases_of_kernels(small):
    return (case for case in CASES if not small or case.name in SMALL_CASES)


PARTS = {"bits": cases_of_bits, "kernels": cases_of_kernels, "tiles": cases_of_tiles}


def write(folder, tools, llvm, small):
    """The PTX of every case, one file each."""
    from kernels import make_ptx

    for part, cases in PARTS.items():
        for number, case in enumerate(cases(small)):
            with open(os.path.join(folder, f"{part}.{number}.ptx"), "w") as file:
                file.write(make_ptx(os.path.join(tools, "moe-opt"), llvm, case.options))
    with open(os.path.join(folder, "small.json"), "w") as file:
        json.dump(small, file)


class Machines:
    """What kernels run on: a device, or the modelled machine where another driver is given for rehearsals."""

    def __init__(self, driver):
        self.driver = None if driver else Driver()
        self.blocks = self.driver.multiprocessors if self.driver else 3

    def load(self, ptx):
        return Device(self.driver, ptx) if self.driver else Modelled(ptx, seed=0)

    def unload(self, machine):
        if self.driver:
            machine.close()


def compare_bits(cases, machines, data):
    first, unequal, count = {}, [], 0
    for case, ptx in cases:
        machine = machines.load(ptx)
        run = Run(case, data.of(case), machine, machines.blocks)
        run.launch_tiles()
        run.launch_product()
        bits = run.fetch().copy()
        machines.unload(machine)
        of = (case.options["banks"], case.options["out-bits"])
        differ = int((bits != first.setdefault(of, bits)).sum())
        count += 1
        unequal += [f"{case.name}: {differ} of {bits.size}"] if differ else []
        print(f"{case.name}: {differ} of {bits.size} differ from the first n", file=sys.stderr)
    return {"products": count, "unequal": unequal}


def check_kernels(cases, machines, data):
    count = 0
    for case, ptx in cases:
        machine = machines.load(ptx)
        try:
            run_case(case, machine, seed=0)
        except SystemExit as error:  # how the tests' comparison says it
            raise WrongResult(str(error)) from None
        machines.unload(machine)
        count += 1
    return {"cases": count}


def time_tiles(cases, machines, data):
    rows = []
    for case, ptx in cases:
        machine, o = machines.load(ptx), case.options
        run = Run(case, data.of(case), machine, machines.blocks)
        run.launch_tiles()
        shared = o["stages"] * (128 * 128 + o["tile-n"] * 128) + 8 * 640 + 16 * o["stages"]
        start = lambda: machine.start("product", run.params, 384, machines.blocks, shared)
        machine.time(start, 25)
        microseconds = machine.time(start, 100)
        machines.unload(machine)
        work = 2e-6 * sum(case.rows) * o["k"] * o["columns"] * o["banks"]
        rows.append({"product": case.name, "n": o["tile-n"], "us": microseconds, "tflops": work / microseconds})
    return {"tiles": rows}


def run(part, folder, driver):
    with open(os.path.join(folder, "small.json")) as file:
        small = json.load(file)
    cases = []
    for number, case in enumerate(PARTS[part](small)):
        with open(os.path.join(folder, f"{part}.{number}.ptx")) as file:
            cases.append((case, file.read()))
    entry = {"bits": compare_bits, "kernels": check_kernels, "tiles": time_tiles}[part]
    return entry(cases, Machines(driver), NormalDataOfShapes(small))
