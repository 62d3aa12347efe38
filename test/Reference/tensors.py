"""Reads and writes .safetensors files and checkpoint folders with NumPy alone.

Shares nothing with the compiler, so that a misreading there cannot hide itself here.
"""
import json
import os
import struct

import numpy as np

NUMPY_TYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": np.uint16,  # its upper half of a float32; NumPy has no such type
    "I64": np.int64,
    "I32": np.int32,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
NAMES = {np.dtype(kind): name for name, kind in NUMPY_TYPES.items() if name != "BF16"}


class BF16:
    """A tensor to be stored as bfloat16: float32 values rounded to nearest even."""

    def __init__(self, values):
        bits = np.ascontiguousarray(values, np.float32).view(np.uint32).astype(np.uint64)
        self.bits = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
        self.shape = self.bits.shape


def widen_bf16(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def load(path, widen=True):
    """All tensors of a file by name; bf16 and f16 as float32 unless told otherwise."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = memoryview(file.read())
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        tensor = np.frombuffer(data[begin:end], NUMPY_TYPES[entry["dtype"]]).reshape(entry["shape"])
        if widen and entry["dtype"] == "BF16":
            tensor = widen_bf16(tensor)
        elif widen and entry["dtype"] == "F16":
            tensor = tensor.astype(np.float32)
        tensors[name] = tensor
    return tensors


def save_lazily(path, shapes, tensor_of):
    """Writes tensors one after the other, holding one at a time: `shapes` has (kind, shape) by name, in order."""
    sizes = {"BF16": 2, **{kind: np.dtype(numpy).itemsize for kind, numpy in NUMPY_TYPES.items()}}
    header, offset = {}, 0
    for name, (kind, shape) in shapes.items():
        end = offset + sizes[kind] * int(np.prod(shape, dtype=np.int64))
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for name in shapes:
            tensor = tensor_of(name)
            data = tensor.bits if isinstance(tensor, BF16) else tensor
            file.write(np.ascontiguousarray(data).data)


def save(path, tensors):
    """Writes NumPy arrays and BF16 tensors, in the given order."""
    kinds = {name: "BF16" if isinstance(tensor, BF16) else NAMES[tensor.dtype] for name, tensor in tensors.items()}
    save_lazily(path, {name: (kinds[name], tensor.shape) for name, tensor in tensors.items()}, tensors.__getitem__)


def load_checkpoint(folder):
    """The configuration and all tensors (widened) of a checkpoint folder, sharded or not."""
    with open(os.path.join(folder, "config.json")) as file:
        config = json.load(file)
    index = os.path.join(folder, "model.safetensors.index.json")
    files = ["model.safetensors"]
    if os.path.exists(index):
        with open(index) as file:
            files = sorted(set(json.load(file)["weight_map"].values()))
    tensors = {}
    for name in files:
        tensors.update(load(os.path.join(folder, name)))
    return config, tensors
