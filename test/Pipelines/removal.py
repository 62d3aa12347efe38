"""Takes each pass in turn out of the printed pipeline of its stage, and checks that the property it is there for is lost.

removal.py MOE_OPT SCRATCH         runs the checks, two at a time
removal.py --table                 prints the table of docs/Testing.md, which the test compares
"""
import concurrent.futures
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
DOCUMENT = os.path.join(os.path.dirname(TESTS), "docs", "Testing.md")


class Fails:
    """The stage fails, or breaks its contract, with a message that matches."""

    def __init__(self, message):
        self.message = message

    def check(self, full, status, output, errors):
        if status == 0:
            return "the stage still succeeds"
        if not re.search(self.message, errors):
            return f"expected an error like '{self.message}', got: {errors[:300]}"


class Refused:
    """The stage refuses the input with a message that matches, and no longer does."""

    def __init__(self, message):
        self.message = message


class Text:
    """The result is another one; `count` says how many lines of it match."""

    def __init__(self, pattern):
        self.pattern = re.compile(pattern)

    def count(self, output):
        return sum(1 for line in output.splitlines() if self.pattern.search(line))

    def check(self, full, status, output, errors):
        if status:
            return f"the stage fails: {errors[:300]}"
        with_pass, without = self.count(full), self.count(output)
        if not self.holds(with_pass, without):
            return f"lines like '{self.pattern.pattern}': {with_pass} with the pass, {without} without"


class Has(Text):
    """Some lines match, and none without the pass."""

    def holds(self, with_pass, without):
        return with_pass > 0 and without == 0


class Lacks(Text):
    """No line matches, but some do without the pass."""

    def holds(self, with_pass, without):
        return with_pass == 0 and without > 0


class Fewer(Text):
    """Fewer lines match than without the pass."""

    def holds(self, with_pass, without):
        return with_pass < without


class More(Text):
    """More lines match than without the pass."""

    def holds(self, with_pass, without):
        return with_pass > without


CONTRACT = "is not allowed at the end of stage"

