"""Compiles whole programs for sm_90a and checks their kernels: shape, launches, and what ptxas says of them.

programs.py TOOLS SCRATCH --llvm=FOLDER [--ptxas=FILE] [--tile-n=N] CHECKPOINT_FOLDER_OR_MLIR_FILE...
A checkpoint is compiled as it is with --arithmetic=f32, and once more stored in bf16, for tensor cores; then --tile-n=N
compiles one tile of products only, for the sake of time. The rows that docs/GPUPrograms.md has of it must be what is found;
scripts/make-gpu-doc.py writes them anew.
"""
import glob
import json
import os
import re
import shutil
import sys

sys.dont_write_bytecode = True  # nothing is written beside the sources
HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(os.path.dirname(HERE))
PAGE = os.path.join(os.path.dirname(TESTS), "docs", "GPUPrograms.md")
sys.path.insert(0, os.path.join(TESTS, "Integration"))
import harness  # noqa: E402  (shared with the integration tests, see the path above)
import assembler  # noqa: E402
import launches  # noqa: E402
import structure  # noqa: E402
from harness import Failure, safetensors  # noqa: E402

NEVER = [".extern .func", ".extern .global", "{{^[[:space:]]*}}.shared", "{{[[:space:]]}}call{{[.[:space:]]}}"]
NEVER_IN_F32 = [*NEVER, "wgmma", ".approx", ".ftz"]
EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")


def host_code(tools, source, *flags):
    """The host functions of a source, as `launches` reads them."""
    compiler = os.path.join(tools, "moe-compile")
    return launches.read(harness.run([compiler, source, "--target=nvptx", *flags, "--emit=kernels", "-o", "-"]))


class Program:
    """PTX and host code of one source, compiled for sm_90a."""

    def __init__(self, tools, scratch, source, *flags):
        compiler = os.path.join(tools, "moe-compile")
        self.file = os.path.join(scratch, "program.ptx")
        harness.run([compiler, source, "--target=nvptx", *flags, "--emit=ptx", "-o", self.file])
        with open(self.file) as file:
            self.ptx = file.read()
        self.kernels = structure.kernels(self.ptx)
        self.functions = host_code(tools, source, *flags)

    def check(self, llvm, checks, never):
        """FileCheck on the text, then each kernel by itself."""
        harness.run([os.path.join(llvm, "FileCheck"), os.path.join(HERE, checks), f"--input-file={self.file}", "-DCHIP=sm_90a",
                     *(f"--implicit-check-not={text}" for text in never)])
        found = [f"{name}: {problem}" for name, text in self.kernels.items() for problem in structure.problems(name, text)]
        if found:
            raise Failure(f"{self.file}:\n  " + "\n  ".join(found))

    def count(self, function):
        return launches.count(self.functions, function, self.kernels)


def name_of(source):
    return os.path.splitext(os.path.basename(source))[0]


def store_as_bf16(folder, to):
    """The same checkpoint with every tensor rounded to bf16."""
    shutil.copytree(folder, to, ignore=shutil.ignore_patterns("expected.safetensors", "*.safetensors"))
    for path in glob.glob(os.path.join(folder, "model*.safetensors")):
        tensors = {name: safetensors.BF16(value) for name, value in safetensors.load(path).items()}
        safetensors.save(os.path.join(to, os.path.basename(path)), tensors)


def number_of_experts(folder):
    with open(os.path.join(folder, "config.json")) as file:
        config = json.load(file)
    found = [part[key] for part in (config, config.get("ffn_config", {})) for key in EXPERTS if key in part]
    return found[0]


def check_products_of_experts(program, experts):
    """Gate and up, and down, run on tensor cores in each layer that chooses experts."""
    for layer in launches.layers(program.functions):
        if not any("_select" in kernel for kernel in program.functions[layer].kernels):
            continue
        found = launches.products(program.functions, layer)
        if sum(name.startswith(f"product_{experts}x") for name in found) < 2:
            raise Failure(f"{layer}: expected two products of {experts} experts on tensor cores, got {found}")


def runs(numbers):
    """29 36 36 as '29, 36 × 2'."""
    parts = []
    for number in numbers:
        if parts and parts[-1][0] == number:
            parts[-1][1] += 1
        else:
            parts.append([number, 1])
    return ", ".join(f"{number} × {times}" if times > 1 else f"{number}" for number, times in parts)


