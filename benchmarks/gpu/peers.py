"""Other implementations of a workload: which are here, whether they are right, and how long they take.

A peer is a class with a `name`, `regions`, and `graph`, whether a CUDA graph can hold it; its constructor raises
Missing where it cannot run, and an instance is called with (x, ids, shares), or with (x) in the region `layer` if it
brings its own router. All get the operands of the program, on the device before they are timed; what they rearrange
once, as a loader of checkpoints would, is not timed.
"""
import sys
import time

import numpy as np


class Missing(Exception):
    """Why a peer cannot run here."""


class Data:
    """The operands of a workload as tensors."""

    def __init__(self, torch, workload, device):
        self.torch, self.model, self.device = torch, workload.model, device
        self.x = self.bf16(workload.x)
        self.ids = torch.from_numpy(workload.ids.astype(np.int64)).to(device)
        self.shares = torch.from_numpy(workload.shares.copy()).to(device)
        weights = workload.weights
        self.router, self.w2 = self.bf16(weights["router"]), self.bf16(weights["down"])
        self.w13 = torch.cat([self.bf16(weights["gate"]), self.bf16(weights["up"])], 1)  # [E, 2 I, H]

    def bf16(self, bits):
        return self.torch.from_numpy(bits.view(np.int16)).view(self.torch.bfloat16).to(self.device)

    def route(self, x):
        """The router in torch, for peers that bring none: ids and shares."""
        torch, model = self.torch, self.model
        logits = (x @ self.router.T).float()
        if not model.groups:
            kept, ids = torch.topk(torch.softmax(logits, -1), model.slots)
            return ids, kept / kept.sum(-1, keepdim=True)
        scores = logits.sigmoid()
        best = scores.view(len(x), model.groups, -1).topk(2, -1)[0].sum(-1)
        kept = torch.zeros_like(best).scatter_(1, best.topk(model.kept)[1], 1).bool()
        kept = kept.repeat_interleave(model.experts // model.groups, 1)
        ids = scores.masked_fill(~kept, float("-inf")).topk(model.slots)[1]
        shares = scores.gather(1, ids)
        return ids, shares / shares.sum(-1, keepdim=True) * model.scale


class Peer:
    """What most have in common."""

    regions, graph, routes = ("experts", "layer"), True, False

    def __init__(self, data):
        self.data, self.torch, self.model = data, data.torch, data.model

    def run(self, region):
        data = self.data
        if region == "experts":
            return self(data.x, data.ids, data.shares)
        return self(data.x) if self.routes else self(data.x, *data.route(data.x))


class Timer:
    """Times as moe_session_measure takes them: events, caches emptied before each run."""

    def __init__(self, torch, device, flush_bytes):
        self.torch, self.cuda = torch, device == "cuda"
        self.flush = torch.empty(flush_bytes // 4, dtype=torch.int32, device=device)

    def capture(self, body):
        torch = self.torch
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                body()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            body()
        return graph.replay

    def measure(self, body, warmups, runs, idle):
        """Milliseconds of each run; `idle`: each begins on an idle device."""
        for _ in range(warmups):
            body()
        if not self.cuda:
            return [self.on_cpu(body) for _ in range(runs)]
        torch = self.torch
        events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(runs)]
        for begin, end in events:
            self.flush.zero_()
            if idle:
                torch.cuda.synchronize()
            begin.record()
            body()
            end.record()
        torch.cuda.synchronize()
        return [begin.elapsed_time(end) for begin, end in events]

    def on_cpu(self, body):
        self.flush.zero_()
        start = time.perf_counter()
        body()
        return 1000 * (time.perf_counter() - start)


def first_line(error):
    kind = "" if isinstance(error, (Missing, ImportError)) else type(error).__name__ + ": "
    return (kind + str(error)).splitlines()[0][:200]


def time_peer(peer, region, workload, timer, repeats):
    """A row of the table for one peer and region; one that is wrong is not timed."""
    from run_workload import runs_for, spread

    row = {"region": region, "who": peer.name}
    body = lambda: peer.run(region)
    y = body()
    if getattr(peer, "bound_only", False):
        row["note"] = peer.bound_only
    else:
        bits = y.contiguous().view(peer.torch.int16).cpu().numpy().view(np.uint16)
        row["error"] = workload.references[region].error(bits, ours=False)
        if not row["error"] <= 1:
            return {**row, "wrong": f"{row['error']:.3g} times the bound"}
    how = runs_for(timer.measure(body, 1, 1, idle=True)[0], repeats)
    row["eager_us"] = spread(timer.measure(body, *how, idle=True))
    if timer.cuda and peer.graph:
        try:
            row["graph_us"] = spread(timer.measure(timer.capture(body), *how, idle=False))
        except Exception as error:  # what was timed already stays
            row["no_graph"] = first_line(error)
    device = peer.torch.cuda.get_device_name() if timer.cuda else "CPU"
    return {**row, "runs": how[1], "device": device}


def time_peers(workload, options):
    """Rows of all peers, those that are missing or fail with the reason."""
    from peers_others import OTHERS
    from peers_torch import TORCH

    try:
        import torch
    except ImportError as error:
        return [{"region": "both", "who": "torch, and all that needs it", "missing": first_line(error)}]
    if options.device == "cuda" and not torch.cuda.is_available():
        return [{"region": "both", "who": "torch, and all that needs it", "missing": "torch sees no CUDA device"}]
    from run_workload import FLUSH_BYTES

    rows = []
    with torch.inference_mode():
        data = Data(torch, workload, options.device)
        timer = Timer(torch, options.device, FLUSH_BYTES if options.device == "cuda" else 1 << 20)
        for kind in (*TORCH, *OTHERS):
            rows += rows_of_peer(kind, data, workload, timer, options.repeats)
    return rows


def rows_of_peer(kind, data, workload, timer, repeats):
    """One row a region, or one that says why there is none."""
    rows, region = [], "both"
    try:
        peer = kind(data)
        for region in (region for region in kind.regions if region in workload.regions):
            rows.append(time_peer(peer, region, workload, timer, repeats))
    except Exception as error:  # whatever others raise must not stop the rest
        print(f"{kind.name}, {region}: {error!r}", file=sys.stderr)
        failed = "" if isinstance(error, (Missing, ImportError)) else "failed: "
        rows.append({"region": region, "who": kind.name, "missing": failed + first_line(error)})
    return rows


def probe(device):
    """Rate of a dense bf16 product (8192 cubed, normal numbers) and of copies of 4 GiB, bytes read and written."""
    try:
        import torch
    except ImportError as error:
        return {"tflops": None, "tbytes": None, "why": first_line(error)}
    if device == "cuda" and not torch.cuda.is_available():
        return {"tflops": None, "tbytes": None, "why": "torch sees no CUDA device"}
    size, count = (8192, 1 << 30) if device == "cuda" else (256, 1 << 20)
    timer = Timer(torch, device, 4)
    with torch.inference_mode():
        a, b = (torch.randn(size, size, device=device).bfloat16() for _ in range(2))
        product = np.median(timer.measure(lambda: a @ b, 5, 30, idle=False))
        source = torch.ones(count, dtype=torch.float32, device=device)
        to = torch.empty_like(source)
        copy = np.median(timer.measure(lambda: to.copy_(source), 5, 30, idle=False))
    where = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    return {"tflops": 2 * size**3 / product / 1e9, "tbytes": 8 * count / copy / 1e9, "probed": where,
            "torch": torch.__version__}
