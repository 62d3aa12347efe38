"""Published systems (test/Systems) for a GPU: each compiled as a library, with all calls of its test and what they must
give.

Nothing is run but the reference path, on this CPU; its numbers and those of the oracle go to files, so that the
machine with the GPU needs neither. A folder a system:
    program.so, program.so.weights
    calls.safetensors      CALL.in.NAME and CALL.want.NUMBER
    calls.json             {"bound": B, "calls": [{"function", "title", "inputs", "wants", "same"}]}, where `wants` has
                           (result, exact?, of whom) for each NUMBER, and `same` rows that must be those of another call
"""
import importlib.util
import json
import os
import shutil

import numpy as np

import sources
import harness
import tensors


def load_runner():
    spec = importlib.util.spec_from_file_location("systems_run", os.path.join(sources.SYSTEMS, "run.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


runner = load_runner()


def names():
    """Every system, by name, and its source."""
    found = {}
    for chapter, _, files in os.walk(sources.SYSTEMS):
        for file in files:
            if file.endswith(".mlir"):
                found[file.removesuffix(".mlir")] = os.path.join(chapter, file)
    return dict(sorted(found.items()))


class Recorder:
    """In place of the fast path: gives the reference path's results and keeps the inputs."""

    def __init__(self, system):
        self.system = system

    def call(self, function, inputs):
        return self.system.record(function, inputs, function)


class RecordedSystem(runner.System):
    """A system whose fast path is compiled for another machine and not run."""

    def __init__(self, tools, scratch, source, seed, flags):
        self.calls, self.arrays = [], {}
        super().__init__(tools, scratch, source, seed, flags)

    def compile_fast(self, tools, source, path, flags):
        harness.run([os.path.join(tools, "moe-compile"), source, "--emit=shared", "-o", path + ".so", *flags])
        return Recorder(self)

    def record(self, function, inputs, title):
        number = len(self.calls)
        for name, value in inputs.items():
            self.arrays[f"{number}.in.{name}"] = np.array(value)  # tests change theirs between calls
        self.calls.append({"function": function, "title": title, "inputs": list(inputs), "wants": []})
        return self.plain.call(function, inputs)

    def want(self, result, numbers, exact, whose):
        wants = self.calls[-1]["wants"]
        self.arrays[f"{len(self.calls) - 1}.want.{len(wants)}"] = np.asarray(numbers)
        wants.append([result, exact, whose])

    def run(self, inputs, function=None, exact=False, title=None):
        function = function or self.function
        results = self.record(function, inputs, title or function)
        for name, numbers in results.items():
            self.want(name, numbers, self.is_exact(name, exact), "the reference path")
        return results

    def wants(self, got, inputs, exact):
        for name, numbers, integers in super().wants(got, inputs, exact):
            self.want(name, numbers, integers, "the oracle")
            yield name, numbers, integers

    def company(self, rows):
        """The calls of the base class in their order: all tokens, five of them, all with a NaN in the third."""
        first = len(self.calls)
        super().company(rows)
        whole, some, beside = range(first, first + 3)
        others = [token for token in range(13) if token != 2]
        self.calls[some]["same"] = {"call": whole, "there": list(range(3, 8)), "here": list(range(5))}
        self.calls[beside]["same"] = {"call": whole, "there": others, "here": others}


def prepare(name, source, folder, tools, flags):
    """Fills the folder of one system; gives the number of calls."""
    scratch = os.path.join(folder, "scratch")
    system = RecordedSystem(tools, scratch, source, runner.SEED, flags)
    system.edges()
    for _, trap in runner.traps(system.module):
        trap(system)
    for file in ("program.so", "program.so.weights"):
        path = os.path.join(scratch, "fast", file)
        if os.path.exists(path):
            shutil.move(path, os.path.join(folder, file))
    shutil.rmtree(scratch)
    tensors.save(os.path.join(folder, "calls.safetensors"), system.arrays)
    with open(os.path.join(folder, "calls.json"), "w") as file:
        json.dump({"bound": system.bound, "calls": system.calls}, file)
    return len(system.calls)
