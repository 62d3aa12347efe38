"""Makes PTX of the Hopper kernels: moe-opt writes them, LLVM's NVPTX back end (through mlir-opt) makes text of them."""
import os
import re
import subprocess

PIPELINE = (
    "builtin.module(gpu.module(convert-scf-to-cf,convert-arith-to-llvm),convert-cf-to-llvm,"
    "nvvm-attach-target{chip=sm_90a features=+ptx80 O=3},gpu.module(convert-nvvm-to-llvm,canonicalize,cse,"
    "reconcile-unrealized-casts),gpu-module-to-binary{format=isa})"
)
EPILOGUES = """
func.func private @silu(%g: f32, %u: f32) -> f32 {
  %one = arith.constant 1.0 : f32
  %n = arith.negf %g : f32
  %e = math.exp %n : f32
  %d = arith.addf %e, %one : f32
  %s = arith.divf %g, %d : f32
  %r = arith.mulf %s, %u : f32
  return %r : f32
}
func.func private @product_of_both(%g: f32, %u: f32) -> f32 {
  %r = arith.mulf %g, %u : f32
  return %r : f32
}
func.func private @relu(%x: f32) -> f32 {
  %zero = arith.constant 0.0 : f32
  %r = arith.maximumf %x, %zero : f32
  return %r : f32
}
func.func private @plus_bias(%x: f32, %bias: f32) -> f32 {
  %r = arith.addf %x, %bias : f32
  return %r : f32
}
func.func private @gelu_tanh(%x: f32) -> f32 {
  %half = arith.constant 0.5 : f32
  %one = arith.constant 1.0 : f32
  %a = arith.constant 0.044715 : f32
  %b = arith.constant 0.797884561 : f32
  %x2 = arith.mulf %x, %x : f32
  %x3 = arith.mulf %x2, %x : f32
  %ax3 = arith.mulf %x3, %a : f32
  %s = arith.addf %x, %ax3 : f32
  %bs = arith.mulf %s, %b : f32
  %t = math.tanh %bs : f32
  %t1 = arith.addf %t, %one : f32
  %hx = arith.mulf %x, %half : f32
  %r = arith.mulf %hx, %t1 : f32
  return %r : f32
}
func.func private @gelu_erf(%x: f32) -> f32 {
  %half = arith.constant 0.5 : f32
  %one = arith.constant 1.0 : f32
  %c = arith.constant 0.707106769 : f32
  %xc = arith.mulf %x, %c : f32
  %e = math.erf %xc : f32
  %e1 = arith.addf %e, %one : f32
  %hx = arith.mulf %x, %half : f32
  %r = arith.mulf %hx, %e1 : f32
  return %r : f32
}
"""


def run(command, text):
    result = subprocess.run(command, input=text, capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(f"{command}\n{result.stderr[:2000]}")
    return result.stdout


def unescape(text):
    """MLIR writes bytes it does not print as a backslash and two hexadecimal digits."""
    named = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}
    return re.sub(r'\\([0-9A-Fa-f]{2}|[nt"\\])', lambda m: named.get(m.group(1)) or chr(int(m.group(1), 16)), text)


def make_ptx(moe_opt, llvm_bin, options):
    """PTX of the module that moe-gpu-hopper-kernel writes for `options`, a dictionary."""
    words = " ".join(f"{key}={value}" for key, value in options.items())
    module = run([moe_opt, f"--moe-gpu-hopper-kernel={words}"], EPILOGUES)
    return assemble(llvm_bin, module)


def assemble(llvm_bin, module):
    binary = run([os.path.join(llvm_bin, "mlir-opt"), f"--pass-pipeline={PIPELINE}"], module)
    return unescape(re.search(r'assembly = "((?:[^"\\]|\\.)*)"', binary).group(1)).rstrip("\0")


if __name__ == "__main__":
    import sys

    print(make_ptx(sys.argv[1], sys.argv[2], dict(word.split("=") for word in sys.argv[3:])))
