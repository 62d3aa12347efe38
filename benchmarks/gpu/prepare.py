#!/usr/bin/env python3
"""Prepares, where there need be no GPU, all that run.sh needs where there is one.

prepare.py OUT --flags "FLAGS OF moe-compile FOR THE GPU" [PART...]
    FLAGS are for example "--target=nvptx --chip=sm_90a"; with --chip=host the stand-in driver of the tests runs the
    programs. Programs are for any CPU with AVX2 unless FLAGS names one.
    PART is one of kernels, checkpoints, systems, workloads, cases; a name in it, as in checkpoints/mixtral, takes that
    alone (default: all). What is there is made again.
OUT/source gets the scripts, so that OUT alone can be carried: OUT/source/benchmarks/gpu/run.sh OUT. Only cases are
large: weights of workloads are made by the machine with the GPU, from a seed.
"""
import argparse
import datetime
import json
import os
import shlex
import shutil
import subprocess
import sys

import numpy as np

import sources
import workloads

# What the other machine needs of the source tree.
CARRIED = ["benchmarks/gpu", "test/Integration/harness.py", "test/Reference/tensors.py", "test/GPU/Hopper"]
CPU, SYSTEM_TOKENS, ROUTING_SEED = "x86-64-v3", 32768, 20


def fresh(*path):
    folder = os.path.join(*path)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    return folder


def make_kernels(options, names):
    from hopper import write

    write(fresh(options.out, "kernels"), options.tools, options.llvm, small=options.shrink > 1)


def make_checkpoints(options, names):
    import prepare_checkpoints

    for name in names or prepare_checkpoints.names():
        for arithmetic in ("f32", "bf16"):
            folder = fresh(options.out, "checkpoints", f"{name}.{arithmetic}")
            prepare_checkpoints.prepare(name, arithmetic, folder, options.tools, options.flags)
            print(f"checkpoint {name} in {arithmetic}", flush=True)


def make_systems(options, names):
    import prepare_systems

    known = prepare_systems.names()
    for name in names or known:
        folder = fresh(options.out, "systems", name)
        flags = [f"--max-tokens={SYSTEM_TOKENS}", *options.flags]
        calls = prepare_systems.prepare(name, known[name], folder, options.tools, flags)
        print(f"system {name}: {calls} calls", flush=True)


def make_workloads(options, names):
    """A program a model, for the most tokens that any of its workloads has, and frozen routing."""
    import tensors

    place = os.path.join(options.out, "workloads")
    for folder in ("routing", "programs"):
        os.makedirs(os.path.join(place, folder), exist_ok=True)
    with open(os.path.join(place, "shrink.json"), "w") as file:
        json.dump(options.shrink, file)
    most = {}
    for name in names or workloads.WORKLOADS:
        kind, _, routings = workloads.WORKLOADS[name]
        model, tokens = workloads.MODELS[kind], workloads.tokens_of(name, options.shrink)
        if options.shrink > 1:
            model = model.shrunken(options.shrink)
        most[kind] = (model, max(tokens, most.get(kind, (None, 0))[1]))
        for routing in routings:
            ids, shares = workloads.choose(model, tokens, routing, ROUTING_SEED)
            path = os.path.join(place, "routing", f"{name}.{routing}.safetensors")
            tensors.save(path, {"ids": ids, "shares": shares})
            active, peak = workloads.load_of(ids, model.experts)
            print(f"workload {name} {routing}: {active} of {model.experts} experts active, max/mean {peak:.2f}")
    for kind, (model, tokens) in most.items():
        folder = fresh(place, "programs", kind)
        source = os.path.join(folder, "layer.mlir")
        with open(source, "w") as file:
            file.write(workloads.source(model))
        subprocess.run([os.path.join(options.tools, "moe-compile"), source, "--emit=shared", "-o",
                        os.path.join(folder, "program.so"), f"--max-tokens={tokens}", *options.flags], check=True)


