"""Loads every program once, several at a time: says which of them the driver takes, and fills the driver's cache of
compiled kernels, so that later pieces need not wait for its compiler."""
import concurrent.futures
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
# A session loads the kernels; the process ends before it runs one.
OPEN = ("import sys; sys.path.insert(0, sys.argv[1]); from program import Program; "
        "Program(sys.argv[2], sys.argv[3] or None)")


def programs(folder):
    """Every program, with the command that loads it."""
    for kind in ("checkpoints", "cases"):
        place = os.path.join(folder, kind)
        for name in sorted(os.listdir(place)) if os.path.isdir(place) else []:
            yield f"{kind}/{name}", lambda driver, path=os.path.join(place, name): [
                os.path.join(path, "program"), "--tokens", os.path.join(path, "ids.npy"), "--generate", "1",
                *(["--driver", driver] if driver else [])]
    for kind in ("systems", "workloads/programs"):
        place = os.path.join(folder, kind)
        for name in sorted(os.listdir(place)) if os.path.isdir(place) else []:
            yield f"{kind}/{name}", lambda driver, path=os.path.join(place, name, "program.so"): [
                sys.executable, "-c", OPEN, HERE, path, driver or ""]


def load_one(name, command, seconds):
    start = time.monotonic()
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=seconds)
        status, said = done.returncode, done.stderr.strip()
    except subprocess.TimeoutExpired:
        status, said = -1, f"no end after {seconds} s"
    return name, status, said, time.monotonic() - start


def load(options):
    """How many programs load, which do not, and the longest time that one took."""
    jobs = min(8, os.cpu_count() or 1)
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        waiting = [pool.submit(load_one, name, command(options.driver), options.seconds)
                   for name, command in programs(options.folder)]
        done = [job.result() for job in waiting]
    refused = {name: said for name, status, said, _ in done if status}
    for name, said in refused.items():
        print(f"{name}: {said}", file=sys.stderr)
    return {"programs": len(done), "refused": sorted(refused), "at_once": jobs,
            "longest_seconds": max((seconds for *_, seconds in done), default=0.0)}
