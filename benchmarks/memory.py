#!/usr/bin/env python3
"""Measures how much memory compiling a large checkpoint takes, and how fast its weights are packed.

memory.py [--gigabytes N] [--build FOLDER] [--scratch FOLDER]     appends to results/memory.jsonl
Memory is what the process itself allocated (RssAnon); pages of mapped files belong to the system's cache.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

from run import HERE, ROOT, commit, machine
from make_checkpoint import configuration, make, shapes

# Expert matrices of 48 MB; the number of layers follows from the size asked for.
CONFIG = {
    "vocab_size": 32000, "hidden_size": 2048, "intermediate_size": 6144, "num_attention_heads": 16,
    "num_key_value_heads": 4, "head_dim": 128, "num_local_experts": 8, "max_position_embeddings": 4096,
}
KIND = "mixtral"


def checkpoint_bytes(layers):
    total = 0
    for shape in shapes(configuration(KIND, **CONFIG, num_hidden_layers=layers)).values():
        count = 1
        for extent in shape:
            count *= extent
        total += 4 * count
    return total


def peak_of(command):
    """Runs a command; gives its seconds and the highest RssAnon and RssFile seen, in megabytes."""
    begin, peak = time.perf_counter(), {"RssAnon": 0, "RssFile": 0}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while process.poll() is None:
        try:
            with open(f"/proc/{process.pid}/status") as file:
                for line in file:
                    key = line.split(":", 1)[0]
                    if key in peak:
                        peak[key] = max(peak[key], int(line.split()[1]) / 1024)
        except OSError:
            pass
        time.sleep(0.02)
    if process.returncode:
        sys.exit(f"memory.py: the compiler failed\n{process.stderr.read()[-2000:]}")
    return time.perf_counter() - begin, peak


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=4)
    parser.add_argument("--build", default=os.path.join(ROOT, "build"))
    parser.add_argument("--scratch", default=os.path.join(tempfile.gettempdir(), "moe-memory"))
    options = parser.parse_args()
    layers = 1
    while checkpoint_bytes(layers) < options.gigabytes * 1e9:
        layers += 1
    folder = os.path.join(options.scratch, "checkpoint")
    try:
        make(folder, KIND, shards=4, num_hidden_layers=layers, **CONFIG)
        size = checkpoint_bytes(layers)
        largest = max(4 * a * b for a, b in ((s + (1,))[:2] for s in
                      shapes(configuration(KIND, **CONFIG, num_hidden_layers=layers)).values()))
        compiler = os.path.join(options.build, "bin", "moe-compile")
        seconds, peak = peak_of([compiler, folder, "-o", os.path.join(options.scratch, "program")])
    finally:
        shutil.rmtree(options.scratch, ignore_errors=True)
    rate = size / seconds / 1e6
    print(f"checkpoint {size / 1e9:.1f} GB, largest tensor {largest / 2**20:.0f} MB: compiled in {seconds:.1f} s "
          f"({rate:.0f} MB/s), {peak['RssAnon']:.0f} MB of own memory, {peak['RssFile']:.0f} MB of mapped files")
    record = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "commit": commit(), "machine": machine(),
              "bytes": size, "largest_tensor": largest, "seconds": seconds, "peak_megabytes": peak}
    with open(os.path.join(HERE, "results", "memory.jsonl"), "a") as file:
        file.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