def make_cases(options, names):
    """Language models of the sizes in benchmarks/cases, for times of prefill and decoding."""
    from decoder import Decoder
    from make_checkpoint import make
    from prepare_checkpoints import compile_program
    from run import work

    place = os.path.join(sources.ROOT, "benchmarks", "cases")
    for name in names or sorted(file.removesuffix(".json") for file in os.listdir(place)):
        with open(os.path.join(place, name + ".json")) as file:
            case = json.load(file)
        folder = fresh(options.out, "cases", name)
        checkpoint = os.path.join(folder, "checkpoint")
        make(checkpoint, case["kind"], seed=3, storage=case["storage"], **case["config"])
        compile_program(options.tools, checkpoint, folder, options.flags)
        ids = np.random.default_rng(0).integers(3, case["config"]["vocab_size"], max(options.prefill))
        np.save(os.path.join(folder, "ids.npy"), ids)
        # Token by token in NumPy, so only the beginning.
        logits, _ = Decoder(checkpoint, np.float32).forward(ids[: options.expected])
        np.save(os.path.join(folder, "expected.npy"), logits)
        costs = {str(tokens): work({**case, "prefill": tokens, "decode": options.decode}) for tokens in options.prefill}
        # Other chips have the general kernels only, in f32.
        on_tensor_cores = case["storage"] == "bf16" and not any(
            flag in ("--arithmetic=f32", "--chip=host") for flag in options.flags)
        with open(os.path.join(folder, "case.json"), "w") as file:
            json.dump({"arithmetic": "bf16" if on_tensor_cores else "f32",
                       "layers": case["config"]["num_hidden_layers"], "decode": options.decode, "generated": [],
                       "prefill": options.prefill,
                       "flops": {tokens: flops for tokens, (flops, _) in costs.items()},
                       "bytes": {tokens: size for tokens, (_, size) in costs.items()}}, file)
        shutil.rmtree(checkpoint)


def carry_sources(out):
    place = fresh(out, "source")
    ignored = shutil.ignore_patterns("__pycache__")
    for path in CARRIED:
        source, target = os.path.join(sources.ROOT, path), os.path.join(place, path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        (shutil.copytree(source, target, ignore=ignored) if os.path.isdir(source) else shutil.copy(source, target))


def describe(options):
    """What prepared.json says: the commit, whether the tree differs from it, and how."""
    def git(*arguments):
        done = subprocess.run(["git", "-C", sources.ROOT, *arguments], capture_output=True, text=True)
        return done.stdout.strip() if not done.returncode else "unknown"

    return {"commit": git("rev-parse", "--short", "HEAD") + ("+changes" if git("status", "--porcelain") else ""),
            "flags": shlex.join(options.flags), "shrink": options.shrink,
            "prepared": datetime.datetime.now(datetime.timezone.utc).strftime("%F %T UTC")}


PARTS = {"kernels": make_kernels, "checkpoints": make_checkpoints, "systems": make_systems,
         "workloads": make_workloads, "cases": make_cases}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("parts", nargs="*", metavar="PART", default=list(PARTS))
    parser.add_argument("--flags", required=True)
    parser.add_argument("--build", default=os.path.join(sources.ROOT, "build"))
    parser.add_argument("--llvm", default="/usr/lib/llvm-22/bin", help="the folder of LLVM's tools, for kernels")
    parser.add_argument("--shrink", type=int, default=1, help="divide the sizes of workloads by this, for rehearsals")
    parser.add_argument("--expected", type=int, default=16, help="tokens of a case that NumPy computes")
    parser.add_argument("--prefill", type=int, nargs="+", default=[1, 64, 512, 2048])
    parser.add_argument("--decode", type=int, default=64)
    options = parser.parse_intermixed_args()
    options.flags, options.tools = shlex.split(options.flags), os.path.join(options.build, "bin")
    if not any(flag.startswith("--cpu=") for flag in options.flags):
        options.flags.append(f"--cpu={CPU}")
    chosen = {}
    for part in options.parts:
        kind, _, name = part.partition("/")
        if kind not in PARTS:
            parser.error(f"unknown part '{kind}', expected one of {', '.join(PARTS)}")
        chosen.setdefault(kind, []).extend([name] if name else [])
    for kind, names in chosen.items():
        PARTS[kind](options, names)
    carry_sources(options.out)
    with open(os.path.join(options.out, "prepared.json"), "w") as file:
        json.dump(describe(options), file, indent=1)


if __name__ == "__main__":
    main()
