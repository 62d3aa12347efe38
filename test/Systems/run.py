"""Compiles one published system by both paths, runs it on fresh inputs and compares it with its oracle.

run.py TOOLS SCRATCH CHAPTER/ID.mlir [SEED] [FLAG...]     flags are for the fast path, --driver=FILE for its runs
CHAPTER/ID.py beside it holds the oracle and what is special about the system; README.md says what may stand there.

Data. Weights are -1, 0 or 1, those of routers and gates times 128, inputs are small integers or random. On small
integers logits differ by 0 or at least 128, where exp is exactly 1 or 0 in float32: scores are 1/ties, and everything
else is an integer below 2^24. So the fast path must give the reference path's numbers without any difference, and the
oracle's too wherever these are integers.

Bound. Otherwise a result may be off by DEPTH * 2^-24 of the largest magnitude: one rounding of half a unit in the last
place, 2^-24, for each step of the longest chain through the system. DEPTH is the sum of the widths that its weights
are summed over, plus 64 for scores and activations, unless the oracle's file says otherwise and why.
"""
import importlib.util
import os
import re
import shutil
import sys

import numpy as np

sys.dont_write_bytecode = True  # nothing is written beside the sources
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "Integration"))
import harness  # noqa: E402  (shared with the integration tests, see the path above)
from harness import Failure, safetensors  # noqa: E402

# Oracles write formulas as they stand in books; what is not a number in them must not be one in the program either.
np.seterr(over="ignore", divide="ignore", invalid="ignore")

SEED = 11
TOKENS = (0, 1, 2, 5, 13, 37)
SOURCE = re.compile(r'#moe\.source<"([^"]+)", tensor<([\dx]*?)x?f32>>')
FUNCTION = re.compile(r"func\.func @(\w+)\((.*?)\)\s*->\s*\((.*?)\) \{", re.DOTALL)
NAME = re.compile(r'moe\.name = "(\w+)"')
ARGUMENT = re.compile(r'%\w+: tensor<([\dx?]*?)x?(f32|i32|index)> \{moe\.name = "(\w+)"')


def extents(text):
    return tuple(-1 if size == "?" else int(size) for size in text.split("x") if size)


