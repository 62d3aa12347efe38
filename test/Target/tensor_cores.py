"""Compiles a layer stored in bf16 for tensor cores, runs its host code through the stand-in driver, which records what is
launched, and its product kernels on the modelled machine, which computes.

tensor_cores.py MOE_BIN DRIVER SCRATCH
"""
import os
import re
import subprocess
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(os.path.dirname(HERE), *folder) for folder in (["GPU", "Hopper"], ["Reference"])]
import ptx_instructions  # fills the table of instructions
import tensors
from product_numbers import Case, Data, Modelled, Run, compare, from_bf16, silu

TOOLS, DRIVER, SCRATCH = sys.argv[1:]
SOURCE = os.path.join(HERE, "Inputs", "bf16-layer.mlir")
EXPERTS, K, COLUMNS, SLOTS, TILE = 4, 72, 40, 2, 8
STAGES = 8


def file(name):
    return os.path.join(SCRATCH, name)


def compile_layer(*flags):
    random = np.random.default_rng(1)
    shapes = {"router": (EXPERTS, K), "dense": (K, K), "gate": (EXPERTS, COLUMNS, K), "up": (EXPERTS, COLUMNS, K),
              "down": (EXPERTS, K, COLUMNS)}
    weights = {name: tensors.BF16(random.integers(-1, 2, shape)) for name, shape in shapes.items()}
    tensors.save(file("weights.safetensors"), weights)
    subprocess.run([os.path.join(TOOLS, "moe-compile"), SOURCE, "--target=nvptx", f"--tile-n={TILE}",
                    f"--weights={file('weights.safetensors')}", *flags], check=True)


def check(condition, *what):
    if not condition:
        raise SystemExit(" ".join(map(str, what)))


def run_host_code(tokens):
    """What the driver was asked for, as far as products are concerned."""
    log = file("log")
    if os.path.exists(log):
        os.remove(log)
    np.save(file("x.npy"), np.zeros((tokens, K), np.float32))
    subprocess.run([file("layer"), "--function", "layer", "--inputs", file("x.npy"), "--outputs", file("y.npy"), "--driver",
                    DRIVER], check=True, env={**os.environ, "MOE_STAND_IN": f"log={log}"})
    with open(log) as lines:
        found = [re.search(r"tensor map of \d|(?:launch|capture) (product_.*)", line) for line in lines]
    return [match.group(1) or match.group(0) for match in found if match]


def check_host_code():
    """Two tensor maps for each product: of two banks, or of a bank and the rows. Grids depend on numbers of rows only; a
    dense product has no tile map, the launch of the plan writes that of the others."""
    for tokens in (0, 1, 9, 600):
        want = []
        for experts, columns, k, rows, maps in ((EXPERTS, COLUMNS, K, tokens * SLOTS, [3, 3]),
                                                (EXPERTS, K, COLUMNS, tokens * SLOTS, [3, 2]), (1, K, K, tokens, [3, 2])):
            name = f"product_{experts}x{columns}x{k}_n{TILE}"
            dense = experts == 1
            tiles = -(-rows // TILE) + (0 if dense else experts)
            shared = STAGES * (128 * 128 + TILE * 128) + 8 * 640 + 16 * STAGES
            want += [f"tensor map of {rank}" for rank in maps]
            if tiles:
                want.append(f"{name} <{min(tiles, 132)}, 384, {shared}>")
        got = run_host_code(tokens)
        check(got == want, f"{tokens} tokens: got {got}, expected {want}")
        print(f"{tokens} tokens: launches and tensor maps as expected", flush=True)


class Joined(Modelled):
    """The kernel under the name that it has in the program."""

    def __init__(self, ptx, seed, product):
        super().__init__(ptx, seed)
        self.product = product

    def launch(self, name, *launch):
        super().launch(self.product, *launch)


def run_product(ptx, case, product):
    data = Data(case, seed=5)
    run = Run(case, data, Joined(ptx, 1, product), blocks=2)
    # As test/GPU/routing-blocks.test finds the map that the launch of the plan writes.
    tiles = [(expert, data.offsets[expert] + row, min(TILE, rows - row), 0)
             for expert, rows in enumerate(case.rows) for row in range(0, rows, TILE)]
    run.tiles[0] = len(tiles)
    run.tiles[4 : 4 + 4 * len(tiles)] = np.reshape(tiles, -1)
    run.launch_product()
    return data, run.fetch()


def check_numbers():
    with open(file("layer.ptx")) as text:
        ptx = text.read()
    common = {"index-bits": 64, "tile-n": TILE, "stages": STAGES}
    case = Case("down", [3, 0, 11, 1], k=COLUMNS, columns=K, **common, **{"out-bits": 32})
    data, bits = run_product(ptx, case, f"product_{EXPERTS}x{K}x{COLUMNS}_n{TILE}")
    compare(case, data, True, bits.view(np.float32).astype(np.float64), 5)
    print("down: every output as expected")
    case = Case("gate and up", [3, 0, 11, 1], silu, k=K, columns=COLUMNS, banks=2, gathered=1, **common)
    data, bits = run_product(ptx, case, f"product_{EXPERTS}x{COLUMNS}x{K}_n{TILE}")
    want, got = data.expected(case), from_bf16(bits).astype(np.float64)
    # Half a unit in the last place of bf16, and far less for the epilogue.
    check((np.abs(got - want) <= np.abs(want) * 2**-8 + 1e-5).all(), "gate and up: off by", np.abs(got - want).max())
    print("gate and up: every output as expected")


os.makedirs(SCRATCH, exist_ok=True)
compile_layer("-o", file("layer"))
compile_layer("--emit=ptx", "-o", file("layer.ptx"))
check_host_code()
check_numbers()
