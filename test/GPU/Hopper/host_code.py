"""Compiles the host code of products and their kernels, and runs both: the host code on this CPU, its launches on the
modelled machine.

host_code.py MOE_OPT LLVM_BIN CC
"""
import ctypes
import os
import re
import subprocess
import sys
import tempfile

import numpy as np

from kernels import assemble, run
from product_numbers import Case, Data, bf16_bits, compare, from_bf16, plus_bias
from ptx_machine import Memory, TensorMap, launch
from ptx_program import Program

MOE_OPT, LLVM_BIN, CC = sys.argv[1:]
K, COLUMNS, EXPERTS, LARGEST = 72, 40, 4, 16384
SOURCE = f"""
func.func private @gate(%g: f32, %u: f32) -> f32 {{
  %zero = arith.constant 0.0 : f32
  %p = arith.maximumf %g, %zero : f32
  %r = arith.addf %p, %u : f32
  return %r : f32
}}
func.func private @plus(%x: f32, %b: f32) -> f32 {{
  %r = arith.addf %x, %b : f32
  return %r : f32
}}
func.func private @up(memref<?x{K}xbf16>, memref<?xindex>, memref<{EXPERTS}x{COLUMNS}x{K}xbf16>,
    memref<{EXPERTS}x{COLUMNS}x{K}xbf16>, memref<{EXPERTS + 1}xindex>, memref<?xi8>, memref<?x{COLUMNS}xbf16>)
  attributes {{llvm.emit_c_interface, hopper.grouped_matmul = {{banks = 2, gathered, epilogue = @gate, max_rows = {LARGEST}}}}}
func.func private @down(memref<?x{K}xbf16>, memref<{EXPERTS}x{COLUMNS}x{K}xbf16>, memref<{EXPERTS}x{COLUMNS}xf32>,
    memref<{EXPERTS + 1}xindex>, memref<?xi8>, memref<?x{COLUMNS}xf32>)
  attributes {{llvm.emit_c_interface, hopper.grouped_matmul = {{vectors = 1, epilogue = @plus, max_rows = {LARGEST}}}}}
func.func private @project(memref<?x{K}xbf16>, memref<1x{COLUMNS}x{K}xbf16>, index, memref<?x{COLUMNS}xf32>)
  attributes {{llvm.emit_c_interface, hopper.grouped_matmul = {{dense, max_rows = {LARGEST}}}}}
func.func private @padded(memref<?x40xbf16>, memref<1x20x40xbf16>, index, memref<?x24xbf16>)
  attributes {{llvm.emit_c_interface, hopper.grouped_matmul = {{dense, k = 36, max_rows = {LARGEST}}}}}
"""
STUBS = """
#include <stdint.h>
void (*launch)(uint32_t, int64_t, void **);
void (*tensor_map)(void *, void *, uint32_t, uint32_t, const uint64_t *, const uint64_t *, const uint32_t *, uint32_t);
void moe_gpu_launch(uint32_t kernel, int64_t blocks, void **parameters) { launch(kernel, blocks, parameters); }
void moe_gpu_tensor_map(void *map, void *memory, uint32_t element, uint32_t rank, const uint64_t *sizes,
                        const uint64_t *strides, const uint32_t *box, uint32_t swizzle) {
  tensor_map(map, memory, element, rank, sizes, strides, box, swizzle);
}
"""
HOST = (
    "builtin.module(expand-strided-metadata,arith-expand,convert-scf-to-cf,convert-to-llvm,reconcile-unrealized-casts)"
)


def gate(g, u):
    return np.maximum(g, 0) + u


class Host:
    """The host code as a library, whose launches come back here."""

    def __init__(self, folder):
        module = run([MOE_OPT, "--moe-gpu-lower-grouped-matmul-hopper"], SOURCE)
        kernels = re.search(r"\n  gpu\.module @moe_hopper .*?\n  \}\n", module, re.S).group(0)
        self.ptx = assemble(LLVM_BIN, kernels)
        self.kernels = re.findall(r"llvm\.func @(\w+)\(.*hopper\.kernel = \{parameters = (\d+).*shared_bytes = (\d+) : "
                                  r"i64, threads = (\d+)", kernels)
        self.library = self.compile(folder, module.replace(kernels, "\n"))
        launch_type = ctypes.CFUNCTYPE(None, ctypes.c_uint32, ctypes.c_int64, ctypes.POINTER(ctypes.c_void_p))
        numbers = lambda kind: ctypes.POINTER(kind)
        map_type = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32,
                                    numbers(ctypes.c_uint64), numbers(ctypes.c_uint64), numbers(ctypes.c_uint32),
                                    ctypes.c_uint32)
        self.callbacks = launch_type(self.launch), map_type(self.tensor_map)
        for name, callback in zip(("launch", "tensor_map"), self.callbacks):
            ctypes.c_void_p.in_dll(self.library, name).value = ctypes.cast(callback, ctypes.c_void_p).value

    def compile(self, folder, module):
        tool = lambda program: os.path.join(LLVM_BIN, program)
        lowered = run([tool("mlir-opt"), f"--pass-pipeline={HOST}"], module)
        code = run([tool("mlir-translate"), "--mlir-to-llvmir"], lowered)
        paths = [os.path.join(folder, name) for name in ("host.o", "stubs.c", "host.so")]
        run([tool("llc"), "-O2", "-filetype=obj", "-relocation-model=pic", "-o", paths[0]], code)
        with open(paths[1], "w") as file:
            file.write(STUBS)
        subprocess.run([CC, "-shared", "-fPIC", "-o", paths[2], paths[0], paths[1]], check=True)
        return ctypes.CDLL(paths[2])

    def tensor_map(self, place, memory, element, rank, sizes, strides, box, swizzle):
        self.errors += [f"element {element}, swizzle {swizzle}, map at {place:#x}"] if (
            element != 9 or swizzle != 3 or place % 64) else []
        self.maps[place] = TensorMap(memory, sizes[:rank], strides[: rank - 1], box[:rank])

    def launch(self, number, blocks, parameters):
        """Errors here cannot pass the host code: they are kept."""
        try:
            name, count, shared, threads = self.kernels[number]
            # A number by value lies where an address would.
            values = [self.maps.get(parameters[i]) or ctypes.c_uint64.from_address(parameters[i]).value
                      for i in range(int(count))]
            self.launched.append((name, blocks))
            # Few blocks are as good as many: the machine runs one after the other.
            launch(Program(self.ptx, name), self.memory, values, int(threads), min(blocks, 3), int(shared), seed=1)
        except Exception as error:
            self.errors.append(repr(error))

    def call(self, function, memory, arguments):
        self.memory, self.maps, self.launched, self.errors = memory, {}, [], []
        self.library["_mlir_ciface_" + function](*[
            ctypes.c_int64(argument) if isinstance(argument, int) else ctypes.byref(argument) for argument in arguments])
        if self.errors:
            raise SystemExit(f"{function}: {self.errors}")


