"""The lit suite of the compiler: which files are tests, what their RUN lines may say, what this machine can run.

Substitutions
  moe-opt moe-compile moe-lsp-server    our tools (given 600 s each)
  FileCheck not split-file mlir-opt ... the LLVM tools
  %python %cc                           Debian's Python with NumPy; the C compiler
  %models %reference %integration       test/Models, test/Reference, test/Integration
  %systems                              the runner of test/Systems
  %fake_program %fake_library           a program as moe-compile makes them, but written by hand in C; as a library
  %fake_device_program %fake_device_library    the same for a device
  %stand_in_driver                      what plays the CUDA driver in tests; docs/Testing.md
  %sanitize                             the C compiler's flag for the sanitizers of this build, or nothing
  %moe_src %moe_bin                     the source folder; the folder of our tools
  %llvm_bin                             the folder of LLVM's tools
Features
  avx2 avx512                           this CPU has them (both imply FMA)
  ptxas                                 NVIDIA's assembler is installed, as %ptxas
  sanitize                              our code was built with sanitizers
  cuda-header                           cuda.h is installed, in %cuda_include
Parameters
  roundtrip=1                           moe-opt runs with --verify-roundtrip
"""
import os

import lit.formats
import lit.llvm
from lit.llvm.subst import ToolSubst

lit.llvm.initialize(lit_config, config)
llvm_config = lit.llvm.llvm_config

config.name = "moe"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.excludes = ["Inputs", "Models"]
config.test_source_root = os.path.join(config.moe_source_dir, "test")
config.test_exec_root = os.path.join(config.moe_build_dir, "test")


def cpu_flags():
    """The flags of the first CPU that Linux lists; none where it lists none."""
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("flags"):
                    return set(line.split(":", 1)[1].split())
    except OSError:
        pass
    return set()


flags = cpu_flags()
if {"avx2", "fma"} <= flags:
    config.available_features.add("avx2")
if {"avx512f", "avx512bw", "avx512dq", "avx512vl", "fma"} <= flags:
    config.available_features.add("avx512")
ptxas = "/usr/local/cuda/bin/ptxas"
if os.path.exists(ptxas):
    config.available_features.add("ptxas")
cuda_include = "/usr/local/cuda/include"
if os.path.exists(os.path.join(cuda_include, "cuda.h")):
    config.available_features.add("cuda-header")
if config.moe_sanitize:
    config.available_features.add("sanitize")
    llvm_config.with_environment("UBSAN_OPTIONS", "print_stacktrace=1:halt_on_error=1")
    # What a compiler tool still holds when it ends is given back by the system; leaks are not what is tested.
    # LLVM's own libraries are not instrumented: what our inlined copies of its allocators and containers annotate would
    # be reported where the library uses the same memory.
    quiet = "allow_user_poisoning=0:detect_container_overflow=0"
    llvm_config.with_environment("ASAN_OPTIONS", f"detect_leaks=0:abort_on_error=1:{quiet}")

# Variables that one function captured must not satisfy the checks of the next.
llvm_config.with_environment("FILECHECK_OPTS", "-enable-var-scope")
llvm_config.with_environment("PATH", "/usr/bin:/bin")
# Two tests run side by side, each with threads of its own.
llvm_config.with_environment("OMP_WAIT_POLICY", "passive")

tools_dir = os.path.join(config.moe_build_dir, "bin")
roundtrip = ["--verify-roundtrip"] if lit_config.params.get("roundtrip", "0") not in ("0", "") else []


def own_tool(name, extra_args=None):
    # A hung tool fails its own test after a while instead of the whole run.
    return ToolSubst(name, command=f"/usr/bin/timeout 600 {tools_dir}/{name}", extra_args=extra_args)


llvm_config.add_tool_substitutions(
    [
        own_tool("moe-opt", roundtrip),
        own_tool("moe-compile"),
        own_tool("moe-lsp-server"),
    ]
    + [
        ToolSubst(name, unresolved="fatal")
        for name in (
            "FileCheck",
            "not",
            "split-file",
            "mlir-opt",
            "mlir-translate",
            "mlir-runner",
            "llvm-objdump",
            "llvm-nm",
            "llvm-readelf",
            "llc",
            "opt",
        )
    ],
    [config.llvm_tools_dir],
)

test_dir = config.test_source_root
config.substitutions += [
    ("%python", config.moe_python),
    ("%cc", config.moe_cc),
    ("%models", os.path.join(test_dir, "Models")),
    ("%reference", os.path.join(test_dir, "Reference")),
    ("%integration", f"{config.moe_python} {os.path.join(test_dir, 'Integration')}"),
    ("%systems", f"{config.moe_python} {os.path.join(test_dir, 'Systems', 'run.py')}"),
    ("%fake_program", os.path.join(config.moe_build_dir, "test", "Runtime", "moe-fake-program")),
    ("%fake_device_program", os.path.join(config.moe_build_dir, "test", "Runtime", "moe-fake-device-program")),
    ("%fake_device_library", os.path.join(config.moe_build_dir, "test", "Runtime", "libfakedevice.so")),
    ("%stand_in_driver", os.path.join(config.moe_build_dir, "test", "Runtime", "stand-in-driver.so")),
    ("%cuda_include", cuda_include),
    ("%ptxas", ptxas),
    ("%fake_library", os.path.join(config.moe_build_dir, "test", "Runtime", "libfake.so")),
    ("%sanitize", f"-fsanitize={config.moe_sanitize}" if config.moe_sanitize else ""),
    ("%moe_src", config.moe_source_dir),
    ("%moe_bin", tools_dir),
    ("%llvm_bin", config.llvm_tools_dir),
]
