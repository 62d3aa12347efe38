#!/usr/bin/env python3
"""Checks and times the product kernels of Hopper on a device: what could not be shown without one.

hopper.py --opt MOE_OPT --llvm LLVM_BIN [cases] [bits] [time]

cases   the cases of test/GPU/Hopper/product-numbers.test, on the device
bits    one product of random bf16 with every tile of tokens: are the results equal bit for bit?
time    grouped products of even groups, each tile: microseconds and TFLOP/s, after 25 launches, mean of 100
Needs a Hopper device and its driver; kernels are compiled from PTX by the driver.
"""
import argparse
import os
import sys

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "test", "GPU", "Hopper"))
from device import Device, Driver
from kernels import make_ptx
from product_numbers import CASES, Case, Data, Run, product_of_both, run_case

STAGES = {8: 8, 16: 8, 24: 8, 32: 8, 48: 8, 64: 8, 96: 7, 128: 6, 160: 6, 192: 5, 256: 4}
# experts, rows of each, K, columns, banks, gathered: up and down of the workloads with 16, 128, 256 and 1024 rows.
SHAPES = [
    (64, 16, 7168, 2048, 2, 1), (64, 16, 2048, 7168, 1, 0), (64, 128, 7168, 2048, 2, 1), (64, 128, 2048, 7168, 1, 0),
    (128, 256, 2048, 768, 2, 1), (128, 256, 768, 2048, 1, 0), (8, 1024, 4096, 14336, 2, 1), (8, 1024, 14336, 4096, 1, 0),
]


class RandomData(Data):
    """Normal numbers instead of small integers."""

    def __init__(self, case, seed):
        super().__init__(case, seed)
        random = np.random.default_rng(seed)
        self.tokens = random.standard_normal(self.tokens.shape, np.float32)
        self.banks = [random.standard_normal(bank.shape, np.float32) for bank in self.banks]


class TimedData(RandomData):
    """Large operands, rounded to bf16 by truncation: conversion one by one would take minutes."""

    def padded(self, array, nan=0):
        assert array.shape[-1] % 8 == 0
        return (np.ascontiguousarray(array).view(np.uint32) >> 16).astype(np.uint16)


def run_cases(options, driver):
    for case in CASES:
        device = Device(driver, make_ptx(options.opt, options.llvm, case.options))
        run_case(case, device, seed=0)
        device.close()
        print(f"{case.name}: every output as expected", flush=True)


def compare_bits(options, driver):
    unequal = 0
    for banks, bits in ((1, 32), (1, 16), (2, 32)):
        first = None
        for tile, stages in STAGES.items():
            epilogue = product_of_both if banks == 2 else None
            case = Case("bits", [300, 0, 7, 129], epilogue, k=1000, columns=200, banks=banks, gathered=1, stages=stages,
                        **{"tile-n": tile, "out-bits": bits})
            device = Device(driver, make_ptx(options.opt, options.llvm, case.options))
            run = Run(case, RandomData(case, seed=1), device, blocks=driver.multiprocessors)
            run.launch_tiles()
            run.launch_product()
            result = run.fetch().copy()
            device.close()
            first = result if first is None else first
            differ = int((result != first).sum())
            unequal += differ != 0
            print(f"banks={banks} out-bits={bits} n={tile}: {differ} of {result.size} differ from n=8", flush=True)
    print("not the same bits for every n" if unequal else "the same bits for every n")


def time_shapes(options, driver):
    print(f"{'experts x rows, K -> columns x banks':40} {'n':>4} {'us':>9} {'TFLOP/s':>8}")
    for experts, rows, k, columns, banks, gathered in SHAPES:
        for tile, stages in STAGES.items():
            if tile > 2 * rows or rows > 16 * tile:
                continue
            case = Case("time", [rows] * experts, product_of_both if banks == 2 else None, k=k, columns=columns,
                        banks=banks, gathered=gathered, stages=stages, **{"tile-n": tile})
            if banks == 2:
                case.options["epilogue"] = "silu"
            device = Device(driver, make_ptx(options.opt, options.llvm, case.options))
            run = Run(case, TimedData(case, seed=1), device, blocks=driver.multiprocessors)
            run.launch_tiles()
            shared = stages * (128 * 128 + tile * 128) + 8 * 640 + 16 * stages
            start = lambda: device.start("product", run.params, 384, driver.multiprocessors, shared)
            device.time(start, 25)
            microseconds = device.time(start, 100)
            device.close()
            work = 2e-6 * experts * rows * k * columns * banks
            name = f"{experts} x {rows}, {k} -> {columns} x {banks}{' gathered' if gathered else ''}"
            print(f"{name:40} {tile:4} {microseconds:9.1f} {work / microseconds:8.1f}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--opt", required=True)
    parser.add_argument("--llvm", required=True)
    parser.add_argument("parts", nargs="*", default=["cases", "bits", "time"])
    options = parser.parse_args()
    try:
        driver = Driver()
    except OSError as error:
        raise SystemExit(f"no CUDA driver: {error}")
    print(f"device: {driver.name}, {driver.multiprocessors} multiprocessors")
    parts = {"cases": run_cases, "bits": compare_bits, "time": time_shapes}
    for part in options.parts:
        parts[part](options, driver)


if __name__ == "__main__":
    main()
