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
import re
import struct

import numpy as np

SHARED_BASE = 1024  # where dynamic shared memory begins; a multiple of what the kernel asks for
SHARED_WINDOW = 0x7F0000000000  # generic addresses of shared memory
PARAM_WINDOW = 0x6F0000000000  # generic addresses of parameters


class MachineError(Exception):
    pass


def to_float(bits):
    return struct.unpack("<f", struct.pack("<I", bits))[0]


def to_bits(value):
    return int(np.float32(value).view(np.uint32))


def to_bf16(bits):
    """Round to nearest even."""
    if (bits & 0x7FFFFFFF) > 0x7F800000:
        return 0x7FFF
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16) & 0xFFFF


def signed(value, width):
    return value - (1 << width) if value >> (width - 1) & 1 else value


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


# Translation of PTX to Python ------------------------------------------------------------------------------------------


class Program:
    """One entry point of PTX text, as a Python generator per thread that stops where threads must wait."""

    def __init__(self, text, name):
        match = re.search(r"\.entry " + name + r"\((.*?)\)(.*?)\n\{\n(.*?)\tret;\n\n\}\n", text, re.S)
        self.parameter_count = match.group(1).count(".param")
        self.name, self.numbers, self.scope = name, {}, ""
        self.statements = self.split(match.group(3) + "ret;")
        self.source = self.translate()
        space = {name: globals()[name] for name in ("to_float", "to_bits", "to_bf16", "signed", "np", "MachineError")}
        space.update(SHARED_BASE=SHARED_BASE, SHARED_WINDOW=SHARED_WINDOW, PARAM_WINDOW=PARAM_WINDOW, SQRT=np.sqrt)
        exec(compile(self.source, name, "exec"), space)
        self.start = space["kernel"]
        self.register_count = len(self.numbers)

    @staticmethod
    def split(body):
        """Statements, with the names of labels and registers in braces made unique."""
        result, scopes, current, braces, number = [], [], "", 0, 0
        for position, character in enumerate(body := re.sub(r"//.*", "", body)):
            if character == "{" and not current.strip():
                number += 1
                scopes.append(f"_{number}")
            elif character == "}" and not braces:
                scopes.pop()
            elif character == ";":
                statement = " ".join(current.split())
                if not statement.startswith("."):
                    result.append((statement, "".join(scopes)))
                current = ""
            elif character == ":" and re.fullmatch(r"\s*[$\w]+", current) and body[position + 1] != ":":
                result.append((current.strip() + ":", "".join(scopes)))
                current = ""
            else:
                braces += (character == "{") - (character == "}")
                current += character
        return result

    # Operands ----------------------------------------------------------------------------------------------------

    def register(self, name):
        if not name.startswith("%"):
            name += self.scope
        return f"R[{self.numbers.setdefault(name, len(self.numbers))}]"

    def value(self, text):
        text = text.strip()
        special = {"%tid.x": "T.number", "%ctaid.x": "B.index", "%nctaid.x": "B.blocks"}
        if text in special:
            return special[text]
        if text.startswith("0f"):
            return str(int(text[2:], 16))
        if re.fullmatch(r"-?\d+", text):
            return str(int(text))
        if text == "moe_shared":
            return "SHARED_BASE"
        if text.startswith("moe_shared+"):
            return f"(SHARED_BASE + {int(text[11:])})"
        if text.startswith(self.name + "_param_"):
            return f"(PARAM_WINDOW + {int(text[len(self.name) + 7:])})"
        return self.register(text)

    def address(self, text):
        match = re.fullmatch(r"\[\s*(.+?)\s*(?:\+\s*(-?\d+))?\s*\]", text.strip())
        base = self.value(match.group(1))
        return f"({base} + {match.group(2)})" if match.group(2) else base

    @staticmethod
    def operands(text):
        parts, depth, current = [], 0, ""
        for character in text:
            depth += character in "{[" and 1 or 0
            depth -= character in "}]" and 1 or 0
            if character == "," and depth == 0:
                parts.append(current.strip())
                current = ""
            else:
                current += character
        return parts + [current.strip()] if current.strip() else parts

    # Instructions ------------------------------------------------------------------------------------------------

    def translate(self):
        blocks, targets = [[]], {}
        for text, scope in self.statements:
            if text.endswith(":"):
                if blocks[-1]:
                    blocks.append([])
                targets[text[:-1] + scope] = len(blocks) - 1
                continue
            blocks[-1].append((text, scope))
            if re.match(r"(@!?\S+ +)?(bra|ret)", text):
                blocks.append([])
        self.targets = targets
        lines = ["def kernel(B, T, R):", " M = B.memory", " pc = 0", " while True:"]
        self.emit(blocks, 0, len(blocks), lines, "  ")
        return "\n".join(lines)

    def emit(self, blocks, first, last, lines, indent):
        """A search tree over blocks: Python has no jumps."""
        if last - first > 1:
            middle = (first + last) // 2
            lines.append(f"{indent}if pc < {middle}:")
            self.emit(blocks, first, middle, lines, indent + " ")
            lines.append(f"{indent}else:")
            self.emit(blocks, middle, last, lines, indent + " ")
            return
        for number, (text, scope) in enumerate(blocks[first]):
            self.scope = scope
            lines.extend(indent + line for line in self.instruction(text, f"{first}.{number}"))
        lines.append(f"{indent}pc = {first + 1}")

    def instruction(self, text, where):
        guard = re.match(r"@(!?)(\S+)\s+(.*)", text)
        if guard:
            condition = self.register(guard.group(2))
            inner = self.instruction(guard.group(3), where)
            return [f"if {'not ' if guard.group(1) else ''}{condition}:"] + [" " + line for line in inner]
        opcode, _, rest = text.partition(" ")
        operands = self.operands(rest)
        for pattern, method in INSTRUCTIONS:
            match = re.fullmatch(pattern, opcode)
            if match:
                result = method(self, match, operands, where)
                return result if isinstance(result, list) else [result]
        raise MachineError(f"unknown instruction: {text}")


