"""A small machine that runs kernels in PTX text, one block after the other, thread by thread.

It knows the instructions that the product kernels use, each written from the PTX ISA: TMA with swizzle and zeros outside
the tensor, cp.async and its groups, mbarriers with transaction counts, wgmma's descriptors and accumulators, stmatrix,
warp and block barriers. It is not a timing model. What may happen early or late on a device (copies, wgmmas, the order
of threads) happens early or late by the seed.

Reported as errors: accesses outside buffers or at unaligned addresses, wgmma reading bytes that cp.async wrote without a
proxy fence since, registers of a pending wgmma that change, threads of a warp that disagree in what should be uniform,
two writes of one output byte, and blocks in which no thread can go on.
"""
import random

import numpy as np

from ptx_program import SHARED_BASE, SHARED_WINDOW, MachineError, signed


class Memory:
    """Device memory: buffers with gaps between them, so that any access outside one is noticed."""

    def __init__(self):
        self.buffers = []
        self.next = 0x10000000

    def add(self, array):
        """A buffer that is `array`'s memory; its address."""
        data = array.reshape(-1).view(np.uint8)
        address = self.next
        self.next += (len(data) + 0xFFFF) & ~0xFF
        self.buffers.append((address, data, np.zeros(len(data), np.uint8)))
        return address

    def find(self, address, size):
        for start, data, writes in self.buffers:
            if start <= address and address + size <= start + len(data):
                return data, address - start, writes
        raise MachineError(f"access of {size} bytes outside all buffers at {address:#x}")

    def read(self, address, size):
        if address % size:
            raise MachineError(f"unaligned read of {size} bytes at {address:#x}")
        data, offset, _ = self.find(address, size)
        return data[offset : offset + size].tobytes()

    def write(self, address, value):
        if address % len(value):
            raise MachineError(f"unaligned write of {len(value)} bytes at {address:#x}")
        data, offset, writes = self.find(address, len(value))
        data[offset : offset + len(value)] = np.frombuffer(value, np.uint8)
        writes[offset : offset + len(value)] += 1

    def writes_of(self, address):
        return next(writes for start, _, writes in self.buffers if start == address)


class TensorMap:
    """What moe_gpu_tensor_map describes; dimensions are innermost first. Elements have two bytes."""

    def __init__(self, address, sizes, strides, box):
        self.address, self.sizes, self.strides, self.box = address, sizes, strides, box
        assert all(stride % 16 == 0 for stride in strides) and box[0] * 2 == 128 and max(box) <= 256

    def rows(self, memory, coordinates):
        """The box at `coordinates`: 128 bytes for each of its rows, zeros outside the tensor."""
        count = int(np.prod(self.box[1:]))
        for number in range(count):
            place, rest = [], number
            for size in self.box[1:]:
                place.append(rest % size)
                rest //= size
            row = np.zeros(128, np.uint8)
            where = [c + p for c, p in zip(coordinates[1:], place)]
            inside = all(0 <= w < size for w, size in zip(where, self.sizes[1:]))
            length = min(64, self.sizes[0] - coordinates[0])
            if inside and length > 0:
                start = self.address + coordinates[0] * 2 + sum(w * s for w, s in zip(where, self.strides))
                data, offset, _ = memory.find(start, length * 2)
                row[: length * 2] = data[offset : offset + length * 2]
            yield row


class Barrier:
    def __init__(self, count):
        self.count = self.pending = count
        self.bytes = self.phase = 0

    def settle(self):
        if self.pending < 0:
            raise MachineError("more arrivals than a barrier expects")
        if self.pending == 0 and self.bytes == 0:
            self.phase ^= 1
            self.pending = self.count

    def arrive(self, expected=0):
        self.bytes += expected
        self.pending -= 1
        self.settle()

    def complete(self, count):
        self.bytes -= count
        self.settle()


class Thread:
    def __init__(self, number):
        self.number, self.lane, self.warp = number, number % 32, number // 32
        self.copies, self.groups = [], []  # cp.async not yet committed; groups not yet waited for
        self.unfenced = []  # bytes of shared memory that its finished copies wrote


class Warpgroup:
    def __init__(self):
        self.open, self.groups = [], []  # wgmmas not yet committed; groups not yet waited for


