"""A published system on the GPU: every call that prepare_systems.py kept, against the reference path and the oracle."""
import json
import os

import numpy as np

import sources
import harness
import tensors
from program import Program


def rows_of(results, rows, count):
    """These rows of all results that have one row a token."""
    return {name: value[rows] for name, value in results.items() if value.shape[:1] == (count,)}


def check_same(title, same, results, number):
    """Rows of two calls of which the specification says that no bit differs."""
    there, here = results[same["call"]], results[number]
    count = lambda of: max(value.shape[0] for value in of.values() if value.ndim)
    want, got = rows_of(there, same["there"], count(there)), rows_of(here, same["here"], count(here))
    for name in want:
        harness.check_bits(f"{title}, '{name}', beside other tokens", got[name], want[name])


def check(folder, driver):
    """Calls, comparisons, the worst error and its bound; raises harness.Failure at the first wrong number."""
    with open(os.path.join(folder, "calls.json")) as file:
        plan = json.load(file)
    arrays = tensors.load(os.path.join(folder, "calls.safetensors"))
    program = Program(os.path.join(folder, "program.so"), driver)
    results, worst, compared, exact = [], 0.0, 0, 0
    for number, call in enumerate(plan["calls"]):
        inputs = {name: arrays[f"{number}.in.{name}"] for name in call["inputs"]}
        results.append(program.call(call["function"], inputs))
        for place, (name, digits, whose) in enumerate(call["wants"]):
            title = f"call {number}, {call['title']}, '{name}', against {whose}"
            want = arrays[f"{number}.want.{place}"]
            worst = max(worst, harness.check_numbers(title, results[-1][name], want, plan["bound"], digits))
            compared, exact = compared + 1, exact + bool(digits)
        if "same" in call:
            check_same(f"call {number}", call["same"], results, number)
    program.close()
    return {"calls": len(results), "comparisons": compared, "exact": exact, "error": worst, "bound": plan["bound"]}
