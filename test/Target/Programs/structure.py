"""What each kernel of a program's PTX must and must not have; FileCheck has looked at the text as a whole."""
import re

PRODUCT = re.compile(r"product_(\d+)x(\d+)x(\d+)(?:_\d+)?_n(\d+)$")
SHARED = re.compile(r"(b\d+|v4\.b32)\s[^;]*\[moe_shared\+(\d+)\]")
COOPERATION = {
    "asynchronous copies": r"\bcp\.async", "barriers": r"\b(bar|barrier|mbarrier)\.", "shared memory": r"\.shared\b",
    "shuffles": r"\b(shfl|stmatrix|ldmatrix)\.", "tensor cores": r"\b(wgmma|mma)\.", "atomics": r"(?<![\w.])(atom|red)\.",
    "votes": r"\b(vote|match|redux)\.",
}
SIZES = {"b8": 1, "b16": 2, "b32": 4, "b64": 8, "v4.b32": 16}


def kernels(ptx):
    """The text of each kernel by name."""
    parts = re.split(r"(?=^\.visible \.entry )", ptx, flags=re.M)[1:]
    return {re.match(r"\.visible \.entry (\w+)", part).group(1): part for part in parts}


def only(ptx, names):
    """A module with what stands before the first kernel, and with the kernels named."""
    bodies = kernels(ptx)
    return ptx[: ptx.index(".visible .entry ")] + "".join(bodies[name] for name in names)


def is_product(name):
    return bool(PRODUCT.match(name))


def cooperation(text):
    """By what the threads of a kernel work together, in words; nothing for most."""
    return {what for what, pattern in COOPERATION.items() if re.search(pattern, text)}


def general_name(name):
    """A kernel's name without the sizes of products, or without what a model calls the place where it stands."""
    if name.startswith("product_"):
        return re.sub(r"^product_\d+x\d+x\d+(?:_\d+)?_n\d+", "product_ExNxK_nT", name)
    return "*_" + re.sub(r"_\d+$", "", name).rsplit("_", 1)[-1]


def shared_bytes(text):
    """Dynamic shared memory that a kernel addresses: its barriers come last, at places known to the compiler."""
    return max((SIZES[kind] + int(offset) for kind, offset in SHARED.findall(text)), default=0)


def registers_split(text):
    """Registers of a thread of the producer and of a consumer, as setmaxnreg asks for them."""
    return [int(re.search(rf"setmaxnreg\.{way}\S*\s+(\d+)", text).group(1)) for way in ("dec", "inc")]


def problems(name, text):
    """What is wrong with one kernel, in words."""
    if ".local" in text:
        yield "local memory"
    if not is_product(name):
        if "wgmma" in text:
            yield "wgmma outside of a product"
        return
    yield from problems_of_product(name, text)


def problems_of_product(name, text):
    experts, columns, depth, tile = map(int, PRODUCT.match(name).groups())
    shape = f"wgmma.mma_async.sync.aligned.m64n{tile}k16.f32.bf16.bf16"
    if text.count("wgmma.mma_async") != text.count(shape) or shape not in text:
        yield f"expected each wgmma to be {shape}"
    if "cp.async.bulk.tensor" not in text:
        yield "weights do not come by TMA"
    # A result in bf16 passes stmatrix on its way.
    row = columns * (2 if "stmatrix" in text else 4)
    if row % 16 == 0 and not re.search(r"ld\.shared\.v4\.b32[^;]*;\s+st\.global\.v4\.b32", text):
        yield "results are not stored by 16 bytes"
    if row % 16 == 0 and re.search(r"st\.global\.b(16|32)", text):
        yield "results that could be stored by 16 bytes are stored one by one"
    copies = re.findall(r"cp\.async\.c[ag]\.shared\.global [^;]*", text)
    if any(not re.search(r"\], 16, ", copy) for copy in copies):
        yield "gathered rows are not copied by 16 bytes"
