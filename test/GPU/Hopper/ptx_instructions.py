"""The instructions that the product kernels use, each written from the PTX ISA."""
import re

from ptx_program import INSTRUCTIONS, MachineError


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


@instruction(r"(div|rem)\.u(32|64)")
def _(p, m, o, where):
    sign, bits = "//" if m.group(1) == "div" else "%", mask(int(m.group(2)))
    return f"{p.register(o[0])} = ({p.value(o[1])} & {bits}) {sign} ({p.value(o[2])} & {bits})"


@instruction(r"(min|max)\.([su])(32|64)")
def _(p, m, o, where):
    width = int(m.group(3))
    x, y = (f"{p.value(v)} & {mask(width)}" for v in o[1:])
    if m.group(2) == "s":
        x, y = f"signed({x}, {width})", f"signed({y}, {width})"
    return f"{p.register(o[0])} = {m.group(1)}({x}, {y}) & {mask(width)}"


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
    if name in ("nan", "num"):
        return f"{p.register(o[0])} = ({x} != {x} or {y} != {y}) == {name == 'nan'}"
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
