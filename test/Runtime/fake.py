"""What the tests of the runtime share: running the program written by hand and making its files."""
import json
import os
import shutil
import struct
import subprocess
import sys

import numpy as np

MASK = (1 << 64) - 1
P1, P2, P3, P4, P5 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
BUILD_ID = bytes(range(1, 17))
TYPES = {"F32": 4, "F16": 2, "BF16": 2, "F64": 8, "I32": 4, "I64": 8, "I8": 1, "U8": 1, "BOOL": 1}


def rotate(value, bits):
    return ((value << bits) | (value >> (64 - bits))) & MASK


def xxh64(data):
    """XXH64 with seed 0, written from its specification and not from our C++."""
    step = lambda sum, value: rotate((sum + value * P2) & MASK, 31) * P1 & MASK
    hash, at = P5, 0
    if len(data) >= 32:
        lanes = [(P1 + P2) & MASK, P2, 0, -P1 & MASK]
        while at + 32 <= len(data):
            lanes = [step(lane, value) for lane, value in zip(lanes, struct.unpack_from("<4Q", data, at))]
            at += 32
        hash = sum(rotate(lane, bits) for lane, bits in zip(lanes, (1, 7, 12, 18))) & MASK
        for lane in lanes:
            hash = ((hash ^ step(0, lane)) * P1 + P4) & MASK
    hash = (hash + len(data)) & MASK
    while at + 8 <= len(data):
        hash = (rotate(hash ^ step(0, struct.unpack_from("<Q", data, at)[0]), 27) * P1 + P4) & MASK
        at += 8
    if at + 4 <= len(data):
        hash = (rotate(hash ^ struct.unpack_from("<I", data, at)[0] * P1 & MASK, 23) * P2 + P3) & MASK
        at += 4
    for byte in data[at:]:
        hash = rotate(hash ^ byte * P5 & MASK, 11) * P1 & MASK
    hash = (hash ^ hash >> 33) * P2 & MASK
    hash = (hash ^ hash >> 29) * P3 & MASK
    return hash ^ hash >> 32


def weights(bias=0.0, build_id=BUILD_ID, version=1, tensors=1, size=None, magic=b"MOEWGT\0\1"):
    """The bytes of a weights file of the fake program."""
    data = struct.pack("<4f", bias, 0, 0, 0).ljust(64, b"\0")
    size = 4096 + len(data) if size is None else size
    head = magic + struct.pack("<IIQQ", version, 64, size, tensors) + build_id + struct.pack("<Q", xxh64(data))
    head += struct.pack("<Q", xxh64(head + bytes(8)))
    return head.ljust(4096, b"\0") + data


def safetensors(path, tensors):
    """Writes {name: (type name, array)}."""
    header, data = {}, b""
    for name, (kind, array) in tensors.items():
        raw = array.tobytes()
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    raw_safetensors(path, json.dumps(header).encode(), data)


def raw_safetensors(path, header, data, length=None):
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header) if length is None else length) + header + data)


def read_safetensors(path):
    """{name: (type name, shape, bytes)}"""
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    return {
        name: (entry["dtype"], entry["shape"], data[slice(*entry["data_offsets"])]) for name, entry in header.items()
    }


class Program:
    """A copy of the fake program in an own folder, with its weights beside it; one for a device runs on `driver`."""

    def __init__(self, binary, folder, driver=None, bias=0.0):
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        self.folder = folder
        self.driver = driver
        self.path = os.path.join(folder, "program")
        shutil.copy(binary, self.path)
        with open(self.path + ".weights", "wb") as file:
            file.write(weights(bias))
        self.failures = 0

    def file(self, name):
        return os.path.join(self.folder, name)

    def ids(self, ids, kind=np.int64, name="ids.npy"):
        np.save(self.file(name), np.array(ids, kind))
        return self.file(name)

    def run(self, *arguments, **options):
        driver = ["--driver", self.driver] if self.driver else []
        return subprocess.run(
            [self.path, *driver, *map(str, arguments)],
            capture_output=True, text=True, errors="replace", timeout=600, **options,
        )

    def expect(self, condition, *what):
        if not condition:
            self.failures += 1
            print("FAILED", *what)

    def done(self):
        sys.exit(1 if self.failures else 0)