class Block:
    """One block: shared memory and what is under way. Generated code calls its methods."""

    def __init__(self, program, memory, params, threads, index, blocks, shared_bytes, seed):
        self.memory, self.params, self.index, self.blocks = memory, params, index, blocks
        self.random = random.Random(seed)
        self.shared = bytearray(self.random.randbytes(SHARED_BASE + shared_bytes))  # nothing is zero at first
        self.generic = np.zeros(SHARED_BASE + shared_bytes, bool)  # written by cp.async, no fence since
        self.barriers = {}
        self.transfers = []
        self.threads = [Thread(n) for n in range(threads)]
        self.warpgroups = [Warpgroup() for _ in range(threads // 128)]
        self.program = program
        for thread in self.threads:
            thread.registers = [0] * program.register_count
            thread.run = program.start(self, thread, thread.registers)

    # Memory ------------------------------------------------------------------------------------------------------

    def shared_range(self, address, size):
        address = address - SHARED_WINDOW if address >= SHARED_WINDOW else address
        if address < SHARED_BASE or address + size > len(self.shared) or address % size:
            raise MachineError(f"bad access of {size} bytes of shared memory at {address}")
        return address

    def load(self, address, size):
        if address >= SHARED_WINDOW:
            return self.load_shared(address, size)
        return int.from_bytes(self.memory.read(address, size), "little")

    def store(self, address, value, size):
        self.memory.write(address, value.to_bytes(size, "little"))

    def load_words(self, shared, address, count, size):
        read = self.read_shared if shared else self.memory.read
        data = read(address, count * size)
        return [int.from_bytes(data[i * size : (i + 1) * size], "little") for i in range(count)]

    def store_words(self, shared, address, words, size):
        data = b"".join(word.to_bytes(size, "little") for word in words)
        if shared:
            address = self.shared_range(address, len(data))
            self.shared[address : address + len(data)] = data
        else:
            self.memory.write(address, data)

    def read_shared(self, address, size):
        address = self.shared_range(address, size)
        return bytes(self.shared[address : address + size])

    def load_shared(self, address, size):
        return int.from_bytes(self.read_shared(address, size), "little")

    def store_shared(self, address, value, size):
        address = self.shared_range(address, size)
        self.shared[address : address + size] = value.to_bytes(size, "little")

    # Barriers and TMA --------------------------------------------------------------------------------------------

    def barrier(self, address):
        return self.barriers[self.shared_range(address, 8)]

    def init_barrier(self, address, count):
        self.barriers[self.shared_range(address, 8)] = Barrier(count)

    def tensor_copy(self, target, param, coordinates, barrier):
        target = self.shared_range(target, 1024)
        coordinates = [signed(c, 32) for c in coordinates]
        self.transfers.append((target, self.params[param], coordinates, self.barrier(barrier)))
        if self.random.random() < 0.5:
            self.transfer()

    def transfer(self):
        """Finishes one transfer of TMA, in any order."""
        target, tensor, coordinates, barrier = self.transfers.pop(self.random.randrange(len(self.transfers)))
        count = 0
        for number, row in enumerate(tensor.rows(self.memory, coordinates)):
            for chunk in range(8):
                address = target + number * 128 + chunk * 16
                address ^= (address >> 7 & 7) << 4  # the swizzle of 128 bytes
                self.shared[address : address + 16] = row[chunk * 16 : chunk * 16 + 16].tobytes()
                self.generic[address : address + 16] = False
            count += 128
        barrier.complete(count)

    # cp.async ----------------------------------------------------------------------------------------------------

    def copy_async(self, thread, target, source, size):
        target = self.shared_range(target, 16)
        if source % 16:
            raise MachineError(f"unaligned copy from {source:#x}")
        job = [target, source, size]
        thread.copies.append(job)
        if self.random.random() < 0.3:
            self.finish_copy(thread, job)

    def finish_copy(self, thread, job):
        target, source, size = job
        if size is None:
            return
        data, offset, _ = self.memory.find(source, max(size, 1))
        self.shared[target : target + 16] = data[offset : offset + size].tobytes().ljust(16, b"\0")
        self.generic[target : target + 16] = True
        thread.unfenced.append(target)
        job[2] = None

    def commit_copies(self, thread):
        thread.groups.append(thread.copies)
        thread.copies = []

    def wait_copies(self, thread, pending):
        while len(thread.groups) > pending:
            for job in thread.groups.pop(0):
                self.finish_copy(thread, job)

    def fence_async(self, thread):
        for target in thread.unfenced:
            self.generic[target : target + 16] = False
        thread.unfenced = []

    # wgmma -------------------------------------------------------------------------------------------------------

    def matrix(self, descriptor, rows):
        """`rows` x 16 bf16 at a descriptor, K innermost, 128-byte swizzle."""
        if descriptor >> 62 != 1 or descriptor >> 49 & 7:
            raise MachineError(f"descriptor {descriptor:#x} is not of the 128-byte swizzle with base 0")
        start, stride = (descriptor & 0x3FFF) << 4, (descriptor >> 32 & 0x3FFF) << 4
        result = np.empty((rows, 16), np.uint16)
        for row in range(rows):
            for chunk in range(2):
                address = start + row // 8 * stride + row % 8 * 128 + chunk * 16
                address ^= (address >> 7 & 7) << 4
                address = self.shared_range(address, 16)
                if self.generic[address : address + 16].any():
                    raise MachineError("wgmma reads bytes of cp.async that no proxy fence has ordered before it")
                data = self.shared[address : address + 16]
                result[row, chunk * 8 : chunk * 8 + 8] = np.frombuffer(bytes(data), np.uint16)
        return (result.astype(np.uint32) << 16).view(np.float32)

    def multiply(self, job):
        members, columns, registers, a, b, snapshot = job
        current = np.array([[t.registers[r] for r in registers] for t in members], np.uint32)
        if snapshot[0] is not None and not np.array_equal(current, snapshot[0]):
            raise MachineError("a register of a pending wgmma has changed")
        sums = np.empty((64, columns), np.float32)
        number = np.arange(128)[:, None]
        index = np.arange(columns // 2)[None, :]
        # Accumulators: warp w has rows 16 w ...; a lane has two rows, eight apart, and pairs of columns.
        rows = number // 32 * 16 + number % 32 // 4 + index // 2 % 2 * 8
        places = index // 4 * 8 + number % 4 * 2 + index % 2
        sums[rows, places] = current.view(np.float32)
        product = self.matrix(a, 64).astype(np.float64) @ self.matrix(b, columns).astype(np.float64).T
        sums = (sums + product).astype(np.float32)
        values = sums[rows, places].view(np.uint32)
        for thread, row in zip(members, values.tolist()):
            for register, value in zip(registers, row):
                thread.registers[register] = value
        snapshot[0] = values

    def start_wgmma(self, members, columns, registers, a, b):
        group = self.warpgroups[members[0].number // 128]
        pending = [job for jobs in group.groups + [group.open] for job in jobs]
        snapshot = pending[-1][5] if pending else [None]
        if not pending:
            snapshot[0] = np.array([[t.registers[r] for r in registers] for t in members], np.uint32)
        group.open.append((members, columns, registers, a, b, snapshot))

    def wait_wgmma(self, members, pending):
        group = self.warpgroups[members[0].number // 128]
        if group.open:
            raise MachineError("wgmmas are waited for that were not committed")
        while len(group.groups) > pending:
            for job in group.groups.pop(0):
                self.multiply(job)

    # What several threads do together ----------------------------------------------------------------------------

    def together(self, members, op):
        kind, arguments = op[0], [t.waiting[2:] for t in members]
        if kind == "shfl":
            for thread, (target, value, lane) in zip(members, arguments):
                thread.registers[target] = arguments[lane][1]
        elif kind == "stmatrix":
            self.store_matrices([a[0] for a in arguments], [a[1] for a in arguments], op[4])
        elif kind == "wgmma":
            if len({a[:4] for a in arguments}) != 1:
                raise MachineError("threads of a warpgroup disagree about a wgmma")
            columns, registers, a, b = arguments[0]
            self.start_wgmma(members, columns, registers, a, b)
        elif kind == "commit":
            group = self.warpgroups[members[0].number // 128]
            group.groups.append(group.open)
            group.open = []
        elif kind == "wait":
            self.wait_wgmma(members, op[2])

    def store_matrices(self, addresses, words, transposed):
        for matrix in range(len(words[0])):
            elements = np.array([[w[matrix] & 0xFFFF, w[matrix] >> 16] for w in words], np.uint16).reshape(8, 8)
            if transposed:
                elements = elements.T
            for row in range(8):
                address = self.shared_range(addresses[matrix * 8 + row], 16)
                self.shared[address : address + 16] = np.ascontiguousarray(elements[row]).tobytes()

    def partners(self, thread):
        size = {"wgmma": 128, "commit": 128, "wait": 128, "setmaxnreg": 128, "block": len(self.threads)}.get(
            thread.waiting[0], 32
        )
        first = thread.number // size * size
        return self.threads[first : first + size]

    def step(self, thread):
        """Lets a thread run until it must wait; whether it did anything."""
        if thread.waiting is not None and thread.waiting[0] == "try":
            barrier, parity = thread.waiting[1:]
            if barrier.phase == parity:
                return False
        elif thread.waiting is not None:
            partners = self.partners(thread)
            key = thread.waiting[:2]
            if any(p.waiting is None or p.waiting[:2] != key for p in partners):
                return False
            self.together(partners, thread.waiting)
            for partner in partners:
                partner.waiting = None
        try:
            thread.waiting = next(thread.run)
        except StopIteration:
            thread.done = True
        return True

    def run(self):
        for thread in self.threads:
            thread.waiting, thread.done = None, False
        live = list(self.threads)
        while live:
            self.random.shuffle(live)
            moved = False
            for thread in live:
                moved |= self.step(thread)
                if self.transfers and self.random.random() < 0.01:
                    self.transfer()
            live = [t for t in live if not t.done]
            if not moved and self.transfers:
                self.transfer()
                moved = True
            if not moved:
                raise MachineError(f"no thread can go on: {sorted({str(t.waiting[:1]) for t in live})}")
        if self.transfers:
            raise MachineError("the block ended with transfers under way")


def launch(program, memory, params, threads, blocks, shared_bytes, seed):
    """Runs all blocks. `params` are addresses, or TensorMaps."""
    assert len(params) == program.parameter_count
    for index in range(blocks):
        Block(program, memory, params, threads, index, blocks, shared_bytes, seed * 1000 + index).run()