def row_of_checkpoint(name, storage, program):
    each = [program.count(layer) for layer in launches.layers(program.functions)]
    forward = program.count("forward")
    cores = len(launches.products(program.functions, "forward"))
    return (f"| `{name}` | {storage} | {runs(each)} | {forward - sum(each)} | {forward} | {program.count('decode_step')} | "
            f"{cores} |")


def row_of_system(source, program):
    name = name_of(source)
    return f"| `{name}` | {program.count(name.replace('-', '_'))} | {where_run(name)} |"


def cooperating(kernels):
    """The kernels that cannot run on the CPU thread by thread, under one name for all sizes, and why not."""
    needs = {}
    for name, text in kernels.items():
        if found := structure.cooperation(text):
            needs.setdefault(structure.general_name(name), set()).update(found)
    return needs


def check_page(page, rows, needs):
    """Every row stands in the page; of a kernel whose threads cooperate, a row that names all that it needs."""
    stale = "docs/GPUPrograms.md is stale, run scripts/make-gpu-doc.py; expected "
    listed = dict(re.findall(r"^\| `([\w*]+)` \| ([^|]+) \|", page, re.M))
    for row in rows:
        if row not in page.splitlines():
            raise Failure(f"{stale}the row\n{row}")
    for name, found in needs.items():
        if not found <= set(listed.get(name, "").split(", ")):
            raise Failure(f"{stale}among the kernels that cannot run on the CPU `{name}`: {', '.join(sorted(found))}")


def where_run(name):
    """The tests that run a system's kernels on the CPU."""
    folder = os.path.join(TESTS, "Integration", "NVPTX")
    found = []
    for path in sorted(glob.glob(os.path.join(folder, "*.test"))):
        with open(path) as file:
            if re.search(rf"/{name}\.mlir\b", file.read()):
                found.append(f"`{os.path.basename(path)}`")
    return ", ".join(found)


def measure_checkpoint(tools, scratch, folder, llvm, ptxas, tile):
    """The rows of a checkpoint, what its kernels need beyond threads, and ptxas' report (empty without ptxas)."""
    stored = os.path.join(scratch, "bf16")
    store_as_bf16(folder, stored)
    general = Program(tools, scratch, folder, "--arithmetic=f32")
    general.check(llvm, "general.check", NEVER_IN_F32)
    cores = Program(tools, scratch, stored, "--arithmetic=bf16", *([f"--tile-n={tile}"] if tile else []))
    cores.check(llvm, "tensor-cores.check", NEVER)
    check_products_of_experts(cores, number_of_experts(folder))
    rows = [row_of_checkpoint(name_of(folder), "f32", general), row_of_checkpoint(name_of(folder), "bf16", cores)]
    needs = cooperating({**general.kernels, **cores.kernels})
    if not ptxas:
        return rows, needs, []
    # Most general kernels are the same in both.
    others = [name for name, text in general.kernels.items() if cores.kernels.get(name) != text]
    report = assembler.assemble(ptxas, cores.ptx, scratch)
    return rows, needs, report + assembler.assemble(ptxas, structure.only(general.ptx, others), scratch)


def measure_system(tools, scratch, source, llvm, ptxas):
    program = Program(tools, scratch, source)
    program.check(llvm, "general.check", NEVER_IN_F32)
    report = assembler.assemble(ptxas, program.ptx, scratch) if ptxas else []
    return [row_of_system(source, program)], cooperating(program.kernels), report


def measure(tools, scratch, source, llvm, ptxas=None, tile=None):
    shutil.rmtree(scratch, ignore_errors=True)
    os.makedirs(scratch)
    if os.path.isdir(source):
        return measure_checkpoint(tools, scratch, source, llvm, ptxas, tile)
    return measure_system(tools, scratch, source, llvm, ptxas)


def test(tools, scratch, arguments):
    options = dict(argument[2:].split("=", 1) for argument in arguments if argument.startswith("--"))
    with open(PAGE) as file:
        page = file.read()
    for source in [argument for argument in arguments if not argument.startswith("--")]:
        rows, needs, report = measure(tools, os.path.join(scratch, name_of(source)), source, options["llvm"],
                                      options.get("ptxas"), options.get("tile-n"))
        check_page(page, rows, needs)
        said = f", ptxas: {len(report)} kernels within their limits" if report else ""
        print(f"{name_of(source)}: as docs/GPUPrograms.md says{said}")


if __name__ == "__main__":
    harness.main(test, __doc__)