# For each pipeline: the passes in the order of its printed string, what each is for, its input, its check.
STAGES = {
    "moe-optimize": [
        ("moe-verify-independence", "a language model that depends on its batch is refused", "coupled",
         Refused("decide each token alone")),
        ("moe-convert-elementwise", "arithmetic on tensors is an elementwise operation like any other", "layer",
         Lacks(r"arith\.mulf .*tensor<")),
        ("moe-decompose-experts", "experts are plan, products and combine", "layer", Lacks(r"moe\.experts")),
        ("moe-group-dense", "dense products are grouped ones", "layer", Lacks(r"linalg\.matmul")),
        ("cse", "products over equal rows and groups are seen to be so", "twice",
         Has(r"grouped_matmul .*banks\(%\S+, %\S+ :")),
        ("moe-fuse-gather", "no tensor of gathered rows exists", "layer", Lacks(r"moe\.gather ins\(%arg0")),
        ("moe-fuse-gate-up", "gate and up are one product with an epilogue", "layer",
         Has(r"grouped_matmul .*banks\(%\S+, %\S+ :")),
        ("moe-fuse-combine", "the combine starts from the shared experts", "layer",
         Lacks(r"linalg\.fill .*tensor<\?x19xf32>")),
        ("moe-fuse-gating", "router product and choice run tile by tile", "layer", Has(r"scf\.forall ")),
        ("canonicalize", "nothing is left of what fusions replaced", "layer", Fewer(r"tensor\.(empty|dim)|linalg\.fill")),
        ("moe-verify-stage", "a broken contract is noticed", "violation", Refused(CONTRACT)),
    ],
    "moe-tile": [
        ("moe-pack-weights", "weights are stored in panels", "optimized", Has(r"#moe\.panels")),
        ("moe-tile-grouped-matmul", "products are work lists with kernel classes", "optimized", Has(r"scf\.index_switch")),
        ("moe-tile-rows", "the combine runs in parallel", "optimized", Has(r"scf\.forall .*step \(8\)")),
        ("convert-moe-to-linalg", "no operation of the dialect is left", "optimized", Fails("expected a weight to be a tensor")),
        ("moe-parameters", "weights are views of one file", "optimized", Fails("weights are views of the function's parameters")),
        ("moe-verify-stage", "a broken contract is noticed", "violation", Refused(CONTRACT)),
    ],
    "moe-reference": [
        ("moe-verify-independence", "a language model that depends on its batch is refused", "coupled",
         Refused("decide each token alone")),
        ("moe-convert-elementwise", "arithmetic on tensors has a form on buffers", "layer",
         Lacks(r"arith\.mulf .*tensor<")),
        ("convert-moe-to-linalg", "no operation of the dialect is left", "layer", Fails("expected a weight to be a tensor")),
        ("moe-parameters", "weights are views of one file", "layer", Fails("weights are views of the function's parameters")),
        ("moe-verify-stage", "a broken contract is noticed", "violation", Refused(CONTRACT)),
    ],
    "moe-cpu": [
        ("moe-cpu-entry-points", "the emitter knows names and types", "tiled", Has(r"moe\.signature")),
        ("eliminate-empty-tensors", "values are computed where they are needed", "tiled",
         Fewer(r"llvm\.call @_mlir_memref_to_llvm_alloc")),
        ("one-shot-bufferize", "tensors are buffers", "tiled", Fails("")),
        ("drop-equivalent-buffer-results", "functions return nothing that they were given", "calls",
         Has(r"llvm\.func @layer\(.*\) attributes|llvm\.func @layer\([^)]*\) \{")),
        ("canonicalize", "loops carry no buffers", "tiled", Fewer(r"llvm\.|omp\.")),
        ("moe-cpu-record-load", "the runtime is handed row counts as C takes them", "tiled",
         Has(r"llvm\.call @moe_record_load\(%\S+, %\S+\) : \(!llvm\.ptr, i64\)")),
        ("moe-cpu-expand-copy", "copies are loops like all others", "tiled", Lacks(r"memcpy|memrefCopy")),
        ("scf-forall-to-parallel", "tiles run in threads", "tiled", More(r"omp\.wsloop")),
        ("moe-cpu-serialize-nested-loops", "threads are started once", "nested", Fewer(r"omp\.parallel")),
        ("moe-cpu-private-buffers", "nothing is allocated in threads", "tiled", Has(r"@omp_get_thread_num")),
        ("moe-cpu-workspace", "functions give their memory back", "calls", Has(r"@moe_workspace_mark")),
        ("moe-cpu-vectorize", "the rest of linalg is vector code", "tiled", Fails(CONTRACT)),
        ("moe-cpu-expand-math", "exponentials are our own", "exponential", Lacks(r"llvm\.intr\.exp|@expf")),
        ("moe-cpu-profile", "kernels have names", "tiled", Has(r"moe_kernel_name")),
        ("expand-strided-metadata", "views are offsets and strides", "tiled", Fails(CONTRACT)),
        ("lower-affine", "affine maps are arithmetic", "tiled", Fails(CONTRACT)),
        ("convert-scf-to-openmp", "parallel loops are OpenMP's", "tiled", Has(r"omp\.wsloop")),
        ("moe-cpu-dynamic-schedule", "threads take work as they finish", "tiled", Has(r"schedule\(dynamic")),
        ("finalize-memref-to-llvm", "buffers are pointers", "tiled", Fails("memref")),
        ("convert-scf-to-cf", "loops are branches", "tiled", Fails(CONTRACT)),
        ("convert-vector-to-llvm", "vectors are those of LLVM", "tiled", Fails(CONTRACT)),
        ("convert-math-to-llvm", "fused multiply-adds are those of LLVM", "tiled", Fails(CONTRACT)),
        ("convert-openmp-to-llvm", "functions, branches and arithmetic are those of LLVM", "tiled", Fails(CONTRACT)),
        ("convert-ub-to-llvm", "undefined values are those of LLVM", "poison", Fails(CONTRACT)),
        ("reconcile-unrealized-casts", "no cast between the steps is left", "tiled", Fails(CONTRACT)),
        ("cse", "constants and descriptors are there once", "tiled", Fewer(r"llvm\.")),
        ("moe-verify-stage", "a broken contract is noticed", "violation", Refused(CONTRACT)),
    ],
    "moe-nvptx-optimize": [
        ("moe-verify-independence", "a language model that depends on its batch is refused", "coupled",
         Refused("decide each token alone")),
        ("moe-convert-elementwise", "arithmetic on tensors is an elementwise operation like any other", "layer",
         Lacks(r"arith\.mulf .*tensor<")),
        ("moe-decompose-experts", "experts are plan, products and combine", "layer", Lacks(r"moe\.experts")),
        ("moe-group-dense", "dense products are grouped ones", "layer", Lacks(r"linalg\.matmul")),
        ("cse", "products over equal rows and groups are seen to be so", "twice",
         Has(r"grouped_matmul .*banks\(%\S+, %\S+ :")),
        ("moe-fuse-gather", "no tensor of gathered rows exists", "layer", Lacks(r"moe\.gather ins\(%arg0")),
        ("moe-fuse-gate-up", "gate and up are one product with an epilogue", "layer",
         Has(r"grouped_matmul .*banks\(%\S+, %\S+ :")),
        ("canonicalize", "nothing is left of what fusions replaced", "layer", Fewer(r"tensor\.(empty|dim)|linalg\.fill")),
        ("moe-verify-stage", "a broken contract is noticed", "violation", Refused(CONTRACT)),
    ],
    "moe-nvptx-tile": [
        ("moe-gpu-call-hopper-products", "products in bf16 go to tensor cores", "bf16-product", Has(r"call @product_")),
        ("moe-tile-select", "tokens choose in parallel", "device-optimized", Has(r"scf\.forall \(%\S+\) in \(%\S+\) .*xi32>")),
        ("convert-moe-to-kernels", "no operation of the dialect is left", "device-optimized",
         Fails("expected a weight to be a tensor")),
        ("moe-gpu-decode-step", "greedy decoding is a graph that is replayed", "greedy", Has(r"func\.func @decode_step")),
        ("moe-parameters", "weights are views of one file", "device-optimized",
         Fails("weights are views of the function's parameters")),
        ("moe-verify-stage", "a broken contract is noticed", "violation", Refused(CONTRACT)),
    ],
    "moe-nvptx-kernels": [
        ("moe-cpu-entry-points", "the emitter knows names and types", "device-tiled", Has(r"moe\.signature")),
        ("eliminate-empty-tensors", "values are computed where they are needed", "counted", Fewer(r"memref\.alloc\(")),
        ("one-shot-bufferize", "tensors are buffers", "device-tiled", Fails("")),
        ("drop-equivalent-buffer-results", "functions return nothing that they were given", "calls",
         Has(r"func\.func private @layer\([^)]*\) (attributes )?\{")),
        ("canonicalize", "kernels hold nothing that they do not need", "device-tiled", Fewer(r" = arith\.")),
        ("moe-cpu-record-load", "the runtime is handed row counts as C takes them", "device-tiled",
         Has(r"call @moe_record_load\(%\S+, %\S+\) : \(!llvm\.ptr, i64\)")),
        ("moe-cpu-expand-copy", "copies are kernels like all others", "scatter", Lacks(r"memref\.copy")),
        ("scf-forall-to-parallel", "what is parallel is a kernel", "device-tiled", Fails(CONTRACT)),
        ("moe-gpu-linalg-to-threads", "tensor operations are kernels", "device-tiled", Fails(CONTRACT)),
        ("cse", "nothing is computed twice", "device-tiled", Fewer(r" = ")),
        ("scf-parallel-loop-fusion", "neighbours over the same elements are one launch", "device-tiled",
         Fewer(r"gpu\.launch_func")),
        ("moe-gpu-flatten-loops", "loops in kernels are threads", "scatter", More(r"arith\.remui")),
        ("moe-gpu-lower-plans", "pairs are sorted", "device-tiled", Lacks(r"call @plan")),
        ("moe-gpu-map-hopper-tiles", "tile maps need no launch", "planned-tiled", Has(r"mapped")),
        ("moe-gpu-bound-loops", "rows of a class of experts are a grid", "counted",
         Fewer(r"blocks in \(%c1,")),
        ("moe-gpu-single-threads", "the host leaves memory alone", "counted", Fails("")),
        ("moe-cpu-serialize-nested-loops", "a kernel is one loop", "rows", Fails(CONTRACT)),
        ("moe-gpu-join-launches", "router product, choice and plan are one launch", "planned-tiled",
         Fewer(r"gpu\.launch_func")),
        ("moe-gpu-device-buffers", "kernels allocate nothing", "planned-tiled", Fails(CONTRACT)),
        ("moe-gpu-sink-loads", "numbers are read by kernels", "counted", Fails(CONTRACT)),
        ("moe-gpu-device-math", "sine and cosine need no library", "rotary", Lacks(r"math\.(sin|cos)")),
        ("moe-cpu-expand-math", "exponentials are our own", "exponential", Lacks(r"math\.exp")),
        ("moe-cpu-workspace", "functions give their memory back", "calls", Has(r"@moe_workspace_mark")),
        ("expand-strided-metadata", "views are numbers", "device-tiled", Lacks(r"memref\.subview")),
        ("lower-affine", "affine maps are arithmetic", "device-tiled", Fails(CONTRACT)),
        ("cse", "nothing is computed twice", "device-tiled", Fewer(r" = ")),
        ("moe-gpu-outline-kernels", "kernels are launched", "device-tiled", Fails(CONTRACT)),
        ("canonicalize", "kernels hold nothing that they do not need", "device-tiled", Fewer(r" = arith\.")),
        ("moe-gpu-check-tokens", "no grid is larger than CUDA takes", "many-tokens", Refused("a smaller --max-tokens")),
        ("moe-verify-stage", "a broken contract is noticed", "violation", Refused(CONTRACT)),
    ],
    "moe-nvptx": [
        ("moe-gpu-kernel-parameters", "buffers pass as pointers", "on-chip", Fails("")),
        ("moe-gpu-lower-launches", "launches are calls of the runtime", "on-chip", Fails("")),
        ("moe-gpu-lower-grouped-matmul-hopper", "products have kernels", "product-call",
         Fails("expected the product to have kernels by now")),
        ("moe-gpu-join-hopper-kernels", "kernels of products are in the one module of all", "product-call",
         Lacks(r"gpu\.module @moe_hopper")),
        ("moe-gpu-lower-kernels", "kernels are functions of the chip", "on-chip", Fails("")),
        ("finalize-memref-to-llvm", "buffers are pointers", "on-chip", Fails("")),
        ("convert-scf-to-cf", "loops are branches", "on-chip", Fails(CONTRACT)),
        ("convert-math-to-llvm", "fused multiply-adds are those of LLVM", "on-chip", Fails(CONTRACT)),
        ("convert-nvvm-to-llvm", "what LLVM has no intrinsic for is PTX", "product-call", Has(r"llvm\.inline_asm")),
        ("convert-arith-to-llvm", "arithmetic is that of LLVM", "on-chip", Fails(CONTRACT)),
        ("convert-cf-to-llvm", "branches are those of LLVM", "on-chip", Fails(CONTRACT)),
        ("convert-func-to-llvm", "functions are those of LLVM", "on-chip", Fails(CONTRACT)),
        ("convert-ub-to-llvm", "undefined values are those of LLVM", "on-chip", Fails(CONTRACT)),
        ("reconcile-unrealized-casts", "no cast between the steps is left", "on-chip", Fails(CONTRACT)),
        ("cse", "constants and descriptors are there once", "on-chip", Fewer(r"llvm\.")),
        ("moe-verify-stage", "a broken contract is noticed", "violation", Refused(CONTRACT)),
    ],
    # What the plain path has in place of moe-cpu-vectorize; the rest is the same.
    "moe-cpu=reference": [
        ("convert-linalg-to-loops", "the rest of linalg is plain loops", "plain", Fails("")),
    ],
}
PARTIAL = ("moe-cpu=reference",)

