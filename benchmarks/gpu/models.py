"""Language models on the GPU: results against stored ones, then times. Needs NumPy, and programs as executables.

A case is a folder with program, program.weights and
    ids.npy         a prompt
    expected.npy    logits of its first tokens, from an implementation that shares nothing with the program
    case.json       {"arithmetic": "f32" or "bf16", "layers", "decode": tokens to generate, "generated": the greedy ids
                    of that implementation (may be empty), "prefill": [T...] to time, "flops": {"T": operations of that
                    prompt}, "bytes": {"T": bytes one token needs behind it},
                    "modelled": error of NumPy with rows rounded to bf16, where that was computed; "unclear": places of
                    tokens, in the prompt and behind it, where a rounding decides which experts are chosen}
"""
import json
import os
import subprocess

import numpy as np

# The bound of the integration tests: float32 against float32.
F32_BOUND = 2e-5
# Root mean square of the relative error of rounding to bf16. Its 8 significant bits leave an error that is uniform
# within 2^-8 / m of a value with significand m in [1, 2): 2^-8 / sqrt(3) * sqrt(mean of 1 / m^2), which is 0.541 where
# logarithms are uniform.
BF16_ROUNDING = 2.0**-8 * (0.541 / 3) ** 0.5


def sigma(layers):
    """The relative error of logits after so many layers, as `bound` derives it."""
    return BF16_ROUNDING * (4 * layers + 1) ** 0.5


def bound(case):
    """What max |difference| over max |logit| may be.

    Products on tensor cores round their rows to bf16; weights are exact, sums are in f32. Errors of the elements of a
    row are independent, so a product has the relative error of its row, BF16_ROUNDING, as root mean square. In a layer
    four roundings lie one behind the other (before q, k, v; before o; before gate and up; before down), and one before
    the head: 4 L + 1, each of which changes the stream of a token by no more than that part of its size, as no branch
    is larger than the stream. Independent errors add up to sigma = BF16_ROUNDING * sqrt(4 L + 1) of the root mean
    square of the logits. The largest of ten thousand differences is about four sigma, and the largest logit about four
    root mean squares, so their ratio is about sigma.

    What amplifies errors is not in this: a weight of attention has the relative error that its score has absolutely, so
    large scores cost more. `modelled` is the error of NumPy with the same roundings in the same checkpoint, which is
    another draw of the same errors. Three times the larger of the two is the bound: two draws of a largest difference
    are within a factor of two, and what sums in f32 and fast exponentials add is smaller still."""
    if case["arithmetic"] == "f32":
        return F32_BOUND
    return 3 * max(sigma(case["layers"]), case.get("modelled") or 0)


class WrongResult(Exception):
    """A result that must not be; the text says how far off it is."""


class ProgramFailed(Exception):
    """A program that ended with an error: its command and what it said."""


def read_case(folder):
    with open(os.path.join(folder, "case.json")) as file:
        return json.load(file)


def relative_error(got, want):
    if got.shape != want.shape or not np.isfinite(got).all():
        return float("inf")
    return float(np.abs(got.astype(np.float64) - want).max() / np.abs(want).max())


class Model:
    """The program of a case, run with files in `scratch`."""

    def __init__(self, folder, scratch, driver, seconds):
        self.folder, self.scratch, self.seconds, self.case = folder, scratch, seconds, read_case(folder)
        self.driver = ["--driver", driver] if driver else []
        os.makedirs(scratch, exist_ok=True)

    def run(self, ids, *arguments):
        tokens = os.path.join(self.scratch, "ids.npy")
        np.save(tokens, np.asarray(ids, np.int64))
        command = [os.path.join(self.folder, "program"), "--tokens", tokens, *map(str, arguments), *self.driver]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=self.seconds)
        except subprocess.TimeoutExpired:
            raise ProgramFailed(f"no end after {self.seconds} s: {' '.join(command)}") from None
        if done.returncode:
            raise ProgramFailed(f"status {done.returncode}: {' '.join(command)}: {done.stderr.strip()[-2000:]}")
        return done

    def logits(self, ids):
        out = os.path.join(self.scratch, "logits.npy")
        self.run(ids, "--logits", out)
        return np.load(out)

    def generate(self, ids, count):
        return [int(word) for word in self.run(ids, "--generate", count).stdout.split()]

    def check(self):
        """Logits against the stored ones, and each greedy id against one pass over the same tokens and against the
        stored id. Ids count where the choice is clear: the best logit leads by more than two bounds, and until a choice
        that is not was made differently. Gives what a table needs, or raises WrongResult."""
        case, prompt = self.case, np.load(os.path.join(self.folder, "ids.npy"))
        limit, expected = bound(case), np.load(os.path.join(self.folder, "expected.npy"))
        ours, ids = self.logits(prompt), self.generate(prompt, case["decode"])
        longer = self.logits(np.concatenate([prompt, ids[:-1]]))  # the last id is not fed back
        rows = longer[len(prompt) - 1:]
        top = np.sort(rows, axis=1)[:, -2:]
        clear = top[:, 1] - top[:, 0] > 2 * limit * np.abs(rows).max()
        unclear = np.array(case.get("unclear", []), int)
        clear[[place - len(prompt) + 1 for place in unclear if 0 <= place - len(prompt) + 1 < len(clear)]] = False
        compared = np.setdiff1d(np.arange(len(expected)), unclear)
        wrong = [i for i, id in enumerate(ids) if clear[i] and rows[i].argmax() != id]
        stored = case["generated"]
        first = next((i for i, (id, want) in enumerate(zip(ids, stored)) if id != want), len(stored))
        result = {
            "error": relative_error(ours[compared], expected[compared]), "bound": limit, "tokens": len(compared),
            "all": len(expected),
            "generated": len(ids), "clear": int(clear.sum()), "same_as_stored": first, "stored": len(stored),
            "repeated": relative_error(longer[: len(ours)], ours), "modelled": case.get("modelled"),
        }
        # docs/Spec.md promises a `repeated` of 0; more is worth a look, but no reason to lose the device's time.
        if (max(result["error"], result["repeated"]) > limit or wrong or len(ids) != case["decode"]
                or first < len(stored) and clear[first]):
            raise WrongResult(f"{describe(result)}; ids that are wrong in one pass: {wrong}")
        return result

    def time(self, tokens, repeats):
        """The JSON of --bench for a prompt of so many tokens, repeated where it is too short."""
        prompt = np.resize(np.load(os.path.join(self.folder, "ids.npy")), tokens)
        more = ["--repeats", repeats] if repeats else []
        done = self.run(prompt, "--generate", self.case["decode"], "--bench", *more)
        return json.loads([line for line in done.stdout.splitlines() if line.startswith("{")][-1])

    def profile(self):
        """The time of each kernel over the prompt and one token, as the program prints it."""
        return self.run(np.load(os.path.join(self.folder, "ids.npy")), "--generate", 2, "--profile").stderr


def describe(result):
    return (f"max difference {result['error']:.1e} of the largest logit over {result['tokens']} of {result['all']} "
            f"tokens (bound {result['bound']:.1e}), {result['generated']} greedy ids, {result['clear']} of them clear, "
            f"{result['same_as_stored']} of {result['stored']} as stored; same prompt in a longer one "
            f"{result['repeated']:.1e}")
