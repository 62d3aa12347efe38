"""Greedy decoding of a checkpoint compiled for a device: one step captured into a graph, and replayed for every token.

decode.py TOOLS SCRATCH FOLDER MOE_COMPILE_FLAG...
The tokens are the stored ones and those of the program for the CPU; the log of the stand-in driver says what was done.
"""
import json
import os
import shutil

import harness
from harness import Failure

# One less than, as many as, and more than the steps that are queued at once, also behind an end of text.
LENGTHS = (1, 2, 3, 32, 33, 34)


def prepare(scratch, folder, eos):
    """A copy of the checkpoint whose text ends at `eos`, and how many positions it has."""
    shutil.rmtree(scratch, ignore_errors=True)
    checkpoint = os.path.join(scratch, "checkpoint")
    shutil.copytree(folder, checkpoint, ignore=shutil.ignore_patterns("expected.safetensors"))
    path = os.path.join(checkpoint, "config.json")
    with open(path) as file:
        config = json.load(file)
    config["eos_token_id"] = eos
    with open(path, "w") as file:
        json.dump(config, file)
    return checkpoint, config["max_position_embeddings"]


class Run:
    """What one run of --generate printed, and what the driver was asked for."""

    def __init__(self, program, log, ids, count, *flags, order="forward"):
        if os.path.exists(log):
            os.remove(log)
        os.environ["MOE_STAND_IN"] = f"log={log},order={order}"
        self.ids = program.generate(ids, count, *flags)
        with open(log) as file:
            self.lines = file.read().splitlines()

    def count(self, text):
        return sum(text in line for line in self.lines)

    def captured(self):
        """The calls between the beginning and the end of the capture."""
        begin, end = (next(i for i, line in enumerate(self.lines) if line.endswith(f" {edge} capture"))
                      for edge in ("begin", "end"))
        return self.lines[begin + 1:end]


def check_graph(run, count):
    """One capture of nothing but kernels, replayed for every token but those of the prompt and of the first step."""
    if run.count("begin capture") != (count > 1) or run.count("in vain"):
        raise Failure(f"{run.count('begin capture')} captures for {count} tokens")
    if run.count("launch graph") != max(count - 2, 0):
        raise Failure(f"{run.count('launch graph')} replays for {count} tokens, expected {max(count - 2, 0)}")
    others = [line for line in run.captured() if " capture " not in line] if count > 1 else []
    if others:
        raise Failure(f"in the capture, expected kernels only: {others}")


def test(tools, scratch, arguments):
    folder, flags = arguments[0], arguments[1:]
    expected = harness.safetensors.load(os.path.join(folder, "expected.safetensors"))
    prompt, stored = expected["prompt"], expected["generated"].tolist()
    # The text ends at an id that is chosen neither first nor among the last, by the second of two.
    length = next(i + 1 for i, token in enumerate(stored) if i >= 4 and token not in stored[:i])
    unused = next(token for token in range(320) if token not in stored)
    checkpoint, limit = prepare(scratch, folder, [unused, stored[length - 1]])
    most = limit - len(prompt) + 1
    counts = [count for count in LENGTHS if count < most] + [min(most, 70)]
    log = os.path.join(scratch, "log")
    device = harness.compile_program(tools, checkpoint, os.path.join(scratch, "device"), flags)
    cpu = harness.compile_program(tools, checkpoint, os.path.join(scratch, "cpu"))

    want = cpu.generate(prompt, counts[-1])
    if want[:len(stored)] != stored:
        raise Failure(f"greedy tokens {want}, expected {stored}")
    for count in counts:
        run = Run(device, log, prompt, count)
        if run.ids != want[:count]:
            raise Failure(f"greedy tokens {run.ids}, expected {want[:count]}")
        check_graph(run, count)
    launches = len(run.captured())
    for order in ("reverse", "shuffle"):
        if Run(device, log, prompt, 20, order=order).ids != want[:20]:
            raise Failure(f"threads in the order '{order}': other greedy tokens")

    # A context that ends with the last token; then an end of text with steps queued behind it.
    context = len(prompt) + len(stored) - 1
    if Run(device, log, prompt, len(stored), "--context", str(context)).ids != stored:
        raise Failure(f"--context {context}: other greedy tokens")
    for count in (length - 1, length, length + 1, counts[-1]):
        run = Run(device, log, prompt, count, "--stop-at-eos")
        if run.ids != want[:min(count, length)]:
            raise Failure(f"--generate {count} --stop-at-eos: tokens {run.ids}, expected {want[:min(count, length)]}")
    print(f"{os.path.basename(folder)}: greedy tokens the same by a graph of {launches} launches")


if __name__ == "__main__":
    harness.main(test, __doc__)
