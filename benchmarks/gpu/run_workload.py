"""One workload on the GPU: the program's two regions and those of every peer that is found, checked, then timed in
turn."""
import json
import os
import sys

import numpy as np

import sources
import reference
import tensors
import workloads
from models import WrongResult
from program import Program, device_name

SEED = 20
# Twice the second level cache of any card so far: what it writes before each run leaves nothing of the last one there.
FLUSH_BYTES = 256 << 20
# Dense bf16 product and device memory of an H200, published, where this job has no probe of its own.
PUBLISHED = {"tflops": 790.0, "tbytes": 4.3, "of": "published for an H200"}


def spread(times):
    """Microseconds: median, 10th and 90th percentile."""
    return [1000 * float(value) for value in np.percentile(times, [50, 10, 90])]


def runs_for(milliseconds, repeats):
    """Warm-ups and timed runs: 25 and 100, or what half a second holds."""
    if repeats:
        return 1, repeats
    count = int(500 / max(milliseconds, 1e-3))
    return min(25, max(2, count // 2)), min(100, max(5, count))


class Workload:
    """Model, operands and reference results of one workload and routing."""

    def __init__(self, folder, name):
        self.id, self.routing = name.split(".")
        with open(os.path.join(folder, "workloads", "shrink.json")) as file:
            self.factor = json.load(file)
        kind = workloads.WORKLOADS[self.id][0]
        self.model = workloads.MODELS[kind]
        if self.factor > 1:
            self.model = self.model.shrunken(self.factor)
        self.program = os.path.join(folder, "workloads", "programs", kind, "program.so")
        frozen = tensors.load(os.path.join(folder, "workloads", "routing", name + ".safetensors"))
        self.ids, self.shares = frozen["ids"], frozen["shares"]
        numbers = workloads.Numbers(SEED, workloads.POOL if self.factor == 1 else 65537)
        self.weights = numbers.weights(self.model)
        self.x = numbers.rows(self.model, len(self.ids))
        self.regions = {"experts": {"x": self.x, "ids": self.ids, "shares": self.shares, **self.weights}}
        self.references = {"experts": reference.of_experts(self.model, self.weights, self.x, self.ids, self.shares)}
        # A layer makes its own routing, so once is enough.
        if self.routing == workloads.WORKLOADS[self.id][2][0]:
            self.regions["layer"] = {"x": self.x, **self.weights}
            self.references["layer"] = reference.of_layer(self.model, self.weights, self.x)

    def costs(self, rates):
        """Operations, bytes and the least microseconds that they take at these rates."""
        active, peak = workloads.load_of(self.ids, self.model.experts)
        flops = workloads.flops(self.model, len(self.ids))
        size = workloads.least_bytes(self.model, len(self.ids), active)
        by_flops, by_bytes = flops / rates["tflops"] / 1e6, size / rates["tbytes"] / 1e6
        return {"active": active, "max_over_mean": peak, "flops": flops, "bytes": size, "flops_us": by_flops,
                "bytes_us": by_bytes, "floor_us": max(by_flops, by_bytes), "rates": rates["of"]}


class Ours:
    """The compiled program, one region at a time."""

    name = "this compiler"

    def __init__(self, workload, options):
        self.workload, self.options = workload, options
        self.flush = FLUSH_BYTES if workload.factor == 1 else 1 << 20
        self.device = device_name(options.driver)
        profile = Program(workload.program, options.driver, profile=True)
        for region, inputs in workload.regions.items():
            print(f"{region}: kernels of one call, microseconds", file=sys.stderr)
            for kernel, calls, nanoseconds in profile.profile(region, inputs):
                print(f"  {nanoseconds / 1000:12.1f} {calls:4} {kernel or '(outside of kernels)'}", file=sys.stderr)
        profile.close()
        self.program = Program(workload.program, options.driver)

    def measure(self, region, graph, warmups, runs):
        results, times = self.program.measure(region, self.workload.regions[region], graph, warmups, runs, self.flush)
        return results["y"], times

    def time(self, region):
        """A row of the table, or WrongResult."""
        y, times = self.measure(region, False, 1, 1)
        error = self.workload.references[region].error(y, ours=True)
        if not error <= 1:
            raise WrongResult(f"{self.workload.id} {region}: {error:.3g} times the bound")
        how = runs_for(times[-1], self.options.repeats)
        y, graph = self.measure(region, True, *how)
        if not self.workload.references[region].error(y, ours=True) <= 1:
            raise WrongResult(f"{self.workload.id} {region}: a replayed graph gives something else")
        _, eager = self.measure(region, False, *how)
        return {"region": region, "who": self.name, "error": error, "graph_us": spread(graph),
                "eager_us": spread(eager), "runs": how[1], "device": self.device}

    def again(self, row):
        """The same after the peers, so that a drift of clocks shows."""
        _, times = self.measure(row["region"], True, *runs_for(row["graph_us"][0] / 1000, self.options.repeats))
        row["again_us"] = spread(times)[0]


def rates(results):
    """What this job's probe measured."""
    path = os.path.join(results, "probe.json")
    if not os.path.exists(path):
        return PUBLISHED
    with open(path) as file:
        probe = json.load(file)
    return {**probe, "of": "measured in this job"} if probe.get("tflops") else PUBLISHED


def run(options, name):
    """All rows of one workload."""
    workload = Workload(options.folder, name)
    result = {"workload": workload.id, "routing": workload.routing, "model": workload.model.name,
              "tokens": len(workload.ids), "shrunken": workload.factor, **workload.costs(rates(options.results))}
    ours = Ours(workload, options)
    rows = [ours.time(region) for region in workload.regions]
    from peers import time_peers

    more = time_peers(workload, options)
    for row in rows:
        ours.again(row)
    return {**result, "rows": rows + more}
