"""What the integration tests share: compile, run, compare, and say exactly what differs.

Uses the project as a user does, through moe-compile and the command lines of the programs it writes.
"""
import os
import shlex
import shutil
import subprocess
import sys

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "Reference"))
import tensors as safetensors  # noqa: E402  (shared with the tests, see the path above)

# f32 arithmetic in the compiled program against float32 of transformers or float64 of the NumPy decoder. A float32 run
# is about 5e-7 of the largest logit from float64; another order of summation and other exponentials may add a few
# times that, and 2e-5 leaves room for layers whose router amplifies it without hiding a wrong term.
TOLERANCE = 2e-5
TIMEOUT_SECONDS = 600


class Failure(Exception):
    """A test found what must not be; the text says what, where, and how to see it again."""


def run(command, cwd=None, ok=True, threads=None):
    """Runs a command; fails unless it ends with 0. Gives its standard output."""
    environment = dict(os.environ)
    if threads:
        environment["OMP_NUM_THREADS"] = str(threads)
    try:
        done = subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_SECONDS, env=environment
        )
    except subprocess.TimeoutExpired:
        raise Failure(f"timed out after {TIMEOUT_SECONDS} s: {shlex.join(command)}") from None
    if ok and done.returncode:
        tail = done.stderr.strip()[-2000:]
        raise Failure(f"exit status {done.returncode}: {shlex.join(command)}\n{tail}")
    return done.stdout


def compile_program(tools, source, program, flags=()):
    """Compiles with the flags; --driver=FILE is for the runs of the program."""
    ours = [flag for flag in flags if flag.startswith("--driver=")]
    run([os.path.join(tools, "moe-compile"), source, "-o", program, *(flag for flag in flags if flag not in ours)])
    return Program(program, [part for flag in ours for part in flag.split("=", 1)])


class Program:
    """A compiled program, the scratch folder it lies in, and what every run of it is told."""

    def __init__(self, path, flags=()):
        self.path = path
        self.folder = os.path.dirname(path)
        self.flags = list(flags)

    def logits(self, ids, *flags):
        """Logits of every token, [tokens, vocabulary]."""
        tokens, out = (os.path.join(self.folder, name) for name in ("ids.npy", "logits.npy"))
        np.save(tokens, np.asarray(ids, np.int64))
        if os.path.exists(out):
            os.remove(out)
        run([self.path, "--tokens", tokens, "--logits", out, *self.flags, *flags], cwd="/")
        return np.load(out)

    def generate(self, ids, count, *flags):
        tokens = os.path.join(self.folder, "ids.npy")
        np.save(tokens, np.asarray(ids, np.int64))
        text = run([self.path, "--tokens", tokens, "--generate", str(count), *self.flags, *flags], cwd="/")
        if len(text.splitlines()) != 1:
            raise Failure(f"--generate {count} printed {len(text.splitlines())} lines, expected one:\n{text[:400]}")
        return [int(word) for word in text.split()]

    def call(self, function, inputs, *flags):
        """Runs a function on named arrays; gives its results by name."""
        source, out = (os.path.join(self.folder, name) for name in ("in.safetensors", "out.safetensors"))
        safetensors.save(source, inputs)
        if os.path.exists(out):
            os.remove(out)
        run([self.path, "--function", function, "--inputs", source, "--outputs", out, *self.flags, *flags], cwd="/")
        return safetensors.load(out)


def window_around(array, where):
    """A few values around one coordinate, in full precision."""
    last = where[-1]
    begin, end = max(0, last - 2), last + 3
    return " ".join(f"{value!r}" for value in array[where[:-1]][begin:end].tolist())


def describe(title, got, want, wrong, distance):
    first = tuple(int(i) for i in np.argwhere(wrong)[0])
    worst = tuple(int(i) for i in np.unravel_index(np.argmax(np.where(wrong, distance, -1)), wrong.shape))
    lines = [f"{title}: {int(wrong.sum())} of {wrong.size} elements differ, shape {list(got.shape)}"]
    for name, where in (("first", first), ("worst", worst)):
        lines.append(f"  {name} at {list(where)}: got {got[where]!r}, expected {want[where]!r}")
        lines.append(f"    got      ... {window_around(got, where)} ...")
        lines.append(f"    expected ... {window_around(want, where)} ...")
    return "\n".join(lines)


