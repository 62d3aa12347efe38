"""Breaks the kernels' PTX in ways that a device would punish rarely or silently, and expects the machine to notice.

machine_errors.py MOE_OPT LLVM_BIN

Each change must be noticed under at least one of some seeds: by an error of the machine, or by a wrong output.
"""
import re
import sys

from kernels import make_ptx
from product_numbers import Case, Modelled, product_of_both, run_case
from ptx_program import MachineError

SEEDS = range(8)
GATHERED = Case("gathered", [9, 0, 12], k=520, columns=140, gathered=1, stages=4, **{"tile-n": 16})
WIDE = Case("f32", [16, 15], columns=128, **{"tile-n": 16, "out-bits": 32})
GATED = Case("gated", [9, 3], product_of_both, k=72, columns=70, banks=2, gathered=1, **{"tile-n": 16})



def change_descriptors(text, change):
    """Descriptors with another high word."""
    return re.sub(
        r"(or\.b64.*, )(\d{19});", lambda m: f"{m.group(1)}{change(int(m.group(2)) >> 32) << 32 | int(m.group(2)) & 0xFFFFFFFF};", text
    )


CHANGES = [
    ("no proxy fence after cp.async", GATHERED, lambda t: t.replace("fence.proxy.async.shared::cta;", "")),
    ("copies announced one stage early", GATHERED,
     lambda t: re.sub(r"cp.async.wait_group\s+2", "cp.async.wait_group 3", t)),
    ("stages given back while wgmma reads them", GATHERED,
     lambda t: re.sub(r"(wgmma.wait_group.sync.aligned\s+)1", r"\g<1>2", t)),
    ("corner written before it was read", WIDE, lambda t: t.replace("bar.warp.sync", "// bar.warp.sync")),
    ("too few bytes expected", GATHERED, lambda t: re.sub(r"(\n.*mov\.b32.*), 16384;", r"\1, 16368;", t)),
    ("an arrival less on a full barrier", GATHERED, lambda t: re.sub(r"(mov\.b32.*), 129;", r"\1, 128;", t)),
    ("an arrival more on an empty barrier", GATHERED, lambda t: re.sub(r"(mov\.b32.*), 8;", r"\1, 9;", t)),
    ("groups of eight rows in the wrong distance", GATHERED,
     lambda t: change_descriptors(t, lambda high: high ^ 64 ^ 128)),
    ("no swizzle", GATHERED, lambda t: change_descriptors(t, lambda high: high & 0x3FFF)),
    ("results not transposed", GATHERED, lambda t: t.replace(".trans.shared.b16", ".shared.b16")),
    ("gate and up in the wrong distance", GATED,
     lambda t: change_descriptors(t, lambda high: high ^ (64 ^ 128 if high & 128 else 0))),
]


def is_noticed(case, text):
    for seed in SEEDS:
        try:
            run_case(case, Modelled(text, seed), seed)
        except (MachineError, SystemExit) as error:
            return str(error)
    return None


def main():
    moe_opt, llvm_bin = sys.argv[1:]
    texts = {case: make_ptx(moe_opt, llvm_bin, case.options) for case in (GATHERED, GATED, WIDE)}
    for case, text in texts.items():
        if problem := is_noticed(case, text):
            raise SystemExit(f"the unchanged kernel fails: {problem}")
    missed = 0
    for name, case, change in CHANGES:
        changed = change(texts[case])
        if changed == texts[case]:
            raise SystemExit(f"'{name}' changes nothing: the pattern no longer fits")
        problem = is_noticed(case, changed)
        missed += problem is None
        print(f"{name}: {'NOT NOTICED' if problem is None else problem}", flush=True)
    if missed:
        raise SystemExit(f"{missed} changes were not noticed")


if __name__ == "__main__":
    main()