# Inputs: a file of this folder, or what a stage makes of another input.
FILES = {
    "layer": os.path.join(TESTS, "Dialect", "MoE", "Transforms", "Inputs", "optimize-layer.mlir"),
    **{name: os.path.join(HERE, "Inputs", name + ".mlir")
       for name in ("violation", "coupled", "twice", "calls", "nested", "exponential", "poison", "scatter", "counted",
                     "rotary", "rows", "on-chip", "greedy", "bf16-product", "planned-product", "product-call",
                     "many-tokens")},
}
MADE = {"optimized": ("moe-optimize", "layer"), "tiled": ("moe-tile", "optimized"), "plain": ("moe-reference", "layer"),
        "device-optimized": ("moe-nvptx-optimize", "layer"), "device-tiled": ("moe-nvptx-tile", "device-optimized"),
        "planned-tiled": ("moe-nvptx-tile", "planned-product")}


def table():
    rows = ["| pipeline | pass | without it, this is lost |", "| --- | --- | --- |"]
    for stage, passes in STAGES.items():
        rows += [f"| `{stage}` | `{name}` | {purpose} |" for name, purpose, _, _ in passes]
    return "\n".join(rows)


def split_pipeline(text):
    """The passes of the module, in order, each with its options and its nest."""
    text = " ".join(text[text.index("builtin.module("):].split())
    parts, depth, part = [], 0, ""
    for character in text[len("builtin.module("):-1]:
        depth += (character in "({") - (character in ")}")
        if character == "," and depth == 0:
            parts.append(part.strip())
            part = ""
        else:
            part += character
    return parts + [part.strip()]


