"""Makes Python of PTX text: an entry point becomes a generator per thread that stops where the thread must wait.

Each instruction is a line of Python on registers (R), the thread (T) and its block (B, of ptx_machine.py).
"""
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


INSTRUCTIONS = []  # patterns of opcodes and what makes Python of them; filled by ptx_instructions.py


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
