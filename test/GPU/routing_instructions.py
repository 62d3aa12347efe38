"""The instructions that launches of routing use beside those of ptx_instructions.py, each written from the PTX ISA."""
import re

from ptx_instructions import in_float, instruction, mask


@instruction(r"cvt\.u(16|32|64)\.u(16|32|64)")
def _(p, m, o, where):
    return f"{p.register(o[0])} = {p.value(o[1])} & {mask(min(int(m.group(1)), int(m.group(2))))}"


@instruction(r"setp\.(eq|ne|lt|le|gt|ge)\.([bu])16")
def _(p, m, o, where):
    sign = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}[m.group(1)]
    return f"{p.register(o[0])} = ({p.value(o[1])} & {mask(16)}) {sign} ({p.value(o[2])} & {mask(16)})"


@instruction(r"div\.rn\.f32")
def _(p, m, o, where):
    # A quotient of two f32 in f64 is rounded as if it were exact.
    x, y = (f"np.float64({in_float(p.value(v))})" for v in o[1:])
    return f"{p.register(o[0])} = to_bits({x} / {y})"


@instruction(r"mul\.hi\.u64")
def _(p, m, o, where):
    return f"{p.register(o[0])} = ({p.value(o[1])} & {mask(64)}) * ({p.value(o[2])} & {mask(64)}) >> 64"


@instruction(r"mad\.lo\.s64")
def _(p, m, o, where):
    return f"{p.register(o[0])} = ({p.value(o[1])} * {p.value(o[2])} + {p.value(o[3])}) & {mask(64)}"


@instruction(r"fence\.acq_rel\.gpu")
def _(p, m, o, where):
    return "pass"


@instruction(r"atom\.global\.inc\.u32")
def _(p, m, o, where):
    place = p.address(o[1])
    return [
        f"{p.register(o[0])} = old = B.load({place}, 4)",
        f"B.store({place}, 0 if old >= ({p.value(o[2])} & {mask(32)}) else old + 1, 4)",
    ]


@instruction(r"bar\.red\.or\.pred")
def _(p, m, o, where):
    target = re.fullmatch(r"R\[(\d+)\]", p.register(o[0])).group(1)
    return f"yield ('any', '{where}', {target}, bool({p.value(o[2])}))"
