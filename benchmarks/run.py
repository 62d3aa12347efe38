#!/usr/bin/env python3
"""Times a compiled program against transformers and against what the machine can do, after checking its results.

run.py [CASE...] [--peers PYTHON] [--rounds N] [--build FOLDER] [--scratch FOLDER] [--flags "..."] [--profile]
    CASE is a name in benchmarks/cases (default olmoe-layer); PYTHON has torch and transformers (default: no peers).

Each round measures the machine (probe.cpp), the program, the machine, and the peers; medians over rounds are printed and
appended to results/CASE.jsonl. Nothing here fails because of a time; wrong results do.
"""
import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
sys.path.insert(0, os.path.join(ROOT, "test", "Reference"))
from decoder import Decoder, complete
from make_checkpoint import configuration, make

IMPLEMENTATIONS = ("eager", "grouped_mm")
# The bound of the integration tests: max |difference| over max |logit|, float32 against float32.
TOLERANCE = 2e-5
STORAGE_BYTES = {"f32": 4, "bf16": 2, "f16": 2}


def run(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode:
        sys.exit(f"run.py: status {done.returncode} from {shlex.join(command)}\n{done.stderr.strip()[-2000:]}")
    return done


def last_json(text):
    return json.loads([line for line in text.splitlines() if line.startswith("{")][-1])


def work(case):
    """Operations of one prefill and bytes of one decoding step: every product counted, padding never."""
    c = complete(configuration(case["kind"], **case["config"]))
    hidden, size, tokens = c["hidden_size"], c["head_dim"], case["prefill"]
    q, kv = c["num_attention_heads"] * size, c["num_key_value_heads"] * size
    width = c.get("moe_intermediate_size", c["intermediate_size"])
    projections = hidden * (2 * q + 2 * kv)
    experts, router = 3 * c["num_experts_per_tok"] * hidden * width, c["num_experts"] * hidden
    layers, head = c["num_hidden_layers"], c["vocab_size"] * hidden
    # Causal attention: a token meets half the prompt on average, once for the scores and once for the values.
    flops = layers * (2 * tokens * (projections + experts + router) + 2 * tokens * tokens * q) + 2 * head
    positions = tokens + case["decode"] / 2
    bytes_read = STORAGE_BYTES[case["storage"]] * (layers * (projections + experts + router) + head)
    bytes_read += layers * 4 * 2 * kv * positions
    return flops, bytes_read


def build_probe(scratch):
    probe = os.path.join(scratch, "probe")
    run(["clang++-22", "-O2", "-march=native", "-pthread", os.path.join(HERE, "probe.cpp"), "-o", probe])
    return probe


def compile_case(case, folder, program, options):
    """Compiles and packs; gives the seconds and the rate over the weights' bytes."""
    begin = time.perf_counter()
    run([os.path.join(options.build, "bin", "moe-compile"), folder, "-o", program, *shlex.split(options.flags)])
    seconds = time.perf_counter() - begin
    size = sum(os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder) if "safetensors" in name)
    return {"seconds": seconds, "megabytes_per_second": size / seconds / 1e6}


def relative_error(got, want):
    return float(np.abs(got - want).max() / np.abs(want).max())


def check_results(case, folder, program, ids, scratch, options):
    """Our logits against every peer's, or against the NumPy decoder where there is no peer; ends the run if wrong."""
    tokens, out = os.path.join(scratch, "ids.npy"), os.path.join(scratch, "logits.npy")
    np.save(tokens, ids)
    run([program, "--tokens", tokens, "--logits", out])
    ours, errors = np.load(out), {}
    if options.peers:
        for name in IMPLEMENTATIONS:
            theirs = os.path.join(scratch, f"{name}.npy")
            run([options.peers, os.path.join(HERE, "peer.py"), folder, tokens, "0", name, theirs])
            errors[name] = relative_error(ours, np.load(theirs))
    else:  # token by token in NumPy, so only the beginning
        some = ids[:16]
        errors["decoder.py"] = relative_error(ours[: len(some)], Decoder(folder, np.float32).forward(some)[0])
    for name, error in errors.items():
        print(f"  logits against {name}: {error:.1e}")
        if not error <= TOLERANCE:
            sys.exit(f"run.py: the logits differ from {name} by {error:.1e}, expected at most {TOLERANCE:g}")
    return errors


