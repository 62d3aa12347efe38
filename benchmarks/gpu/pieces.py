#!/usr/bin/env python3
"""The pieces that run.sh runs, one process each.

pieces.py list FOLDER RESULTS [--quick] [--only PATTERN]
    Lines of "NAME INTERPRETER", for pieces without a result, in the order of what is worth most; those that failed
    before come last. INTERPRETER is `python`, or `peers` for the one that may have torch.
pieces.py run FOLDER RESULTS NAME [--quick] [--driver FILE] [--seconds N] [--repeats N] [--device cuda|cpu]
    Prints the result as one JSON object. Ends with 1, and says why on standard error, if a number is wrong or a program
    failed.
FOLDER is what prepare.py made, RESULTS the folder of results.
"""
import argparse
import fnmatch
import json
import os
import sys

# What --quick does: the answers that are worth most in ten minutes.
QUICK = [
    "probe", "bits", "load",
    *(f"checkpoint.{name}.{arithmetic}" for arithmetic in ("f32", "bf16")
      for name in ("mixtral", "qwen3_moe", "deepseek_v3", "gpt_oss")),
    *(f"system.{name}" for name in ("ada-moe-null", "hmoe-ragged", "switch-top1", "moge-pangu", "dynamic-moe-topp",
                                     "sparse-mixer-ec", "coe-chain", "olmoe-raw")),
    "workload.W0.uniform", "workload.W1.uniform", "workload.W3.uniform", "workload.W3.zipf1", "workload.W5.uniform",
]


def parts(folder, kind):
    """Names of the folders of one kind, those of FOLDER/kind."""
    place = os.path.join(folder, kind)
    return sorted(os.listdir(place)) if os.path.isdir(place) else []


def pieces(folder):
    """All pieces of a prepared folder, in order."""
    found = ["probe"]
    if parts(folder, "kernels"):
        found.append("bits")
    found.append("load")
    checkpoints = parts(folder, "checkpoints")
    for arithmetic in ("f32", "bf16"):
        found += [f"checkpoint.{name}" for name in checkpoints if name.endswith("." + arithmetic)]
    found += [f"system.{name}" for name in parts(folder, "systems")]
    found += [f"workload.{file.removesuffix('.safetensors')}" for file in parts(folder, "workloads/routing")]
    found += [f"case.{name}" for name in parts(folder, "cases")]
    if parts(folder, "kernels"):
        found += ["kernels", "tiles"]
    return found


def chosen(folder, quick):
    return [name for name in pieces(folder) if not quick or name in QUICK]


def waiting(folder, results, quick, only):
    """Pieces that have no result yet; what failed before comes last."""
    left = [name for name in chosen(folder, quick)
            if fnmatch.fnmatch(name, only) and not os.path.exists(os.path.join(results, name + ".json"))]
    return sorted(left, key=lambda name: os.path.exists(os.path.join(results, name + ".failed")))


def run_checkpoint(options, name):
    from models import Model

    scratch = os.path.join(options.results, "scratch")
    return Model(os.path.join(options.folder, "checkpoints", name), scratch, options.driver, options.seconds).check()


def run_case(options, name):
    from models import Model

    scratch = os.path.join(options.results, "scratch")
    model = Model(os.path.join(options.folder, "cases", name), scratch, options.driver, options.seconds)
    # What is wrong is not timed.
    result = {**model.check(), "times": [model.time(tokens, options.repeats) for tokens in model.case["prefill"]],
              "flops": model.case["flops"], "bytes": model.case["bytes"]}
    print(model.profile(), file=sys.stderr)
    return result


def run_system(options, name):
    from check_systems import check

    return check(os.path.join(options.folder, "systems", name), options.driver)


def run_workload(options, name):
    from run_workload import run

    return run(options, name)


def run_load(options, _):
    from load import load

    return load(options, chosen(options.folder, options.quick))


def run_probe(options, _):
    from peers import probe

    return probe(options.device)


def run_kernels(options, part):
    from hopper import run

    return run(part, os.path.join(options.folder, "kernels"), options.driver)


KINDS = {"checkpoint": run_checkpoint, "case": run_case, "system": run_system, "workload": run_workload,
         "load": run_load, "probe": run_probe}


def run(options):
    from program import device_name

    kind, _, name = options.name.partition(".")
    # Of the driver that programs load; there may be none, and peers may run where programs do not.
    device = device_name(options.driver)
    result = KINDS[kind](options, name) if kind in KINDS else run_kernels(options, options.name)
    print(json.dumps({"device": device or "no CUDA driver", **result}))


def end(what, error):
    """On one line, which the table shows."""
    sys.exit(f"{what}: " + "; ".join(line.strip() for line in str(error).splitlines()))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    list_parser, run_parser = commands.add_parser("list"), commands.add_parser("run")
    for command in (list_parser, run_parser):
        command.add_argument("folder")
        command.add_argument("results")
        command.add_argument("--quick", action="store_true")
    list_parser.add_argument("--only", default="*")
    run_parser.add_argument("name")
    run_parser.add_argument("--driver")
    run_parser.add_argument("--seconds", type=int, default=300)
    run_parser.add_argument("--repeats", type=int, default=0)
    run_parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="where peers run")
    options = parser.parse_args()
    if options.command == "list":
        for name in waiting(options.folder, options.results, options.quick, options.only):
            print(name, "peers" if name.partition(".")[0] in ("probe", "workload") else "python")
        return
    import sources  # where the next one is
    import harness
    from models import ProgramFailed, WrongResult
    from program import ProgramError

    try:
        run(options)
    except (WrongResult, harness.Failure) as error:
        end("WRONG RESULT", error)
    except (ProgramFailed, ProgramError) as error:
        end("failed", error)


if __name__ == "__main__":
    main()
