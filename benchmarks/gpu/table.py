#!/usr/bin/env python3
"""Prints all results as tables in Markdown.

table.py FOLDER RESULTS

Every line names the device that its numbers come from. Lines of rehearsals, on the stand-in driver or on the CPU, say
that they are no measurements.
"""
import datetime
import glob
import json
import os
import statistics
import sys

REHEARSED = "stand-in, not a measurement"


def device_of(row):
    name = row.get("device") or "no CUDA driver"
    return REHEARSED if name.startswith(("Stand-in", "CPU", "no CUDA")) else name


def clocks(results, name):
    """Median SM clock (MHz) and power (W) of a piece while the card worked, by samples with at least half of the most
    power. Nothing where they were not sampled."""
    samples, path = [], os.path.join(results, name + ".clocks")
    if os.path.exists(path):
        with open(path) as file:
            for line in file:
                fields = [field.strip() for field in line.split(",")]
                try:
                    samples.append((float(fields[0]), float(fields[2])))
                except (ValueError, IndexError):
                    continue
    if not samples:
        return "", ""
    most = max(power for _, power in samples)
    return tuple(f"{statistics.median(values):.0f}" for values in zip(*(s for s in samples if s[1] >= most / 2)))


def print_table(head, rows):
    """A table, unless it is empty."""
    if not rows:
        return
    print("\n|", " | ".join(head), "|\n|", " | ".join(["---"] * len(head)), "|")
    for row in rows:
        print("|", " | ".join(str(cell).replace("|", "\\|") for cell in row), "|")


def number(value, digits):
    return "" if value is None else f"{value:.{digits}f}"


def rows_of_models(found, kind):
    for name, run in found.get(kind, []):
        yield [name, f"{run['tokens']} of {run['all']}", f"{run['error']:.1e}", f"{run['bound']:.1e}",
               "" if run["modelled"] is None else f"{run['modelled']:.1e}",
               f"{run['same_as_stored']} of {run['stored']}", f"{run['clear']} of {run['generated']}",
               f"{run['repeated']:.1e}", device_of(run)]


def rows_of_systems(found):
    for name, run in found.get("system", []):
        yield [name, run["calls"], run["comparisons"], run["exact"], f"{run['error']:.1e}", f"{run['bound']:.1e}",
               device_of(run)]


def best_of_peers(rows, region):
    """The shortest median of a peer that does the whole region."""
    times = [row.get("graph_us", row.get("eager_us"))[0] for row in rows
             if row["region"] == region and row["who"] != "this compiler" and "eager_us" in row and "note" not in row]
    return min(times, default=None)


def row_of_workload(run, row, samples):
    start = [f"{run['workload']} {run['routing']}", row["region"], row["who"]]
    for reason in ("missing", "wrong"):
        if reason in row:
            return [*start, f"{reason}: {row[reason]}", *[""] * 8, device_of(run)]
    times = row.get("graph_us", row["eager_us"])
    best = best_of_peers(run["rows"], row["region"])
    by = "graph" if "graph_us" in row else "eager" + (f" ({row['no_graph']})" if "no_graph" in row else "")
    again = f", again {row['again_us']:.1f}" if "again_us" in row else ""
    return [*start, f"{times[0]:.1f} ({times[1]:.1f} to {times[2]:.1f}){again}",
            by, f"{row['eager_us'][0]:.1f}", f"{run['floor_us']:.1f}",
            f"{times[0] / run['floor_us']:.2f}",
            number(best and times[0] / best, 2), f"{run['flops'] / times[0] / 1e6:.1f}",
            row.get("note") or f"{row['error']:.2f}", " ".join(samples), device_of(row)]


def rows_of_workloads(results, found):
    for name, run in found.get("workload", []):
        samples = [f"{value} {unit}" for value, unit in zip(clocks(results, "workload." + name), ("MHz", "W")) if value]
        for row in run["rows"]:
            yield row_of_workload(run, row, samples)


def print_costs(found):
    rows = [[f"{run['workload']} {run['routing']}", run["model"], run["tokens"], run["active"],
             f"{run['max_over_mean']:.1f}", f"{run['flops'] / 1e9:.4g}", f"{run['bytes'] / 1e6:.4g}",
             f"{run['flops_us']:.1f}", f"{run['bytes_us']:.1f}",
             run["rates"] + (f"; sizes divided by {run['shrunken']}" if run["shrunken"] > 1 else "")]
            for _, run in found.get("workload", [])]
    print_table(["workload", "model", "tokens", "active experts", "max/mean rows", "GFLOP", "MB", "by operations, us",
                 "by bytes, us", "rates"], rows)