class System:
    """One system: its program on both paths, its weights, its oracle, and what was found."""

    def __init__(self, tools, scratch, source, seed, fast_flags):
        self.name = os.path.splitext(os.path.basename(source))[0]
        self.function = self.name.replace("-", "_")
        self.seed = seed
        with open(source) as file:
            self.text = file.read()
        spec = importlib.util.spec_from_file_location(self.function, source.removesuffix(".mlir") + ".py")
        self.module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.module)
        shapes = {name: extents(shape) for name, shape in SOURCE.findall(self.text)}
        self.weights = self.make_weights(shapes)
        depth = getattr(self.module, "DEPTH", 64 + sum(shape[-1] for shape in shapes.values() if len(shape) > 1))
        self.bound = depth * 2.0**-24
        self.signatures = {
            name: [(argument, extents(shape), kind) for shape, kind, argument in ARGUMENT.findall(arguments)]
            for name, arguments, _ in FUNCTION.findall(self.text)
        }
        self.results = {name: NAME.findall(results) for name, _, results in FUNCTION.findall(self.text)}
        if self.function not in self.signatures:
            raise Failure(f"no public function @{self.function}; the file has {list(self.signatures)}")
        self.worst, self.compared, self.exact = 0.0, 0, 0
        shutil.rmtree(scratch, ignore_errors=True)
        flags = []
        for folder in ("fast", "plain"):
            os.makedirs(os.path.join(scratch, folder))
        if shapes:
            flags = [f"--weights={os.path.join(scratch, 'weights.safetensors')}"]
            safetensors.save(os.path.join(scratch, "weights.safetensors"), self.weights)
        self.fast = self.compile_fast(tools, source, os.path.join(scratch, "fast", "program"), [*flags, *fast_flags])
        self.plain = harness.compile_program(
            tools, source, os.path.join(scratch, "plain", "program"), [*flags, "--moe-reference"])

    def compile_fast(self, tools, source, path, flags):
        return harness.compile_program(tools, source, path, flags)

    def rng(self):
        return np.random.default_rng(self.seed)

    def make_weights(self, shapes):
        rng = self.rng()
        scales = getattr(self.module, "SCALES", {})
        weights = {}
        for name, shape in shapes.items():
            scale = scales.get(name, 128 if "router" in name or "gate" in name else 1)
            weights[name] = (rng.integers(-1, 2, shape) * scale).astype(np.float32)
        if hasattr(self.module, "weights"):
            self.module.weights(rng, weights)
        return weights

    def inputs(self, tokens, integers, rng=None):
        """Inputs of the system's function for so many tokens."""
        rng = rng or np.random.default_rng(self.seed + tokens)
        if hasattr(self.module, "inputs"):
            return self.module.inputs(rng, tokens, integers)
        made = {}
        for name, shape, kind in self.signatures[self.function]:
            shape = tuple(tokens if size < 0 else size for size in shape)
            if kind != "f32":
                raise Failure(f"{self.name}.py needs a function `inputs`: '{name}' is of {kind}")
            values = rng.integers(-1, 2, shape) if integers else rng.standard_normal(shape) / 128
            made[name] = values.astype(np.float32)
        return made

    def is_exact(self, name, exact):
        return exact and name not in getattr(self.module, "ROUNDED", ())

    def run(self, inputs, function=None, exact=False, title=None):
        """Results by name of `function` (the system's own unless given), the same on both paths."""
        function = function or self.function
        fast, plain = (program.call(function, inputs) for program in (self.fast, self.plain))
        for name in fast:
            self.compare(f"{title or function}, '{name}', fast path against reference path", fast[name], plain[name],
                         self.is_exact(name, exact))
        return fast

    def compare(self, title, got, want, exact=False):
        """As harness.check_numbers, within the system's bound."""
        self.worst = max(self.worst, harness.check_numbers(title, got, np.asarray(want), self.bound, exact))

    def oracle(self, inputs):
        weights = {name: weight.astype(np.float64) for name, weight in self.weights.items()}
        wide = {name: value.astype(np.float64) if value.dtype.kind == "f" else value for name, value in inputs.items()}
        results = self.module.oracle(weights, **wide)
        if isinstance(results, dict):
            return results
        return {self.results[self.function][0]: results}

    def wants(self, got, inputs, exact):
        """What the oracle says of each result: its name, the numbers, and whether they must be met to the digit."""
        for name, want in self.oracle(inputs).items():
            narrow = np.asarray(want).astype(got[name].dtype)
            integers = bool(exact and (narrow == np.rint(narrow)).all() and (np.abs(narrow) < 2**24).all())
            yield name, narrow if integers else np.asarray(want), integers

    def check(self, title, inputs, exact=False):
        """Runs the system and compares with the oracle; gives the results."""
        got = self.run(inputs, exact=exact, title=title)
        for name, want, integers in self.wants(got, inputs, exact):
            self.compare(f"{title}, '{name}', against the oracle", got[name], want, integers)
            self.exact += integers
        self.compared += 1
        return got

    def edges(self):
        """The edge list that every system has: sizes, small integers, ties, equal rows, and one token's NaN."""
        for tokens in getattr(self.module, "TOKENS", TOKENS):
            self.check(f"{tokens} tokens, small integers", self.inputs(tokens, integers=True), exact=True)
            self.check(f"{tokens} tokens, random", self.inputs(tokens, integers=False))
        if getattr(self.module, "COUPLED", False):
            return
        # Ties of all experts and all tokens on the same experts: rows of zeros, rows of one kind.
        inputs = self.inputs(13, integers=True)
        rows = [name for name, value in inputs.items() if value.ndim and value.shape[0] == 13]
        self.check("zeros", {name: value * 0 for name, value in inputs.items()}, exact=True)
        self.check("equal rows", {name: np.repeat(v[:1], 13, 0) if name in rows else v for name, v in inputs.items()}, exact=True)
        self.company(rows)

    def company(self, rows):
        """A token's result is the same bit for bit in whatever company, even beside a NaN."""
        inputs = self.inputs(13, integers=False)
        whole = self.run(inputs)
        some = self.run({name: value[3:8] if name in rows else value for name, value in inputs.items()})
        poisoned = {name: value.copy() for name, value in inputs.items()}
        first = next(name for name in rows if inputs[name].dtype.kind == "f")
        poisoned[first][2] = np.nan
        beside = {name: self.fast.call(self.function, poisoned)[name] for name in whole}
        for name, value in whole.items():
            if value.shape[:1] != (13,):
                continue
            harness.check_bits(f"'{name}' of 5 of 13 tokens", some[name], value[3:8])
            harness.check_bits(f"'{name}' beside a NaN", np.delete(beside[name], 2, 0), np.delete(value, 2, 0))
        if getattr(self.module, "NAN_STAYS", True) and not any(np.isnan(value[2]).any() for value in beside.values()):
            raise Failure("a token of NaN gives a result without NaN")


def traps(module):
    """Name and function of each trap's own test, in the order of the file."""
    return [(name.removeprefix("trap_"), test) for name, test in vars(module).items() if name.startswith("trap_")]


def test(tools, scratch, arguments):
    flags = [argument for argument in arguments if argument.startswith("--")]
    arguments = [argument for argument in arguments if argument not in flags]
    if not 1 <= len(arguments) <= 2:
        raise Failure(__doc__.strip())
    seed = int(arguments[1]) if len(arguments) > 1 else SEED
    system = System(tools, scratch, arguments[0], seed, flags)
    tests = [("edges", system.edges)] + [(name, lambda trap=trap: trap(system)) for name, trap in traps(system.module)]
    for name, part in tests:
        try:
            part()
        except Failure as failure:
            raise Failure(f"{system.name} (seed {seed}), {name}: {failure}") from None
    print(f"{system.name}: worst error {system.worst:.1e}, bound {system.bound:.1e}; {system.compared} inputs compared, "
          f"{system.exact} results exact; traps: {', '.join(name for name, _ in tests[1:]) or 'none'}")


if __name__ == "__main__":
    harness.main(test, __doc__)