def one_round(case, folder, program, probe, tokens, scratch, options):
    before = last_json(run([probe]).stdout)
    command = [program, "--tokens", tokens, "--generate", str(case["decode"]), "--bench"]
    ours = last_json(run(command).stdout)
    after = last_json(run([probe]).stdout)
    flops, bytes_read = work(case)
    peak = (before["f32_gflops"] + after["f32_gflops"]) / 2
    bandwidth = (before["read_gb_per_s"] + after["read_gb_per_s"]) / 2
    result = {
        "prefill_ms": ours["prefill_ms"], "decode_ms_per_token": ours["decode_ms_per_token"],
        "f32_gflops": peak, "read_gb_per_s": bandwidth,
        "prefill_share": flops / ours["prefill_ms"] / 1e6 / peak,
        "decode_share": bytes_read / ours["decode_ms_per_token"] / 1e6 / bandwidth,
        "threads": ours["threads"],
    }
    if options.peers:
        for name in IMPLEMENTATIONS:
            command = [options.peers, os.path.join(HERE, "peer.py"), folder, tokens, str(case["decode"]), name,
                       os.path.join(scratch, "peer.npy")]
            peer = last_json(run(command).stdout)
            result[name] = peer
    return result


def median(rounds, *keys):
    values = []
    for entry in rounds:
        for key in keys:
            entry = entry[key]
        values.append(entry)
    return statistics.median(values)


def machine():
    model = "unknown CPU"
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {"cpu": model, "cpus": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0]}


def commit():
    done = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def report(case, rounds, record, options):
    prefill, decode = median(rounds, "prefill_ms"), median(rounds, "decode_ms_per_token")
    flops, bytes_read = work(case)
    print(f"  prefill {case['prefill']} tokens: {prefill:.1f} ms, {flops / prefill / 1e6:.0f} GFLOP/s, "
          f"{median(rounds, 'prefill_share'):.2f} of the multiply-add rate ({median(rounds, 'f32_gflops'):.0f} GFLOP/s)")
    print(f"  decode a token: {decode:.2f} ms, {bytes_read / decode / 1e6:.1f} GB/s, "
          f"{median(rounds, 'decode_share'):.2f} of the read bandwidth ({median(rounds, 'read_gb_per_s'):.1f} GB/s)")
    for name in IMPLEMENTATIONS if options.peers else ():
        p, d = median(rounds, name, "prefill_ms"), median(rounds, name, "decode_ms_per_token")
        record["ratios"][name] = {"prefill": p / prefill, "decode": d / decode}
        print(f"  transformers {name}: prefill {p:.1f} ms ({p / prefill:.2f}x ours), "
              f"decode {d:.2f} ms ({d / decode:.2f}x ours)")


def run_case(name, scratch, options):
    with open(os.path.join(HERE, "cases", name + ".json")) as file:
        case = json.load(file)
    print(f"{name}: {case['source']}")
    folder = os.path.join(scratch, name)
    if not os.path.exists(os.path.join(folder, "complete")):
        make(folder, case["kind"], seed=3, storage=case["storage"], **case["config"])
        open(os.path.join(folder, "complete"), "w").close()
    program = os.path.join(scratch, name + "-program")
    packing = compile_case(case, folder, program, options)
    print(f"  compiled and packed in {packing['seconds']:.1f} s, {packing['megabytes_per_second']:.0f} MB/s of weights")

    ids = np.random.default_rng(0).integers(3, case["config"]["vocab_size"], case["prefill"])
    errors = check_results(case, folder, program, ids, scratch, options)
    probe, tokens = build_probe(scratch), os.path.join(scratch, "ids.npy")
    state = machine()
    rounds = [one_round(case, folder, program, probe, tokens, scratch, options) for _ in range(options.rounds)]
    record = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "commit": commit(), "machine": state,
        "flags": options.flags, "verified": errors, "packing": packing, "rounds": rounds, "ratios": {},
    }
    report(case, rounds, record, options)
    if options.profile:
        done = run([program, "--tokens", tokens, "--generate", str(case["decode"]), "--profile"])
        print(done.stderr.rstrip())
    os.makedirs(os.path.join(HERE, "results"), exist_ok=True)
    with open(os.path.join(HERE, "results", name + ".jsonl"), "a") as file:
        file.write(json.dumps(record) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=["olmoe-layer"])
    parser.add_argument("--peers", metavar="PYTHON")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--build", default=os.path.join(ROOT, "build"))
    parser.add_argument("--scratch", default=os.path.join(tempfile.gettempdir(), "moe-benchmarks"),
                        help="keeps the made-up checkpoints, a few gigabytes")
    parser.add_argument("--flags", default="", help="for moe-compile")
    parser.add_argument("--profile", action="store_true", help="also print the time of each kernel")
    options = parser.parse_args()
    os.makedirs(options.scratch, exist_ok=True)
    for name in options.cases:
        if not os.path.exists(os.path.join(HERE, "cases", name + ".json")):
            known = sorted(file[:-5] for file in os.listdir(os.path.join(HERE, "cases")))
            parser.error(f"unknown case '{name}', expected one of {', '.join(known)}")
        run_case(name, options.scratch, options)


if __name__ == "__main__":
    main()