INSTRUCTIONS = []


def instruction(pattern):
    def add(method):
        INSTRUCTIONS.append((pattern, method))
        return method

    return add


def mask(width):
    return (1 << width) - 1


def in_float(text):
    return f"to_float({text} & 0xffffffff)"


@instruction(r"bra(?:\.uni)?")
def _(p, m, o, where):
    target = p.targets.get(o[0] + p.scope, p.targets.get(o[0]))
    return [f"pc = {target}", "continue"]


@instruction(r"ret")
def _(p, m, o, where):
    return "return"


@instruction(r"ld\.param\.b(32|64)")
def _(p, m, o, where):
    number = int(re.search(r"_param_(\d+)", o[1]).group(1))
    return f"{p.register(o[0])} = B.params[{number}]"


@instruction(r"(?:mov\.[bu]\d+|cvta\.param\.u64|cvt\.u64\.u32|cvta\.to\.global\.u64)")
def _(p, m, o, where):
    if o[0].startswith("{"):  # one register into its halves
        low, high = p.operands(o[0][1:-1])
        source = p.value(o[1])
        return [f"{p.register(high)}, {p.register(low)} = {source} >> 16, {source} & 0xffff"]
    if o[1].startswith("{"):
        low, high = p.operands(o[1][1:-1])
        return f"{p.register(o[0])} = {p.value(high)} << 16 | {p.value(low)}"
    return f"{p.register(o[0])} = {p.value(o[1])} & {mask(32 if m.group(0).endswith('32') and m.group(0)[:3] == 'mov' else 64)}"


@instruction(r"mov\.pred")
def _(p, m, o, where):
    return f"{p.register(o[0])} = bool({p.value(o[1])})"


@instruction(r"cvta\.shared\.u64")
def _(p, m, o, where):
    return f"{p.register(o[0])} = {p.value(o[1])} + SHARED_WINDOW"


@instruction(r"cvta\.to\.shared(?:::cluster)?\.u64")
def _(p, m, o, where):
    return f"{p.register(o[0])} = {p.value(o[1])} - SHARED_WINDOW"


@instruction(r"cvt\.u32\.u64")
def _(p, m, o, where):
    return f"{p.register(o[0])} = {p.value(o[1])} & {mask(32)}"


@instruction(r"cvt\.s64\.s32")
def _(p, m, o, where):
    return f"{p.register(o[0])} = signed({p.value(o[1])}, 32) & {mask(64)}"


@instruction(r"(add|sub|mul\.lo|and|or|xor|shl|shr)\.([bsu])(16|32|64)")
def _(p, m, o, where):
    width = int(m.group(3))
    sign = {"add": "+", "sub": "-", "mul.lo": "*", "and": "&", "or": "|", "xor": "^", "shl": "<<", "shr": ">>"}
    left = p.value(o[1])
    if m.group(1) == "shr" and m.group(2) == "s":
        left = f"signed({left} & {mask(width)}, {width})"
    return f"{p.register(o[0])} = ({left} {sign[m.group(1)]} {p.value(o[2])}) & {mask(width)}"


