"""What people write by hand and no imported model has: integer divisions of every kind, loops that yield another tensor.

written.py TOOLS SCRATCH
"""
import os
import shutil

import numpy as np

import harness

DIVISION = """
func.func @{name}(%a: tensor<?xi32> {{moe.name = "a"}}, %b: tensor<?xi32> {{moe.name = "b"}})
    -> (tensor<?xi32> {{moe.name = "q"}}) {{
  %q = arith.{name} %a, %b : tensor<?xi32>
  return %q : tensor<?xi32>
}}
"""

# Each round reads its tensor in another order than it writes it, so there is no updating in place.
LOOPS = """
func.func @blocks(%n: index {moe.name = "n"}, %x: tensor<?xf32> {moe.name = "x"}) -> (tensor<?xf32> {moe.name = "y"}) {
  %c0 = arith.constant 0 : index
  %length = tensor.dim %x, %c0 : tensor<?xf32>
  %blocks = arith.ceildivsi %length, %n : index
  %e = tensor.empty(%blocks) : tensor<?xf32>
  %one = arith.constant 1.0 : f32
  %y = linalg.fill ins(%one : f32) outs(%e : tensor<?xf32>) -> tensor<?xf32>
  return %y : tensor<?xf32>
}

func.func @mirrored(%x: tensor<?x8xf32> {moe.name = "x"}, %n: index {moe.name = "n"})
    -> (tensor<?x8xf32> {moe.name = "y"}) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %m = tensor.dim %x, %c0 : tensor<?x8xf32>
  %y = scf.for %i = %c0 to %n step %c1 iter_args(%a = %x) -> tensor<?x8xf32> {
    %e = tensor.empty(%m) : tensor<?x8xf32>
    %r = linalg.generic {
      indexing_maps = [affine_map<(i, j) -> (i, 7 - j)>, affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i, j)>],
      iterator_types = ["parallel", "parallel"]
    } ins(%a, %a : tensor<?x8xf32>, tensor<?x8xf32>) outs(%e : tensor<?x8xf32>) {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %two = arith.constant 2.0 : f32
      %t = arith.mulf %q, %two : f32
      %s = arith.addf %p, %t : f32
      linalg.yield %s : f32
    } -> tensor<?x8xf32>
    scf.yield %r : tensor<?x8xf32>
  }
  return %y : tensor<?x8xf32>
}

func.func @swapped(%x: tensor<4xf32> {moe.name = "x"}, %z: tensor<4xf32> {moe.name = "z"}, %n: index {moe.name = "n"})
    -> (tensor<4xf32> {moe.name = "a"}, tensor<4xf32> {moe.name = "b"}) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %y:2 = scf.for %i = %c0 to %n step %c1 iter_args(%a = %x, %b = %z) -> (tensor<4xf32>, tensor<4xf32>) {
    scf.yield %b, %a : tensor<4xf32>, tensor<4xf32>
  }
  return %y#0, %y#1 : tensor<4xf32>, tensor<4xf32>
}
"""

DIVISIONS = {
    "ceildivsi": lambda a, b: -(-a // b),
    "floordivsi": lambda a, b: a // b,
    "ceildivui": lambda a, b: -(-(a % 2**32) // (b % 2**32)),
    "remsi": np.fmod,
    "remui": lambda a, b: (a % 2**32) % (b % 2**32),
}


def mirror(x, rounds):
    for _ in range(rounds):
        x = x[:, ::-1] + 2 * x
    return x


def test(tools, scratch, arguments):
    shutil.rmtree(scratch, ignore_errors=True)
    os.makedirs(scratch)
    source = os.path.join(scratch, "written.mlir")
    with open(source, "w") as file:
        file.write(LOOPS + "".join(DIVISION.format(name=name) for name in DIVISIONS))
    # Every sign and remainder, and whole vectors with a tail.
    a, b = (part.ravel() for part in np.meshgrid(np.arange(-9, 10), [-4, -3, -1, 1, 2, 7]))
    x = np.random.default_rng(5).integers(-4, 5, (5, 8)).astype(np.float32)
    for flags in ([], ["--moe-reference"]):
        program = harness.compile_program(tools, source, os.path.join(scratch, "program"), flags)
        title = " ".join(flags) or "fast"
        for name, reference in DIVISIONS.items():
            result = program.call(name, {"a": a.astype(np.int32), "b": b.astype(np.int32)})["q"]
            harness.check_equal(f"{title}: {name}", result, reference(a.astype(np.int64), b).astype(np.uint32).view(np.int32))
        ones = program.call("blocks", {"n": np.int64(8), "x": x.ravel()[:33]})["y"]
        harness.check_equal(f"{title}: blocks", ones, np.ones(5, np.float32))
        for rounds in (0, 1, 2, 5):
            n = np.int64(rounds)
            harness.check_equal(f"{title}: {rounds} rounds", program.call("mirrored", {"x": x, "n": n})["y"],
                                mirror(x, rounds))
            pair = program.call("swapped", {"x": x[0, :4], "z": x[1, :4], "n": n})
            harness.check_equal(f"{title}: {rounds} swaps", np.stack([pair["a"], pair["b"]]),
                                x[[rounds % 2, 1 - rounds % 2], :4])
    print("divisions and loops on both paths")


if __name__ == "__main__":
    harness.main(test, __doc__)