def rows_of_cases(results, found):
    for name, run in found.get("case", []):
        for time in run["times"]:
            tokens = str(time["prefill_tokens"])
            flops, size = run["flops"].get(tokens), run["bytes"].get(tokens)
            bandwidth = size / time["decode_ms_per_token"] / 1e6 if size and time["decode_tokens"] else None
            yield [name, tokens, f"{time['prefill_ms']:.3f} ({time['prefill_spread']:.2f})",
                   number(flops and flops / time["prefill_ms"] / 1e9, 1),
                   f"{time['decode_ms_per_token']:.4f} ({time['decode_spread']:.2f})", number(bandwidth, 0),
                   " ".join(clocks(results, "case." + name)), device_of(time)]


def print_single(found):
    """Pieces of one line each."""
    rows = []
    for _, run in found.get("probe", []):
        said = run.get("why") or f"dense bf16 product {run['tflops']:.3g} TFLOP/s, copies {run['tbytes']:.3g} TB/s"
        rows.append(["probe", said, device_of({"device": run.get("probed", run["device"])})])
    for _, run in found.get("bits", []):
        said = ("**not the same bits** for every n: " + "; ".join(run["unequal"]) if run["unequal"]
                else "the same bits for every n")
        rows.append(["bits", f"{run['products']} products: {said}", device_of(run)])
    for _, run in found.get("load", []):
        rows.append(["load", f"{run['programs']} programs, refused: {', '.join(run['refused']) or 'none'}; "
                     f"{run['at_once']} at a time, the longest {run['longest_seconds']:.1f} s", device_of(run)])
    for _, run in found.get("kernels", []):
        rows.append(["kernels", f"{run['cases']} cases, every output as expected", device_of(run)])
    print_table(["piece", "result", "device"], rows)


def collect(results):
    """Results by kind, in the order of their names, and the reasons of pieces that have none."""
    found, failed = {}, []
    for path in sorted(glob.glob(os.path.join(results, "*.json"))):
        kind, _, name = os.path.basename(path).removesuffix(".json").partition(".")
        with open(path) as file:
            found.setdefault(kind, []).append((name, json.load(file)))
    for path in sorted(glob.glob(os.path.join(results, "*.failed"))):
        with open(path) as file:
            failed.append([os.path.basename(path).removesuffix(".failed"), file.read().strip()])
    return found, failed


def read(results, name):
    path = os.path.join(results, name)
    if not os.path.exists(path):
        return "unknown"
    with open(path) as file:
        return file.read().strip()


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    folder, results = sys.argv[1:]
    found, failed = collect(results)
    with open(os.path.join(folder, "prepared.json")) as file:
        prepared = json.load(file)
    print(f"Commit {prepared['commit']}, programs for `{prepared['flags']}`, prepared {prepared['prepared']}. Peers "
          "were run in the same job; clocks and power before and after each piece are in log.txt.")
    print(f"\nCard, driver, power limit: {read(results, 'card.txt')}. Written "
          f"{datetime.datetime.now(datetime.timezone.utc):%F %T} UTC.")
    print_single(found)
    models = ["tokens compared", "error of the largest logit", "bound", "NumPy with the same roundings",
              "greedy ids as stored", "clear choices", "in a longer prompt", "device"]
    print_table(["checkpoint", *models], list(rows_of_models(found, "checkpoint")))
    print_table(["system", "calls", "comparisons", "exact", "worst error", "bound", "device"],
                list(rows_of_systems(found)))
    print_costs(found)
    print_table(["workload", "region", "who", "us, median (10 to 90 %)", "by", "eager us", "floor us",
                 "times the floor", "times the best peer", "TFLOP/s", "error, of its bound", "clocks", "device"],
                list(rows_of_workloads(results, found)))
    print_table(["case", *models], list(rows_of_models(found, "case")))
    print_table(["case", "prompt", "prefill ms (spread)", "TFLOP/s", "decode ms/token (spread)", "GB/s", "clocks",
                 "device"], list(rows_of_cases(results, found)))
    tiles = [[tile["product"], tile["n"], f"{tile['us']:.1f}", f"{tile['tflops']:.1f}", device_of(run)]
             for _, run in found.get("tiles", []) for tile in run["tiles"]]
    print_table(["even groups: experts x rows, K -> columns x banks", "n", "us", "TFLOP/s", "device"], tiles)
    print_table(["piece without a result", "why"], failed)


if __name__ == "__main__":
    main()
