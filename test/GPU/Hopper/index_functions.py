"""Checks the kernels' position arithmetic, compiled for this CPU, against plain descriptions.

index_functions.py MOE_OPT LLVM_BIN CC
"""
import ctypes
import itertools
import os
import random
import subprocess
import sys
import tempfile

MOE_OPT, LLVM_BIN, CC = sys.argv[1:]
LOWERING = "builtin.module(convert-scf-to-cf,convert-to-llvm,reconcile-unrealized-casts)"


class Functions:
    """The functions for one product, from a shared library."""

    def __init__(self, folder, **options):
        self.options = {"k": 64, "columns": 64, "experts": 4, "tile-n": 16, "stages": 4, "banks": 1, "raster": 8}
        self.options.update({key.replace("_", "-"): value for key, value in options.items()})
        words = " ".join(f"{key}={value}" for key, value in self.options.items())
        name = os.path.join(folder, words.replace(" ", "_"))
        tool = lambda program: os.path.join(LLVM_BIN, program)
        steps = [
            [MOE_OPT, f"--moe-gpu-hopper-index-functions={words}"],
            [tool("mlir-opt"), f"--pass-pipeline={LOWERING}"],
            [tool("mlir-translate"), "--mlir-to-llvmir"],
            [tool("llc"), "-O2", "-filetype=obj", "-relocation-model=pic", "-o", name + ".o"],
        ]
        text = b"module {}"
        for step in steps:
            text = subprocess.run(step, input=text, capture_output=True, check=True).stdout
        subprocess.run([CC, "-shared", "-o", name + ".so", name + ".o"], check=True)
        self.library = ctypes.CDLL(name + ".so")

    def __call__(self, name, *arguments, results=1, array=None):
        function = self.library["_mlir_ciface_hopper_" + name]
        converted = [ctypes.c_int32(a) for a in arguments]
        if array is not None:
            converted.insert(0, (ctypes.c_int32 * len(array))(*array))
        if results == 1:
            function.restype = ctypes.c_int32
            return function(*converted)
        out = (ctypes.c_int32 * results)()
        function(out, *converted)
        return tuple(out)


class Checks:
    def __init__(self):
        self.count = 0

    def equal(self, got, expected, *where):
        self.count += 1
        if got != expected:
            raise SystemExit(f"{where}: got {got}, expected {expected}")


