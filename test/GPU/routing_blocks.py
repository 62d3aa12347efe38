"""Runs the launch of router product, selection and plan from its PTX, on the modelled machine of Hopper/ptx_machine.py.

routing_blocks.py TOOLS SCRATCH

Blocks take turns at random: a thread runs until it must wait for its block, then those of any block go on, so that blocks
arrive in any order. Memory is that of a machine in which every write is seen at once: that fences are where they must be is
read from the PTX by routing-blocks.test.
"""
import os
import random
import re
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "Hopper"), os.path.join(os.path.dirname(HERE), "Integration")]
import harness
import ptx_instructions  # fills the table of instructions
import routing_instructions  # and what these kernels use beside it
import routings
from ptx_machine import Block, MachineError, Memory
from ptx_program import Program

THREADS = 512


class PhasedBlock(Block):
    """A block whose threads also agree whether any of them has what it looks for."""

    def partners(self, thread):
        return self.threads if thread.waiting[0] == "any" else super().partners(thread)

    def together(self, members, op):
        if op[0] != "any":
            return super().together(members, op)
        found = any(thread.waiting[3] for thread in members)
        for thread in members:
            thread.registers[thread.waiting[2]] = found


class Launch:
    """The launch that takes a ticket in a function of the host: evaluates the host's arithmetic in front of it."""

    TYPES = {"f32": np.float32, "bf16": np.uint16, "i32": np.int32, "index": np.int64, "i8": np.uint8}

    def __init__(self, text, function, arguments):
        """`arguments` are arrays in the order of the function's parameters."""
        self.memory, self.values, self.arrays = Memory(), {}, {}
        body = text[text.index(f"func.func @{function}(") :]
        names = re.findall(r"(%arg\d+): memref", body[: body.index("\n")])
        for name, array in zip(names, arguments, strict=True):
            self.bind(name, array)
        for line in body.splitlines()[1:]:
            if "gpu.launch_func" in line and self.ticket and self.ticket + " :" in line:
                self.kernel = re.search(r"@device::@(\w+)", line).group(1)
                self.blocks = self.values[re.search(r"blocks in \((%\w+)", line).group(1)]
                self.operands = re.findall(r"(%\w+) : ([^%]+?)(?:, |\)$)", line[line.index("args(") :].strip())
                self.params = []
                for name, type in self.operands:
                    self.params.append(self.values[name])
                    # Memory that a kernel cuts its buffers from comes with its size.
                    if type == "memref<?xi8>":
                        self.params.append(self.arrays[name].size)
                return
            self.evaluate(line.strip())
        raise harness.Failure(f"{function}: no launch takes a ticket")

    ticket = None

    def bind(self, name, array):
        self.arrays[name] = array
        self.values[name] = self.memory.add(array)

    def evaluate(self, line):
        result, _, rest = line.partition(" = ")
        if constant := re.match(r"arith\.constant (-?\d+) : index", rest):
            self.values[result] = int(constant.group(1))
        elif dim := re.match(r"memref\.dim (%\w+), (%\w+)", rest):
            self.values[result] = self.arrays[dim.group(1)].shape[self.values[dim.group(2)]]
        elif operation := re.match(r"arith\.(\w+) (%\w+), (%\w+)(?: overflow<\w+>)? : index", rest):
            x, y = self.values[operation.group(2)], self.values[operation.group(3)]
            self.values[result] = {"addi": x + y, "muli": x * y, "subi": x - y, "maxsi": max(x, y), "minsi": min(x, y),
                                   "divui": x // (y or 1), "andi": x & y}[operation.group(1)]
        elif alloc := re.match(r"memref\.alloc\(([^)]*)\).* : memref<(?:([\dx?]+)x)?(\w+)>", rest):
            sizes = [name.strip() for name in alloc.group(1).split(",") if name]
            extents, type = (alloc.group(2) or "1").split("x"), np.dtype(self.TYPES[alloc.group(3)])
            shape = [self.values[sizes.pop(0)] if extent == "?" else int(extent) for extent in extents]
            # Nothing is zero at first.
            array = np.full(int(np.prod(shape)) * type.itemsize, 0xA5, np.uint8)
            self.bind(result, array.view(type).reshape(shape))
        elif view := re.match(r"memref\.(?:view|cast|reinterpret_cast) (%\w+)(?:\[(%\w+)\])?", rest):
            self.arrays[result] = self.arrays[view.group(1)]
            self.values[result] = self.values[view.group(1)] + (self.values[view.group(2)] if view.group(2) else 0)
        elif "@moe_gpu_ticket" in rest:
            self.ticket = result
            self.bind(result, np.zeros(1, np.uint32))

    def run(self, program, seed):
        """All blocks, their threads taking turns."""
        if len(self.params) != program.parameter_count:
            raise harness.Failure(f"{program.parameter_count} parameters, the launch passes {len(self.params)}")
        turns = random.Random(seed)
        blocks = [PhasedBlock(program, self.memory, self.params, THREADS, i, self.blocks, 0, seed * 1000 + i)
                  for i in range(self.blocks)]
        live = [[block, list(block.threads)] for block in blocks]
        for block in blocks:
            for thread in block.threads:
                thread.waiting, thread.done = None, False
        while live:
            entry = turns.choice(live)
            block, threads = entry
            turns.shuffle(threads)
            if not any([block.step(thread) for thread in threads]):
                raise MachineError("no thread of a block can go on")
            entry[1] = [thread for thread in threads if not thread.done]
            live = [other for other in live if other[1]]


def outputs(launch, experts, slots):
    """Buffers of the plan, known by their types; where there are several, it is the first."""
    kinds = {"offsets": ((experts + 1,), np.int64), "slots": ((None, slots), np.int64),
             "ids": ((None, slots), np.int32)}
    found = {}
    for value, _ in launch.operands:
        array = launch.arrays.get(value)
        if array is None:
            continue
        for name, (shape, type) in kinds.items():
            if array.dtype == type and array.ndim == len(shape) and shape[-1] == array.shape[-1]:
                found.setdefault(name, array)
        if array.dtype == np.int64 and array.ndim == 1 and array.shape != (experts + 1,):
            found.setdefault("tokens", array)
    return found


def build(tools, path, *flags):
    """The host's launches, and the kernels."""
    compile = [os.path.join(tools, "moe-compile"), path, "--target=nvptx", "-o", "-", *flags]
    return harness.run(compile + ["--stop-after=kernels"]), harness.run(compile + ["--emit=ptx"])


def choose(logits, k):
    """The k highest, NaN below all, of equals the first."""
    key = np.where(np.isnan(logits), -np.inf, logits)
    order = np.lexsort((np.arange(logits.shape[1])[None, :].repeat(len(logits), 0), np.isnan(logits), -key), axis=1)
    return order[:, :k].astype(np.int32)


def check_route(text, ptx, policy, tokens, seed, numbers):
    weights = numbers.integers(-1, 2, (policy.experts, routings.HIDDEN)).astype(np.float32)
    parameters = np.concatenate([np.zeros(4096, np.uint8), weights.view(np.uint8).reshape(-1)])
    x = routings.make_rows(numbers, tokens)
    launch = Launch(text, "route", [parameters, x])
    program = Program(ptx, launch.kernel)
    for replay in range(2):  # the ticket is 0 again
        launch.run(program, seed + replay)
        got = outputs(launch, policy.experts, policy.slots)
        ids = choose(x @ weights.T, policy.slots)
        title = f"{policy.text}, {tokens} tokens, seed {seed + replay}"
        harness.check_equal(f"{title}: ids", got["ids"], ids)
        routings.check_plan(title, got, ids, policy.experts)


def check_sort(text, ptx, policy, tokens, seed, numbers):
    for ids in routings.given_ids(numbers, tokens, policy.experts, policy.slots):
        launch = Launch(text, "sort", [ids, np.zeros(ids.shape, np.float32)])
        launch.run(Program(ptx, launch.kernel), seed)
        got = outputs(launch, policy.experts, policy.slots)
        routings.check_plan(f"sort of {ids.tolist()}", got, ids, policy.experts)


def check_mistakes(text, ptx, policy):
    """That the model would notice threads that do not wait, and a last block that begins too early."""
    for broken in (ptx.replace("bar.sync", "// bar.sync"), ptx.replace("bar.red.or.pred", "setp.eq.b32")):
        try:
            check_route(text, broken, policy, 35, 3, np.random.default_rng(5))
        except (harness.Failure, MachineError):
            continue
        raise harness.Failure("broken PTX was not noticed")


def check_tiles(tools, tokens, seed, numbers):
    """The tiles of products on tensor cores, which the last block lists; both products of experts have the same here."""
    experts, slots, tile = 4, 2, 8
    layer = os.path.join(os.path.dirname(HERE), "Target", "Inputs", "bf16-layer.mlir")
    text, ptx = build(tools, layer, f"--tile-n={tile}")
    # Every weight is -1, 0 or 1, wherever it lies.
    parameters = numbers.choice(np.array([0, 0x3F80, 0xBF80], np.uint16), 1 << 17).view(np.uint8)
    launch = Launch(text, "layer", [parameters, numbers.integers(-1, 2, (tokens, 72)).astype(np.float32)])
    launch.run(Program(ptx, launch.kernel), seed)
    got = outputs(launch, experts, slots)
    routings.check_plan(f"layer of {tokens} tokens", got, got["ids"], experts)
    offsets = got["offsets"].tolist()
    want = [(e, first, min(tile, offsets[e + 1] - first), 0)
            for e in range(experts) for first in range(offsets[e], offsets[e + 1], tile)]
    maps = [launch.arrays[name].view(np.int32) for name, type in launch.operands if type == "memref<?xi32>"]
    if len(maps) != 1:
        raise harness.Failure(f"{len(maps)} tile maps, expected one that both products of experts share")
    if maps[0][0] != len(want) or maps[0][4 : 4 + 4 * len(want)].tolist() != [word for tile in want for word in tile]:
        raise harness.Failure(f"{tokens} tokens: tile map {maps[0].tolist()}, expected {want}")


def test(tools, scratch, arguments):
    numbers = np.random.default_rng(5)
    for experts, slots, tokens in ((7, 2, 35), (1, 1, 17), (9, 9, 3), (5, 3, 0)):
        policy = routings.Policy(f"top_k<{slots}>", experts, slots, score="identity")
        path = os.path.join(scratch, "policy.mlir")
        with open(path, "w") as file:
            file.write(policy.source(routings.HIDDEN))
        text, ptx = build(tools, path)
        for seed in (1, 2):
            check_route(text, ptx, policy, tokens, seed, numbers)
            check_sort(text, ptx, policy, tokens, seed, numbers)
        print(f"{tokens} tokens, {slots} of {experts} experts: every row as expected", flush=True)
        if tokens == 35:
            check_mistakes(text, ptx, policy)
    for seed, tokens in enumerate((0, 1, 50)):
        check_tiles(tools, tokens, seed, numbers)
        print(f"{tokens} tokens: every tile as expected", flush=True)


if __name__ == "__main__":
    harness.main(test, __doc__)