@instruction(r"(or|and|xor)\.pred")
def _(p, m, o, where):
    sign = {"or": "|", "and": "&", "xor": "^"}[m.group(1)]
    return f"{p.register(o[0])} = bool({p.value(o[1])}) {sign} bool({p.value(o[2])})"


@instruction(r"not\.(pred|b32)")
def _(p, m, o, where):
    if m.group(1) == "pred":
        return f"{p.register(o[0])} = not {p.value(o[1])}"
    return f"{p.register(o[0])} = ~{p.value(o[1])} & {mask(32)}"


@instruction(r"mul\.wide\.([su])32")
def _(p, m, o, where):
    x, y = p.value(o[1]), p.value(o[2])
    if m.group(1) == "s":
        x, y = f"signed({x} & {mask(32)}, 32)", f"signed({y} & {mask(32)}, 32)"
    return f"{p.register(o[0])} = ({x} * {y}) & {mask(64)}"


@instruction(r"mul\.hi\.u32")
def _(p, m, o, where):
    return f"{p.register(o[0])} = ({p.value(o[1])} & {mask(32)}) * ({p.value(o[2])} & {mask(32)}) >> 32"


@instruction(r"mad\.lo\.s32")
def _(p, m, o, where):
    return f"{p.register(o[0])} = ({p.value(o[1])} * {p.value(o[2])} + {p.value(o[3])}) & {mask(32)}"


@instruction(r"mad\.wide\.([su])32")
def _(p, m, o, where):
    x, y = p.value(o[1]), p.value(o[2])
    if m.group(1) == "s":
        x, y = f"signed({x} & {mask(32)}, 32)", f"signed({y} & {mask(32)}, 32)"
    return f"{p.register(o[0])} = ({x} * {y} + {p.value(o[3])}) & {mask(64)}"


@instruction(r"(div|rem)\.u32")
def _(p, m, o, where):
    sign = "//" if m.group(1) == "div" else "%"
    return f"{p.register(o[0])} = {p.value(o[1])} {sign} ({p.value(o[2])} & {mask(32)})"


@instruction(r"(min|max)\.([su])32")
def _(p, m, o, where):
    x, y = (f"{p.value(v)} & {mask(32)}" for v in o[1:])
    if m.group(2) == "s":
        x, y = f"signed({x}, 32)", f"signed({y}, 32)"
    return f"{p.register(o[0])} = {m.group(1)}({x}, {y}) & {mask(32)}"


@instruction(r"bfe\.u32")
def _(p, m, o, where):
    return f"{p.register(o[0])} = {p.value(o[1])} >> {p.value(o[2])} & ((1 << {p.value(o[3])}) - 1)"


@instruction(r"bfi\.b32")
def _(p, m, o, where):
    bits = f"((1 << {p.value(o[4])}) - 1)"
    return (
        f"{p.register(o[0])} = {p.value(o[2])} & ~({bits} << {p.value(o[3])}) & {mask(32)} | "
        f"({p.value(o[1])} & {bits}) << {p.value(o[3])}"
    )


@instruction(r"lop3\.b32")
def _(p, m, o, where):
    a, b, c = (f"({p.value(v)} & {mask(32)})" for v in o[1:4])
    table = int(o[4], 0)
    terms = []
    for index in range(8):
        if table >> index & 1:
            parts = [x if index >> shift & 1 else f"(~{x} & {mask(32)})" for x, shift in ((a, 2), (b, 1), (c, 0))]
            terms.append("&".join(parts))
    return f"{p.register(o[0])} = {' | '.join(terms) or '0'}"


@instruction(r"selp\.[bfsu](16|32|64)")
def _(p, m, o, where):
    return f"{p.register(o[0])} = ({p.value(o[1])} if {p.value(o[3])} else {p.value(o[2])}) & {mask(int(m.group(1)))}"


@instruction(r"setp\.(eq|ne|lt|le|gt|ge|lo|ls|hi|hs)\.([bsu])(32|64)")
def _(p, m, o, where):
    sign = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "lo": "<", "ls": "<=", "hi": ">", "hs": ">="}
    x, y = (f"({p.value(v)} & {mask(int(m.group(3)))})" for v in o[1:])
    if m.group(2) == "s":
        x, y = f"signed({x}, {m.group(3)})", f"signed({y}, {m.group(3)})"
    return f"{p.register(o[0])} = {x} {sign[m.group(1)]} {y}"


# Floating point: single roundings where the ISA has them.