def check_shape(title, got, want):
    if got.shape != want.shape:
        raise Failure(f"{title}: shape {list(got.shape)}, expected {list(want.shape)}")


def check_bits(title, got, want):
    """Equality of every bit; NaNs count as equal only to themselves."""
    check_shape(title, got, want)
    kind = np.dtype(f"u{got.dtype.itemsize}")
    wrong = np.ascontiguousarray(got).view(kind) != np.ascontiguousarray(want).view(kind)
    if wrong.any():
        distance = np.nan_to_num(np.abs(got.astype(np.float64) - want.astype(np.float64)), nan=np.inf)
        raise Failure(describe(title, got, want, wrong, distance))


def check_equal(title, got, want):
    """Equality as numbers: NaN and infinities as masks, and both zeros alike."""
    check_shape(title, got, want)
    wrong = ~((got == want) | (np.isnan(got) & np.isnan(want)))
    if wrong.any():
        with np.errstate(invalid="ignore"):
            distance = np.nan_to_num(np.abs(got.astype(np.float64) - want.astype(np.float64)), nan=np.inf)
        raise Failure(describe(title, got, want, wrong, distance))


def check_close(title, got, want, tolerance=TOLERANCE):
    """Every element within `tolerance` of the largest expected magnitude. Gives the largest such error."""
    check_shape(title, got, want)
    scale = float(np.abs(want).max()) if want.size else 1.0
    distance = np.abs(got.astype(np.float64) - want.astype(np.float64)) / scale
    wrong = ~(distance <= tolerance)  # a NaN is wrong
    if wrong.any():
        raise Failure(describe(f"{title} (tolerance {tolerance:g})", got, want, wrong, np.nan_to_num(distance, nan=np.inf)))
    return float(distance.max()) if distance.size else 0.0


def check_numbers(title, got, want, tolerance, exact=False):
    """Integers, what must be exact, infinities and NaN without any difference, the rest as check_close has it."""
    if exact or want.dtype.kind in "iub" or not np.abs(want, where=np.isfinite(want), out=np.zeros(want.shape)).any():
        check_equal(title, got, want.astype(got.dtype))
        return 0.0
    check_shape(title, got, want)
    finite = np.isfinite(want)
    check_equal(f"{title}, what is no number", np.where(finite, 0, got), np.where(finite, 0, want))
    return check_close(title, np.where(finite, got, 0), np.where(finite, want, 0), tolerance)


def main(test, usage):
    """Runs test(tools, scratch, arguments); turns what went wrong into one report and the exit status."""
    if len(sys.argv) < 3 or not os.path.isdir(sys.argv[1]):
        sys.exit(usage.strip())
    tools, scratch = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    os.makedirs(scratch, exist_ok=True)
    try:
        test(tools, scratch, sys.argv[3:])
    except Failure as failure:
        print(failure, file=sys.stderr)
        print("to run it again: " + shlex.join([sys.executable, *sys.argv]), file=sys.stderr)
        sys.exit(1)


def main_of_cases(cases, seed, test_case, usage):
    """Runs test_case(tools, folder, name, flags) for the cases named before a --; flags of moe-compile follow it."""

    def test(tools, scratch, arguments):
        split = arguments.index("--") if "--" in arguments else len(arguments)
        names, flags = arguments[:split], arguments[split + 1 :]
        unknown = [name for name in names if name not in cases]
        if unknown or not names:
            raise Failure(f"unknown cases {unknown}, expected some of: {' '.join(cases)}")
        for name in names:
            folder = os.path.join(scratch, name)
            shutil.rmtree(folder, ignore_errors=True)
            os.makedirs(folder)
            try:
                test_case(tools, folder, name, flags)
            except Failure as failure:
                raise Failure(f"{name} (seed {seed}, {cases[name]}): {failure}") from None

    main(test, usage)