def descriptor(memory, array):
    """A memref of `array`, copied to device memory."""
    rank = array.ndim

    class Descriptor(ctypes.Structure):
        _fields_ = [("allocated", ctypes.c_uint64), ("aligned", ctypes.c_uint64), ("offset", ctypes.c_int64),
                    ("sizes", ctypes.c_int64 * rank), ("strides", ctypes.c_int64 * rank)]

    address = memory.add(array)
    strides = [stride // array.itemsize for stride in array.strides]
    return Descriptor(address, address, 0, (ctypes.c_int64 * rank)(*array.shape), (ctypes.c_int64 * rank)(*strides))


def check(host, function, rows, tile):
    gathered, wide = function == "up", function == "down"
    case = Case(function, rows, gate if gathered else plus_bias, k=K, columns=COLUMNS, banks=1 + gathered,
                gathered=gathered, **({"vector-bits": 32} if wide else {}))
    data, memory = Data(case, seed=3), Memory()
    out = np.full((data.total, COLUMNS), 0x7FC1, np.uint32 if wide else np.uint16)
    tile_map = np.zeros(16 * (1 + -(-data.total // 8) + EXPERTS), np.int8)
    arrays = [bf16_bits(data.tokens)]
    arrays += [data.indices.astype(np.int64)] if gathered else []
    arrays += [bf16_bits(bank) for bank in data.banks]
    arrays += [data.vector] if wide else []
    arrays += [data.offsets.astype(np.int64), tile_map, out]
    host.call(function, memory, [descriptor(memory, array) for array in arrays])
    blocks = min(132, (-(-data.total // tile) + EXPERTS) * 1)
    expected = [(f"{function}_n{tile}_tiles", 1), (f"{function}_n{tile}", blocks)]
    if host.launched != expected:
        raise SystemExit(f"{function} of {rows}: launched {host.launched}, expected {expected}")
    result = (out.view(np.float32) if wide else from_bf16(out)).astype(np.float64)
    compare(case, data, wide, result, seed=3)
    print(f"{function} of {rows}: {tile} tokens a tile, every output as expected", flush=True)


def check_dense(host, rows, tile):
    """One launch, of no blocks for no rows."""
    case = Case("project", [rows], k=K, columns=COLUMNS, **{"out-bits": 32})
    data, memory = Data(case, seed=3), Memory()
    out = np.full((max(rows, 1), COLUMNS), 0x7FC1, np.uint32)
    tokens, bank = (descriptor(memory, bf16_bits(array)) for array in (data.tokens, data.banks[0]))
    host.call("project", memory, [tokens, bank, rows, descriptor(memory, out)])
    expected = [(f"project_n{tile}", min(132, -(-rows // tile)))]
    out = out[:rows]
    if host.launched != expected:
        raise SystemExit(f"project of {rows}: launched {host.launched}, expected {expected}")
    compare(case, data, True, out.view(np.float32).astype(np.float64), seed=3)
    print(f"project of {rows}: {tile} tokens a tile, every output as expected", flush=True)


def check_padded(host, rows):
    """What lies between rows is NaN, is not read, and is not written."""
    case = Case("padded", [rows], k=36, columns=20)
    data, memory = Data(case, seed=3), Memory()
    out = np.full((rows, 24), 0x7FC1, np.uint16)
    tokens, bank = (descriptor(memory, data.padded(array)) for array in (data.tokens, data.banks[0]))
    host.call("padded", memory, [tokens, bank, rows, descriptor(memory, out)])
    compare(case, data, False, from_bf16(out[:, :20]).astype(np.float64), seed=3)
    if not (out[:, 20:] == 0x7FC1).all():
        raise SystemExit("padded: something between the rows of the output was written")
    print(f"padded of {rows}: every output as expected", flush=True)


def main():
    with tempfile.TemporaryDirectory() as folder:
        host = Host(folder)
        for function in ("up", "down"):
            check(host, function, [1, 0, 0, 0], 8)
            check(host, function, [7, 0, 9, 2], 16)
            check(host, function, [70, 0, 130, 1], 64)
        for rows, tile in (0, 8), (1, 8), (21, 32), (100, 128):
            check_dense(host, rows, tile)
        check_padded(host, 19)


if __name__ == "__main__":
    main()
