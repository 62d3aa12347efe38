"""Counts launches in the IR at the end of the stage `kernels`, whose host functions are lists of launches and calls."""
import re

# A product on tensor cores is a call of a function that launches twice, whatever number of rows it finds: the list of
# tiles, then the product (docs/GPU.md). launches.test holds that to what the driver is asked for.
LAUNCHES_OF_A_PRODUCT = 2
FUNCTION = re.compile(r"  func\.func (?:private )?@(\w+)\(")
LOOP = re.compile(r"( +)(?:%[\w:, %]+ = )?scf\.for %\w+ = %c(\d+) to %c(\d+) step %c(\d+)\b")
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
        elif re.search(r"\b(scf|cf)\.(?!yield)", line):
            raise ValueError(f"expected host code without branches, to count its launches, got: {line.strip()}")
        elif loops and line.startswith(loops[-1][0] + "}"):
            loops.pop()
        times = 1
        for _, count in loops:
            times *= count
        function.kernels += LAUNCH.findall(line) * times
        function.calls += CALL.findall(line) * times
    return functions


def count(functions, name):
    """Launches of one call of a function; none of a function of the runtime."""
    function = functions.get(name)
    if not function:
        return 0
    if function.product:
        return LAUNCHES_OF_A_PRODUCT
    return len(function.kernels) + sum(count(functions, callee) for callee in function.calls)


def layers(functions):
    """The functions that are layers of a language model, one for each call."""
    return [name for name in functions["forward"].calls if name.startswith("decoder_layer_")]


def products(functions, name):
    """The products on tensor cores of one call of a function, by the names of their functions."""
    function = functions.get(name, Function(False))
    return [product for callee in function.calls
            for product in ([callee] if callee in functions and functions[callee].product else products(functions, callee))]
