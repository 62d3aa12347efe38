"""Counts launches in the IR at the end of the stage `kernels`, whose host functions are lists of launches and calls."""
import math
import re

FUNCTION = re.compile(r"  func\.func (?:private )?@(\w+)\(")
LOOP = re.compile(r"( +)(?:%[\w:, %]+ = )?scf\.for %\w+ = %c(\d+) to %c(\d+) step %c(\d+)\b")
BRANCH = re.compile(r"( +)(?:%[\w:, %]+ = )?scf\.(?:if|while|index_switch|for)\b.*{$")
LAUNCH = re.compile(r"gpu\.launch_func\s+@device::@(\w+)")
CALL = re.compile(r"call @(\w+)\(")


class Function:
    """What one host function launches itself, and what it calls, each as often as loops around it say."""

    def __init__(self, product):
        self.product = product
        self.kernels, self.calls = [], []


def trips(first, last, step):
    return max(0, -(-(last - first) // step))


def read(text):
    """The host functions by name."""
    functions, function, loops = {}, None, []
    for line in text.splitlines():
        if start := FUNCTION.match(line):
            function = functions[start.group(1)] = Function("hopper.grouped_matmul" in line)
            loops = []
        elif line.startswith("  gpu.module"):
            function = None
        if not function:
            continue
        if loop := LOOP.match(line):
            loops.append((loop.group(1), trips(*map(int, loop.groups()[1:]))))
        elif branch := BRANCH.match(line):
            loops.append((branch.group(1), None))
        elif loops and re.match(loops[-1][0] + "}(?! else)", line):
            loops.pop()
        launched = LAUNCH.findall(line)
        called = [name for name in CALL.findall(line) if not name.startswith("moe_")]  # the runtime's launch nothing
        if not launched and not called:
            continue
        times = [count for _, count in loops]
        if None in times:
            raise ValueError(f"expected no launch behind a branch, to count them, got: {line.strip()}")
        function.kernels += launched * math.prod(times)
        function.calls += called * math.prod(times)
    return functions


def count(functions, name, kernels=()):
    """Launches of one call of a function; none of a function of the runtime. A product on tensor cores is a function that
    chooses among kernels for tiles of several numbers of rows; all have the same launches, by the names of the `kernels`."""
    function = functions.get(name)
    if not function:
        return 0
    if not function.product:
        return len(function.kernels) + sum(count(functions, callee, kernels) for callee in function.calls)
    own = [kernel for kernel in kernels if re.match(rf"{name}_n\d+(_|$)", kernel)]
    tiles = {re.match(rf"{name}_n(\d+)", kernel).group(1) for kernel in own}
    return len(own) // len(tiles)


def layers(functions):
    """The functions that are layers of a language model, one for each call."""
    return [name for name in functions["forward"].calls if name.startswith("decoder_layer_")]


def products(functions, name):
    """The products on tensor cores of one call of a function, by the names of their functions."""
    function = functions.get(name, Function(False))
    return [product for callee in function.calls
            for product in ([callee] if callee in functions and functions[callee].product else products(functions, callee))]
