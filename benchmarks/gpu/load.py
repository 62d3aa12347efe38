"""Loads programs once, several at a time: says which of them the driver takes, and fills the driver's cache of
compiled kernels, so that later pieces need not wait for its compiler."""
import concurrent.futures
import os
import subprocess
import sys
import time

from workloads import WORKLOADS

HERE = os.path.dirname(os.path.abspath(__file__))
# A session loads the kernels; the process ends before it runs one.
OPEN = ("import sys; sys.path.insert(0, sys.argv[1]); from program import Program; "
        "Program(sys.argv[2], sys.argv[3] or None)")


def command_of(folder, piece, driver):
    """What loads the program of a piece, and its name; None for pieces without a program."""
    kind, _, name = piece.partition(".")
    if kind in ("checkpoint", "case"):
        path = os.path.join(folder, kind + "s", name)
        return path, [os.path.join(path, "program"), "--tokens", os.path.join(path, "ids.npy"), "--generate", "1",
                      *(["--driver", driver] if driver else [])]
    if kind == "system":
        path = os.path.join(folder, "systems", name)
    elif kind == "workload":
        path = os.path.join(folder, "workloads", "programs", WORKLOADS[name.partition(".")[0]][0])
    else:
        return None
    return path, [sys.executable, "-c", OPEN, HERE, os.path.join(path, "program.so"), driver or ""]


def load_one(name, command, seconds):
    start = time.monotonic()
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=seconds)
        status, said = done.returncode, done.stderr.strip()
    except subprocess.TimeoutExpired:
        status, said = -1, f"no end after {seconds} s"
    return name, status, said, time.monotonic() - start


def load(options, pieces):
    """How many programs of these pieces load, which do not, and the longest time that one took."""
    jobs = min(8, os.cpu_count() or 1)
    commands = dict(filter(None, (command_of(options.folder, piece, options.driver) for piece in pieces)))
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        waiting = [pool.submit(load_one, os.path.relpath(path, options.folder), command, options.seconds)
                   for path, command in commands.items()]
        done = [job.result() for job in waiting]
    refused = {name: said for name, status, said, _ in done if status}
    for name, said in refused.items():
        print(f"{name}: {said}", file=sys.stderr)
    return {"programs": len(done), "refused": sorted(refused), "at_once": jobs,
            "longest_seconds": max((seconds for *_, seconds in done), default=0.0)}
