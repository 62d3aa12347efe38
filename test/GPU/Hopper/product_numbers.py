"""Runs the PTX of the tile map and product kernels on a modelled machine and compares every output.

product_numbers.py MOE_OPT LLVM_BIN [CASE...]

On small integers all sums are exact: products are at most 4 and K at most 200, so sums stay below 2^24 in f32; results
that go to bf16 are at most 256 in the cases where that is compared exactly.
"""
import itertools
import sys

import numpy as np

from kernels import make_ptx
import ptx_instructions  # fills the table of instructions
from ptx_machine import Memory, TensorMap, launch
from ptx_program import Program, to_bf16

PRODUCT_THREADS, MAP_THREADS = 384, 256


def bf16_bits(values):
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return np.array([to_bf16(int(b)) for b in bits.reshape(-1)], np.uint16).reshape(bits.shape)


def from_bf16(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


class Modelled:
    """Runs kernels on the modelled machine. A device (device.py) has the same methods."""

    def __init__(self, ptx, seed):
        self.ptx, self.seed, self.memory = ptx, seed, Memory()

    def add(self, array):
        return self.memory.add(array)

    def tensor_map(self, address, sizes, strides, box):
        return TensorMap(address, sizes, strides, box)

    def launch(self, name, params, threads, blocks, shared_bytes):
        launch(Program(self.ptx, name), self.memory, params, threads, blocks, shared_bytes, self.seed)

    def fetch(self, address, array):
        """Arrays are the memory itself."""

    def writes_of(self, address):
        return self.memory.writes_of(address)


class Case:
    """One product: the options of its kernel, and rows of each expert."""

    def __init__(self, name, rows, epilogue=None, **options):
        self.name, self.rows, self.epilogue = name, rows, epilogue
        self.options = {"k": 64, "columns": 64, "tile-n": 8, "stages": 4, "banks": 1, "gathered": 0, "dense": 0,
                        "out-bits": 16}
        self.options.update(options)
        self.options["experts"] = len(rows)
        if epilogue:
            self.options["epilogue"] = epilogue.__name__


def relu(x):
    return np.maximum(x, 0)


def product_of_both(g, u):
    return g * u


def plus_bias(x, bias):
    return x + bias


def silu(g, u):
    return g / (1 + np.exp(-g.astype(np.float64))) * u


def gelu_tanh(x):
    x = x.astype(np.float64)
    return 0.5 * x * (1 + np.tanh(0.797884561 * (x + 0.044715 * x**3)))


def gelu_erf(x):
    from math import erf

    return np.vectorize(lambda v: 0.5 * v * (1 + erf(v * 0.707106769)))(x.astype(np.float64))


CASES = [
    Case("one row", [1]),
    Case("no rows at all", [0, 0, 0]),
    Case("an expert without rows", [3, 0, 9]),
    Case("all rows on one expert", [0, 37, 0, 0], raster=2),
    Case("tails of everything", [5, 17, 1], k=72, columns=83, **{"tile-n": 16}),
    Case("K of 1", [4, 3], k=1),
    Case("odd K and columns", [9], k=129, columns=7, gathered=1),
    Case("gathered", [8, 11, 0, 2], k=200, gathered=1, stages=5),
    Case("gathered, K below a stage", [10], k=12, gathered=1),
    Case("gathered, 64-bit indices", [13], k=64, gathered=1, **{"index-bits": 64}),
    Case("more steps than stages", [12], k=200, stages=3, gathered=1, **{"tile-n": 16}),
    Case("several tiles of columns", [9, 2], columns=300, raster=3, gathered=1),
    Case("24 tokens", [30], **{"tile-n": 24}),
    Case("32 tokens, gated", [40], product_of_both, k=65, banks=2, columns=100, gathered=1, **{"tile-n": 32}),
    Case("8 tokens, gated", [3, 9], product_of_both, banks=2, columns=41, **{"tile-n": 8}),
    Case("24 tokens, gated, f32", [25], product_of_both, banks=2, columns=70, **{"tile-n": 24, "out-bits": 32}),
    Case("f32", [11, 4], k=100, columns=150, **{"tile-n": 16, "out-bits": 32}),
    Case("f32, output rows that are not multiples of 16 bytes", [9], columns=35, **{"out-bits": 32}),
    Case("output rows further apart than columns", [9, 2], k=36, columns=20, gathered=1, **{"out-pitch": 24}),
    Case("f32, output rows further apart", [9], columns=35, **{"out-bits": 32, "out-pitch": 40}),
    Case("64 tokens", [70], gathered=1, **{"tile-n": 64}),
    Case("160 tokens", [170], gathered=1, k=65, **{"tile-n": 160}),
    Case("256 tokens, gated", [257], product_of_both, banks=2, k=65, gathered=1, **{"tile-n": 256}),
    Case("dense, one row", [1], dense=1),
    Case("dense, no rows", [0], dense=1),
    Case("dense, tails of everything", [37], k=72, columns=300, dense=1, raster=2, **{"tile-n": 16}),
    Case("dense, gated, f32", [25], product_of_both, banks=2, columns=70, dense=1, **{"tile-n": 24, "out-bits": 32}),
    Case("dense, bias of f32", [16], plus_bias, columns=77, dense=1, **{"vector-bits": 32}),
    Case("bias of bf16", [5, 6], plus_bias, columns=77, **{"vector-bits": 16}),
    Case("bias of f32", [5, 6], plus_bias, columns=77, gathered=1, **{"vector-bits": 32, "out-bits": 32}),
    Case("relu", [9], relu, gathered=1),
    Case("silu", [9], silu, banks=2, gathered=1, **{"out-bits": 32}),
    Case("gelu with tanh", [9], gelu_tanh, **{"out-bits": 32}),
    Case("gelu with erf", [9], gelu_erf, **{"out-bits": 32}),
]
APPROXIMATE = (silu, gelu_tanh, gelu_erf)


class Data:
    """Random operands in padded device buffers."""

    def __init__(self, case, seed):
        random = np.random.default_rng(seed)
        o = case.options
        self.k, self.columns, self.experts = o["k"], o["columns"], len(case.rows)
        self.total = sum(case.rows)
        self.offsets = np.concatenate([[0], np.cumsum(case.rows)]).astype(np.int64)
        source = 2 * self.total + 1 if o["gathered"] else max(self.total, 1)
        self.indices = random.integers(0, source, self.total)
        # Behind the last token lies nothing that may be touched.
        self.indices[-1:] = source - 1
        limit = 1 if case.epilogue not in APPROXIMATE else 2
        draw = lambda *shape: random.integers(-limit, limit + 1, shape).astype(np.float32)
        self.tokens = draw(source, self.k)
        self.banks = [draw(self.experts, self.columns, self.k) for _ in range(o["banks"])]
        self.vector = draw(self.experts, self.columns) if "vector-bits" in o else None

    def padded(self, array, nan=0x7FC0):
        """bf16 with rows at multiples of 16 bytes; what lies between rows is NaN and must not matter."""
        pitch = (self.k + 7) // 8 * 8
        bits = np.full(array.shape[:-1] + (pitch,), nan, np.uint16)
        bits[..., : self.k] = bf16_bits(array)
        return bits

    def expected(self, case):
        rows = self.tokens[self.indices] if case.options["gathered"] else self.tokens[: self.total]
        result = np.zeros((self.total, self.columns))
        for expert in range(self.experts):
            part = slice(self.offsets[expert], self.offsets[expert + 1])
            products = [rows[part].astype(np.float64) @ bank[expert].astype(np.float64).T for bank in self.banks]
            if self.vector is not None:
                products.append(np.broadcast_to(self.vector[expert], products[0].shape))
            result[part] = case.epilogue(*products) if case.epilogue else products[0]
        return result


class Run:
    """A case's buffers on a machine, and its launches: of the tile map, unless rows are dense, and of the product."""

    def __init__(self, case, data, machine, blocks):
        self.case, self.data, self.machine, self.blocks = case, data, machine, blocks
        o = case.options
        self.tile, self.wide = o["tile-n"], o["out-bits"] == 32
        self.word = np.int64 if o.get("index-bits") == 64 else np.int32
        self.offsets = machine.add(data.offsets.astype(self.word))
        self.tiles = np.full(4 * (1 + -(-data.total // self.tile) + data.experts), -1, np.int32)
        self.tile_map = machine.add(self.tiles)
        self.pitch = o.get("out-pitch", data.columns)
        self.out = np.full((max(data.total, 1), self.pitch), 0x7FC1, np.uint32 if self.wide else np.uint16)
        self.out_address = machine.add(self.out)
        tiles = data.total if o["dense"] else self.tile_map
        self.params = self.weights() + self.tokens() + [tiles] + self.vector() + [self.out_address]

    def weights(self):
        data, box_rows = self.data, 128 if self.case.options["banks"] == 1 else 16
        maps = []
        for bank in data.banks:
            bits = data.padded(bank)
            pitch = bits.shape[-1] * 2
            sizes, strides = [data.k, data.columns, data.experts], [pitch, pitch * data.columns]
            maps.append(self.machine.tensor_map(self.machine.add(bits), sizes, strides, [64, box_rows, 1]))
        return maps

    def tokens(self):
        data, bits = self.data, self.data.padded(self.data.tokens)
        address = self.machine.add(bits)
        if self.case.options["gathered"]:
            indices = data.indices if data.total else np.zeros(1)
            return [address, self.machine.add(indices.astype(self.word))]
        return [self.machine.tensor_map(address, [data.k, len(bits)], [bits.shape[1] * 2], [64, self.tile])]

    def vector(self):
        if self.data.vector is None:
            return []
        wide = self.case.options["vector-bits"] == 32
        return [self.machine.add(np.ascontiguousarray(self.data.vector if wide else bf16_bits(self.data.vector)))]

    def launch_tiles(self):
        shared = (2 * self.data.experts + 1) * 4
        self.machine.launch("tile_map", [self.offsets, self.tile_map], MAP_THREADS, 1, shared)

    def launch_product(self):
        stages = self.case.options["stages"]
        shared = stages * (128 * 128 + self.tile * 128) + 8 * 640 + 16 * stages
        self.machine.launch("product", self.params, PRODUCT_THREADS, self.blocks, shared)

    def fetch(self):
        """The output's bits, without padding."""
        self.machine.fetch(self.out_address, self.out)
        return self.out[: self.data.total, : self.data.columns]

    def is_written_once(self):
        """Whether each output was written once, and nothing between the rows; a device does not know."""
        writes = self.machine.writes_of(self.out_address)
        if writes is None:
            return True
        size = self.data.total * self.pitch * self.out.itemsize
        rows = writes[:size].reshape(self.data.total, self.pitch, self.out.itemsize)
        return (rows[:, : self.data.columns] == 1).all() and (rows[:, self.data.columns :] == 0).all()


def check_tiles(case, data, run, machine, seed):
    run.launch_tiles()
    machine.fetch(run.tile_map, run.tiles)
    plain = [
        (e, data.offsets[e] + i, min(run.tile, case.rows[e] - i), 0)
        for e in range(data.experts)
        for i in range(0, case.rows[e], run.tile)
    ]
    tiles = run.tiles
    check(tiles[0] == len(plain) and tiles[4 : 4 + 4 * len(plain)].tolist() == list(itertools.chain(*plain)),
          case, seed, f"tile map {tiles.tolist()}, expected {plain}")


def run_case(case, machine, seed, blocks=3):
    data = Data(case, seed)
    run = Run(case, data, machine, blocks)
    if not case.options["dense"]:
        check_tiles(case, data, run, machine, seed)
    run.launch_product()
    bits = run.fetch()
    check(run.is_written_once(), case, seed, "an output was not written exactly once, or something between rows was")
    result = (bits.view(np.float32) if run.wide else from_bf16(bits)).astype(np.float64)
    compare(case, data, run.wide, result, seed)


def compare(case, data, wide, result, seed):
    expected = data.expected(case)
    if case.epilogue in APPROXIMATE:
        # exp2 of a product rounded once, divisions of 2 ulp, tanh and erf within 2e-7.
        bound = 1e-6 * np.maximum(np.abs(expected), 1) + 3e-7 * np.abs(expected).max(initial=0)
        check((np.abs(result - expected) <= bound).all(), case, seed, f"off by {np.abs(result - expected).max()}")
        return
    assert wide or np.abs(expected).max(initial=0) <= 256
    bad = np.argwhere(result != expected)
    check(len(bad) == 0, case, seed, lambda: f"{len(bad)} of {result.size} differ, first at {bad[0]}: "
          f"{result[tuple(bad[0])]} for {expected[tuple(bad[0])]}")


def check(condition, case, seed, message):
    if not condition:
        text = message() if callable(message) else message
        raise SystemExit(f"case '{case.name}', seed {seed}: {text}")


def main():
    moe_opt, llvm_bin, *names = sys.argv[1:]
    for case in CASES:
        if names and case.name not in names:
            continue
        ptx = make_ptx(moe_opt, llvm_bin, case.options)
        seeds = range(1) if case.options["tile-n"] > 64 else range(2)
        for seed in seeds:
            run_case(case, Modelled(ptx, seed), seed)
        print(f"{case.name}: {len(seeds)} runs, every output as expected", flush=True)


if __name__ == "__main__":
    main()