@instruction(r"setp\.(lt|gt|le|ge|eq|neu|ltu|gtu|leu|geu|nan|num)\.f32")
def _(p, m, o, where):
    name = m.group(1)
    x, y = in_float(p.value(o[1])), in_float(p.value(o[2]))
    sign = {"lt": "<", "gt": ">", "le": "<=", "ge": ">=", "eq": "==", "ne": "!="}[name.rstrip("u")]
    test = f"{x} {sign} {y}"
    if name.endswith("u") and name != "neu":
        test = f"{test} or {x} != {x} or {y} != {y}"
    return f"{p.register(o[0])} = {test}"


@instruction(r"(add|sub|mul)(?:\.rn)?\.f32")
def _(p, m, o, where):
    sign = {"add": "+", "sub": "-", "mul": "*"}[m.group(1)]
    return f"{p.register(o[0])} = to_bits({in_float(p.value(o[1]))} {sign} {in_float(p.value(o[2]))})"


@instruction(r"fma\.rn\.f32")
def _(p, m, o, where):
    x, y, z = (in_float(p.value(v)) for v in o[1:])
    return f"{p.register(o[0])} = to_bits({x} * {y} + {z})"


@instruction(r"div\.full\.f32")
def _(p, m, o, where):
    x, y = (f"np.float64({in_float(p.value(v))})" for v in o[1:])
    return f"{p.register(o[0])} = to_bits({x} / {y})"


@instruction(r"(ex2|rsqrt|sqrt)\.approx\.f32")
def _(p, m, o, where):
    form = {"ex2": "np.exp2({})", "rsqrt": "1 / SQRT({})", "sqrt": "SQRT({})"}[m.group(1)]
    return f"{p.register(o[0])} = to_bits({form.format(f'np.float64({in_float(p.value(o[1]))})')})"


@instruction(r"(neg|abs)\.f32")
def _(p, m, o, where):
    if m.group(1) == "neg":
        return f"{p.register(o[0])} = {p.value(o[1])} ^ 0x80000000"
    return f"{p.register(o[0])} = {p.value(o[1])} & 0x7fffffff"


@instruction(r"copysign\.f32")
def _(p, m, o, where):
    return f"{p.register(o[0])} = {p.value(o[1])} & 0x80000000 | {p.value(o[2])} & 0x7fffffff"


@instruction(r"(min|max)\.NaN\.f32")
def _(p, m, o, where):
    return f"{p.register(o[0])} = to_bits(np.{m.group(1)}imum({in_float(p.value(o[1]))}, {in_float(p.value(o[2]))}))"


@instruction(r"(min|max)\.f32")
def _(p, m, o, where):
    return f"{p.register(o[0])} = to_bits({m.group(1)}({in_float(p.value(o[1]))}, {in_float(p.value(o[2]))}))"


@instruction(r"cvt\.rn\.bf16\.f32")
def _(p, m, o, where):
    return f"{p.register(o[0])} = to_bf16({p.value(o[1])} & {mask(32)})"


@instruction(r"cvt\.rn\.bf16x2\.f32")
def _(p, m, o, where):
    return f"{p.register(o[0])} = to_bf16({p.value(o[1])} & {mask(32)}) << 16 | to_bf16({p.value(o[2])} & {mask(32)})"


@instruction(r"cvt\.f32\.bf16")
def _(p, m, o, where):
    return f"{p.register(o[0])} = {p.value(o[1])} << 16"


# Memory.


@instruction(r"(ld|st)\.(global|shared)(\.v[24])?\.b(16|32|64)")
def _(p, m, o, where):
    size = int(m.group(4)) // 8
    load = m.group(1) == "ld"
    place = p.address(o[1] if load else o[0])
    names = o[0] if load else o[1]
    names = p.operands(names[1:-1]) if m.group(3) else [names]
    shared = m.group(2) == "shared"
    if load:
        targets = ", ".join(p.register(n) for n in names)
        return f"[{targets}] = B.load_words({shared}, {place}, {len(names)}, {size})"
    words = ", ".join(f"{p.value(n)} & {mask(size * 8)}" for n in names)
    return f"B.store_words({shared}, {place}, [{words}], {size})"


@instruction(r"mbarrier\.init\.shared\.b64")
def _(p, m, o, where):
    return f"B.init_barrier({p.address(o[0])}, {p.value(o[1])})"


@instruction(r"mbarrier\.arrive(?:\.release\.cta)?\.shared(?:::cta)?\.b64")
def _(p, m, o, where):
    return f"B.barrier({p.address(o[1])}).arrive()"


