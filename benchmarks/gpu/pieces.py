#!/usr/bin/env python3
"""The parts of run.sh that need numbers.

pieces.py decode CASE                    how many tokens the case decodes
pieces.py prefill CASE                   the lengths of its prompts
pieces.py cut CASE TOKENS OUT.npy        a prompt of so many tokens
pieces.py extend CASE BASE               the prompt and what BASE.ids says follows it, as BASE.longer.npy
pieces.py check CASE BASE                compares; prints one line, and ends with 1 if something is wrong
pieces.py table FOLDER RESULTS           all results as a table

CASE is a folder with case.json: {"storage": "f32" or "bf16" (what products read), "layers", "decode", "prefill": [T...],
"flops": {"T": operations of that prompt}, "bytes": {"T": bytes one token needs behind it}}, ids.npy, and
expected.npy, the logits of the first tokens from an implementation that shares nothing with the program.
"""
import glob
import json
import os
import statistics
import sys

import numpy as np

# The bound of the integration tests: float32 against float32.
F32_BOUND = 2e-5


def bound(case):
    """What max |difference| over max |logit| may be.

    Products on bfloat16 round each operand that is not a weight to 8 bits, by at most 2^-9 of itself; four such
    roundings lie one behind the other in a layer, independent of those of other layers. As random errors they add up to
    2^-9 / sqrt(3) * sqrt(4 L) of the root mean square of the logits; the largest of thousands of differences is about
    four of these, and the largest logit four root mean squares. Three times that is left: 4 * 2^-9 * sqrt(L)."""
    return F32_BOUND if case["storage"] == "f32" else 4 * 2.0**-9 * case["layers"] ** 0.5


def read_case(folder):
    with open(os.path.join(folder, "case.json")) as file:
        return json.load(file)


def prompt(folder):
    return np.load(os.path.join(folder, "ids.npy"))


def decode(folder):
    print(read_case(folder)["decode"])


def prefill(folder):
    print(*read_case(folder)["prefill"])


def cut(folder, tokens, out):
    np.save(out, np.resize(prompt(folder), int(tokens)))  # repeated where it is too short


def generated(base):
    with open(base + ".ids") as file:
        return [int(word) for word in file.readline().split()]


def extend(folder, base):
    # The last id was not fed back.
    np.save(base + ".longer.npy", np.concatenate([prompt(folder), generated(base)[:-1]]).astype(np.int64))


def relative_error(got, want):
    if got.shape != want.shape or not np.isfinite(got).all():
        return float("inf")
    return float(np.abs(got.astype(np.float64) - want).max() / np.abs(want).max())


def check(folder, base):
    case, ids, expected = read_case(folder), generated(base), np.load(os.path.join(folder, "expected.npy"))
    ours, longer = np.load(base + ".logits.npy"), np.load(base + ".longer-logits.npy")
    error = relative_error(ours[: len(expected)], expected)
    # One token at a time against all at once: every choice that is clear must be the same.
    rows = longer[len(ours) - 1:]
    top = np.sort(rows, axis=1)[:, -2:]
    clear = top[:, 1] - top[:, 0] > 2 * bound(case) * np.abs(rows).max()
    wrong = [i for i, id in enumerate(ids) if clear[i] and rows[i].argmax() != id]
    repeated = relative_error(longer[: len(ours)], ours)
    print(f"max difference {error:.1e} of the largest logit over {len(expected)} tokens (bound {bound(case):.1e}), "
          f"{len(ids)} greedy ids, {int(clear.sum())} of them clear, {len(wrong)} wrong{f' (first: {wrong[0]})' if wrong else ''}; "
          f"same prompt in a longer one {repeated:.1e}")
    # docs/Spec.md promises a `repeated` of 0; more is worth a look, but no reason to lose the device's time.
    sys.exit(0 if max(error, repeated) <= bound(case) and not wrong else 1)


def clocks(path):
    """Median SM clock (MHz) and power (W) of a run; nothing where they were not sampled."""
    samples = []
    if os.path.exists(path):
        with open(path) as file:
            for line in file:
                fields = [field.strip() for field in line.split(",")]
                try:
                    samples.append((float(fields[0]), float(fields[2])))
                except (ValueError, IndexError):
                    continue
    if not samples:
        return "", ""
    return tuple(f"{statistics.median(values):.0f}" for values in zip(*samples))


def last_json(path):
    with open(path) as file:
        return json.loads([line for line in file if line.startswith("{")][-1])


def table(folder, results):
    print("| case | device | prompt | prefill ms (spread) | TFLOP/s | decode ms/token (spread) | GB/s | SM MHz | W |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for path in sorted(glob.glob(os.path.join(folder, "*", "case.json"))):
        name = os.path.basename(os.path.dirname(path))
        case = read_case(os.path.dirname(path))
        for tokens in case["prefill"]:
            file = os.path.join(results, f"{name}.{tokens}.json")
            if not os.path.exists(file):
                continue
            run = last_json(file)
            flops, size = case.get("flops", {}).get(str(tokens)), case.get("bytes", {}).get(str(tokens))
            rate = f"{flops / run['prefill_ms'] / 1e9:.1f}" if flops else ""
            bandwidth = f"{size / run['decode_ms_per_token'] / 1e6:.0f}" if size and run["decode_tokens"] else ""
            print("|", " | ".join([
                name, run.get("device", "CPU"), str(tokens), f"{run['prefill_ms']:.3f} ({run['prefill_spread']:.2f})",
                rate, f"{run['decode_ms_per_token']:.4f} ({run['decode_spread']:.2f})", bandwidth,
                *clocks(os.path.splitext(file)[0] + ".clocks")]), "|")
        if os.path.exists(os.path.join(results, name + ".wrong")):
            print(f"| {name} | | | WRONG RESULT | | | | | |")


COMMANDS = {function.__name__: function for function in (decode, prefill, cut, extend, check, table)}

if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in COMMANDS:
        sys.exit(__doc__)
    COMMANDS[sys.argv[1]](*sys.argv[2:])