def name_of(part):
    return re.match(r"(?:func\.func\()?\s*([\w-]+)", part).group(1)


class Stages:
    def __init__(self, moe_opt, scratch):
        self.moe_opt, self.scratch = moe_opt, scratch
        os.makedirs(scratch, exist_ok=True)
        self.pipelines = {}

    def run(self, options, text=None):
        done = subprocess.run([self.moe_opt] + options, input=text or "", text=True, capture_output=True, timeout=600)
        return done.returncode, done.stdout, done.stderr

    def pipeline(self, stage):
        """What moe-opt prints for the stage."""
        if stage not in self.pipelines:
            _, _, printed = self.run([f"--{stage}", "--dump-pass-pipeline", "-"], "module {}")
            self.pipelines[stage] = split_pipeline(printed)
        return self.pipelines[stage]

    def run_passes(self, parts, name):
        return self.run([self.file(name), "--pass-pipeline=builtin.module(" + ",".join(parts) + ")"])

    def file(self, name):
        if name in FILES:
            return FILES[name]
        path = os.path.join(self.scratch, name + ".mlir")
        if not os.path.exists(path):
            stage, source = MADE[name]
            status, output, errors = self.run([self.file(source), "--" + stage])
            if status:
                sys.exit(f"cannot make the input '{name}': {errors}")
            with open(path, "w") as file:
                file.write(output)
        return path

    def check(self, stage, name, source, expected):
        """What is wrong with one removal, or None."""
        parts = self.pipeline(stage)
        rest = [part for part in parts if name_of(part) != name]
        status, full, errors = self.run_passes(parts, source)
        removed = self.run_passes(rest, source)
        if isinstance(expected, Refused):
            if status == 0 or not re.search(expected.message, errors):
                return f"expected an error like '{expected.message}', got: {errors[:300]}"
            return None if removed[0] == 0 else f"the stage fails for another reason: {removed[2][:300]}"
        if status:
            return f"the whole stage fails: {errors[:300]}"
        return expected.check(full, *removed)


def check_document():
    with open(DOCUMENT) as file:
        if table() not in file.read():
            return ["docs/Testing.md: the table of passes is stale, expected what 'removal.py --table' prints"]
    return []


def main():
    if sys.argv[1:] == ["--table"]:
        return print(table())
    stages = Stages(*sys.argv[1:])
    problems, jobs = check_document(), []
    for stage, passes in STAGES.items():
        printed = [name_of(part) for part in stages.pipeline(stage)]
        listed = [name for name, _, _, _ in passes]
        if printed != listed if stage not in PARTIAL else not set(listed) <= set(printed):
            problems.append(f"{stage}: the printed passes are {printed}, the listed ones {listed}")
        jobs += [(stage, name, source, expected) for name, _, source, expected in passes]
    for name in MADE:
        stages.file(name)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for job, problem in zip(jobs, pool.map(lambda job: stages.check(*job), jobs)):
            if problem:
                problems.append(f"{job[0]} without {job[1]}: {problem}")
    print("\n".join(problems) if problems else f"{len(jobs)} passes are needed")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