@instruction(r"mbarrier\.arrive\.expect_tx(?:\.release\.cta)?\.shared(?:::cta)?\.b64")
def _(p, m, o, where):
    return f"B.barrier({p.address(o[1])}).arrive({p.value(o[2])})"


@instruction(r"mbarrier\.try_wait\.parity\.shared\.b64")
def _(p, m, o, where):
    return [f"yield ('try', B.barrier({p.address(o[1])}), {p.value(o[2])})", f"{p.register(o[0])} = True"]


@instruction(r"cp\.async\.bulk\.tensor\.[23]d\.shared::cluster\.global(?:\.tile)?\.mbarrier::complete_tx::bytes")
def _(p, m, o, where):
    source = re.fullmatch(r"\[\s*(\S+)\s*,\s*\{(.*?)\}\s*\]", o[1])
    coordinates = ", ".join(p.value(c) for c in source.group(2).split(","))
    return (
        f"B.tensor_copy({p.address(o[0])}, {p.value(source.group(1))} - PARAM_WINDOW, [{coordinates}], {p.address(o[2])})"
    )


@instruction(r"cp\.async\.cg\.shared\.global")
def _(p, m, o, where):
    return f"B.copy_async(T, {p.address(o[0])}, {p.address(o[1])}, {p.value(o[3]) if len(o) > 3 else 16})"


@instruction(r"cp\.async\.commit_group")
def _(p, m, o, where):
    return "B.commit_copies(T)"


@instruction(r"cp\.async\.wait_group")
def _(p, m, o, where):
    return f"B.wait_copies(T, {o[0]})"


@instruction(r"cp\.async\.wait_all")
def _(p, m, o, where):
    return "B.wait_copies(T, 0)"


@instruction(r"fence\.proxy\.async\.shared::cta")
def _(p, m, o, where):
    return "B.fence_async(T)"


@instruction(r"fence\.mbarrier_init\.release\.cluster|wgmma\.fence\.sync\.aligned")
def _(p, m, o, where):
    return "pass"


# What several threads do together.


@instruction(r"setmaxnreg\.(inc|dec)\.sync\.aligned\.u32")
def _(p, m, o, where):
    return f"yield ('setmaxnreg', '{where}')"


@instruction(r"bar\.sync|barrier\.sync\.aligned|barrier\.cta\.sync\.aligned\.all")
def _(p, m, o, where):
    return f"yield ('block', '{where}')"


@instruction(r"bar\.warp\.sync")
def _(p, m, o, where):
    return f"yield ('warp', '{where}')"


@instruction(r"shfl\.sync\.idx\.b32")
def _(p, m, o, where):
    target = re.fullmatch(r"R\[(\d+)\]", p.register(o[0].split("|")[0])).group(1)
    return f"yield ('shfl', '{where}', {target}, {p.value(o[1])}, {p.value(o[2])})"


@instruction(r"stmatrix\.sync\.aligned\.m8n8\.x[124](\.trans)?\.shared\.b16")
def _(p, m, o, where):
    words = ", ".join(p.value(w) for w in p.operands(o[1][1:-1]))
    return f"yield ('stmatrix', '{where}', {p.address(o[0])}, ({words},), {m.group(1) is not None})"


@instruction(r"wgmma\.mma_async\.sync\.aligned\.m64n(\d+)k16\.f32\.bf16\.bf16")
def _(p, m, o, where):
    if [x.strip() for x in o[4:]] != ["1", "1", "0", "0"]:
        raise MachineError(f"wgmma with other scales or transposed: {o[4:]}")
    registers = tuple(int(re.fullmatch(r"R\[(\d+)\]", p.register(r)).group(1)) for r in p.operands(o[0][1:-1]))
    assert len(registers) == int(m.group(1)) // 2
    return [
        f"assert {p.value(o[3])}",
        f"yield ('wgmma', '{where}', {m.group(1)}, {registers}, {p.value(o[1])}, {p.value(o[2])})",
    ]


@instruction(r"wgmma\.commit_group\.sync\.aligned")
def _(p, m, o, where):
    return f"yield ('commit', '{where}')"


@instruction(r"wgmma\.wait_group\.sync\.aligned")
def _(p, m, o, where):
    return f"yield ('wait', '{where}', {o[0]})"


@instruction(r"neg\.s(32|64)")
def _(p, m, o, where):
    return f"{p.register(o[0])} = -{p.value(o[1])} & {mask(int(m.group(1)))}"