def check_tile_map(checks, folder):
    """Prefix sums, bisection and rows of tiles give the tiles that one would write down."""
    for experts, tile in itertools.product((1, 2, 5, 9), (8, 16, 24, 256)):
        f = Functions(folder, experts=experts, tile_n=tile)
        generator = random.Random(experts * 1000 + tile)
        lists = [[0] * experts, [1] * experts, [0] * (experts - 1) + [3 * tile + 1], [5 * tile] + [0] * (experts - 1)]
        for _ in range(40):
            lists.append([generator.choice([0, 0, 1, tile - 1, tile, tile + 1, generator.randint(0, 300)])
                          for _ in range(experts)])
        for rows in lists:
            offsets = [0, *itertools.accumulate(rows)]
            plain = [(e, offsets[e] + i, min(tile, rows[e] - i)) for e in range(experts) for i in range(0, rows[e], tile)]
            counts = [f("tiles_of", r) for r in rows]
            before = [f("sum_before", e, array=counts) for e in range(experts + 1)]
            checks.equal(before[experts], len(plain), "tiles", rows, tile)
            checks.equal(len(plain) <= -(-offsets[-1] // tile) + experts, True, "the host's bound", rows, tile)
            for number, entry in enumerate(plain):
                expert = f("find_expert", number, array=before)
                first, count = f("tile_rows", offsets[expert], offsets[expert + 1], number - before[expert], results=2)
                checks.equal((expert, first, count), entry, "tile", number, rows, tile)


def check_work_items(checks, folder):
    """Every pair of tiles is met once, and neighbours share weights."""
    for columns, raster, tiles in itertools.product((1, 128, 129, 1000), (1, 3, 8), (1, 2, 7, 8, 9, 33)):
        f = Functions(folder, columns=columns, raster=raster)
        column_tiles = -(-columns // 128)
        items = [f("work_item", item, tiles, results=2) for item in range(tiles * column_tiles)]
        expected = [(t, c) for start in range(0, tiles, raster) for c in range(column_tiles)
                    for t in range(start, min(start + raster, tiles))]
        checks.equal(items, expected, "work items", columns, raster, tiles)


def swizzled(row, byte):
    """The PTX ISA's 128-byte swizzle: bits 4-6 of an address are XORed with its bits 7-9."""
    address = row * 128 + byte
    return address ^ (address >> 7 & 7) << 4


def check_filling(checks, folder):
    for stages in (3, 4, 5, 8):
        f = Functions(folder, stages=stages)
        state = (0, 0)
        for step in range(1, 4 * stages):
            state = f("advance", *state, results=2)
            checks.equal(state, (step % stages, step // stages % 2), "ring", stages, step)
    f = Functions(folder)
    for row, chunk in itertools.product(range(256), range(8)):
        checks.equal(f("token_offset", row, chunk), swizzled(row, chunk * 16), "swizzle", row, chunk)
    places = sorted(f("gather_place", thread, results=2) for thread in range(128))
    checks.equal(places, [(row, chunk) for row in range(16) for chunk in range(8)], "gather")
    for k in (1, 7, 8, 9, 63, 64, 65, 127, 128, 200):
        f = Functions(folder, k=k)
        for block, chunk in itertools.product(range(-(-k // 64)), range(8)):
            exist = sum(block * 64 + chunk * 8 + element < k for element in range(8))
            checks.equal(f("chunk_bytes", block, chunk), 2 * exist, "tail of K", k, block, chunk)


def check_weights(checks, folder):
    """Through boxes and descriptors, row r of a consumer's A is the weight row that the results count on."""
    for banks in (1, 2):
        f = Functions(folder, banks=banks, k=640, columns=1000)
        boxes, rows = (1, 128) if banks == 1 else (8, 16)
        for column_tile, block in itertools.product((0, 3), (0, 9)):
            stage = {}  # byte offset of a stage's row -> (bank, column)
            for box in range(boxes):
                bank, offset, depth, column = f(f"weight_box_{box}", block, column_tile, results=4)
                checks.equal(depth, block * 64, "depth of a box")
                for row in range(rows):
                    checks.equal(offset + row * 128 in stage, False, "boxes overlap", box, row)
                    stage[offset + row * 128] = (bank, column + row)
            checks.equal(sorted(stage), list(range(0, 128 * 128, 128)), "boxes fill the stage")
            for consumer, base in itertools.product((0, 1), (0, 5 * 1024, 220 * 1024)):
                check_consumer(checks, f, banks, column_tile, consumer, base, stage)


def check_consumer(checks, f, banks, column_tile, consumer, base, stage):
    for step in range(4):
        low, high = f(f"weight_descriptor_{step}", base, consumer, results=2)
        low, high = low & 0xFFFFFFFF, high & 0xFFFFFFFF
        checks.equal((high >> 30, high >> 14 & 0xFFFF, low >> 14 & 3), (1, 0, 0), "swizzle mode and reserved bits")
        start, stride = (low & 0x3FFF) << 4, (high & 0x3FFF) << 4
        checks.equal((start - base) % 1024, step * 32, "start within the pattern")
        for row in range(64):
            place = start - base - step * 32 + row // 8 * stride + row % 8 * 128
            thread = row // 16 * 32 + row % 8 * 4
            half = row // 8 % 2
            column = f(f"register_column_{half}", consumer, thread)
            bank = half if banks == 2 else 0
            checks.equal(stage[place], (bank, column_tile * (128 // banks) + column), "weight row", consumer, row)
        low, high = f(f"token_descriptor_{step}", base, results=2)
        checks.equal(((low & 0x3FFF) << 4) - step * 32, base + 16384, "tokens of the stage")
        checks.equal((high & 0xFFFFFFFF), 1 << 30 | 1024 >> 4, "tokens' rows")


def check_corners(checks, folder):
    """What a warp puts into its corner, its lanes find there."""
    for banks, consumer, warp in itertools.product((1, 2), (0, 1), range(4)):
        f = Functions(folder, banks=banks)
        halves = 3 - banks
        narrow, wide = {}, {}
        for lane, half in itertools.product(range(32), range(halves)):
            thread = warp * 32 + lane
            column = f(f"register_column_{half}", consumer, thread)
            for group in range(4 // halves):  # stmatrix: matrix, transposed, rows of 16 bytes one after the other
                for token in range(2):
                    offset = (group * halves + half) * 128 + (lane % 4 * 2 + token) * 16 + lane // 4 * 2
                    narrow[offset] = (group * 8 + lane % 4 * 2 + token, column)
            for token in range(2):
                offset = f(f"wide_corner_offset_{token}{half}", thread)
                checks.equal(offset in wide or not 0 <= offset <= 636, False, "corner of f32", offset)
                wide[offset] = (lane % 4 * 2 + token, column)
        for lane in range(32):
            offset, token, column = f("corner_place", consumer, warp * 32 + lane, results=3)
            for element in range(8):
                checks.equal(narrow[offset + element * 2], (token, column + element), "corner", banks, lane)
        for lane in range(16 * halves):
            offset, token, column = f("wide_corner_place", consumer, warp * 32 + lane, results=3)
            checks.equal(offset % 16, 0, "alignment in the corner of f32")
            for element in range(4):
                checks.equal(wide[offset + element * 4], (token, column + element), "corner of f32", banks, lane)


def main():
    for check in (check_tile_map, check_work_items, check_filling, check_weights, check_corners):
        checks = Checks()
        with tempfile.TemporaryDirectory() as folder:
            check(checks, folder)
        print(f"{check.__name__[6:]}: {checks.count} checks passed")


if __name__ == "__main__":
    main()
