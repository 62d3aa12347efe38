"""Indices from outside: one beyond the rows of a gather takes the nearest row, a slot beyond is empty, on both paths.

indices.py TOOLS SCRATCH
"""
import os
import shutil

import numpy as np

import harness

LAYER = """
ml_program.global private @w(#moe.bank_recipe<[#moe.source<"w", tensor<2x33x5xf32>>]>) : !moe.bank<tensor<2x33x5xf32>>

func.func @gather(%x: tensor<?x5xf32> {moe.name = "x"}, %ids: tensor<?xi32> {moe.name = "ids"})
    -> (tensor<?x5xf32> {moe.name = "y"}) {
  %c0 = arith.constant 0 : index
  %rows = tensor.dim %ids, %c0 : tensor<?xi32>
  %empty = tensor.empty(%rows) : tensor<?x5xf32>
  %y = moe.gather ins(%x : tensor<?x5xf32>) at(%ids : tensor<?xi32>) outs(%empty : tensor<?x5xf32>) -> tensor<?x5xf32>
  return %y : tensor<?x5xf32>
}

// Rows summed by slots from outside.
func.func @combine(%x: tensor<?x5xf32> {moe.name = "x"}, %ids: tensor<?x2xi64> {moe.name = "ids"},
                   %weights: tensor<?x2xf32> {moe.name = "weights"}) -> (tensor<?x5xf32> {moe.name = "y"}) {
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %tokens = tensor.dim %ids, %c0 : tensor<?x2xi64>
  %slots = arith.index_cast %ids : tensor<?x2xi64> to tensor<?x2xindex>
  %empty = tensor.empty(%tokens) : tensor<?x5xf32>
  %init = linalg.fill ins(%zero : f32) outs(%empty : tensor<?x5xf32>) -> tensor<?x5xf32>
  %y = moe.combine ins(%x : tensor<?x5xf32>) at(%slots : tensor<?x2xindex>) weights(%weights : tensor<?x2xf32>)
         kind(#moe.weighted_sum) outs(%init : tensor<?x5xf32>) -> tensor<?x5xf32>
  return %y : tensor<?x5xf32>
}

// The same rows, read by a product of two groups: the first three rows and the rest.
func.func @product(%x: tensor<?x5xf32> {moe.name = "x"}, %ids: tensor<?xi64> {moe.name = "ids"})
    -> (tensor<?x33xf32> {moe.name = "y"}) {
  %c0 = arith.constant 0 : index
  %c3 = arith.constant 3 : index
  %w = ml_program.global_load_const @w : !moe.bank<tensor<2x33x5xf32>>
  %rows = tensor.dim %ids, %c0 : tensor<?xi64>
  %offsets = tensor.from_elements %c0, %c3, %rows : tensor<3xindex>
  %empty = tensor.empty(%rows) : tensor<?x33xf32>
  %y = moe.grouped_matmul ins(%x : tensor<?x5xf32>) at(%ids : tensor<?xi64>) banks(%w : !moe.bank<tensor<2x33x5xf32>>)
         groups(%offsets : tensor<3xindex>) outs(%empty : tensor<?x33xf32>) -> tensor<?x33xf32>
  return %y : tensor<?x33xf32>
}
"""


def test(tools, scratch, arguments):
    shutil.rmtree(scratch, ignore_errors=True)
    os.makedirs(scratch)
    random = np.random.default_rng(3)
    weights = random.integers(-1, 2, (2, 33, 5)).astype(np.float32)
    x = random.integers(-4, 5, (7, 5)).astype(np.float32)
    source = os.path.join(scratch, "layer.mlir")
    with open(source, "w") as file:
        file.write(LAYER)
    path = os.path.join(scratch, "weights.safetensors")
    harness.safetensors.save(path, {"w": weights})
    # Both ends, far beyond them, and enough rows in one group for whole tiles.
    ids = np.array([0, -1, 6, 7, -(2**31), 2**31 - 1, 3] + [5, 100, -100] * 8, np.int32)
    rows = x[np.clip(ids.astype(np.int64), 0, len(x) - 1)]
    product = np.concatenate([rows[:3] @ weights[0].T, rows[3:] @ weights[1].T])
    wide = ids.astype(np.int64)
    wide[4:6] = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    slots = wide[:30].reshape(-1, 2)
    inside = (slots >= 0) & (slots < len(x))
    shares = random.integers(-2, 3, slots.shape).astype(np.float32)
    sums = (x[np.where(inside, slots, 0)] * (shares * inside)[..., None]).sum(1)
    for flags in ([], ["--moe-reference"]):
        program = harness.compile_program(tools, source, os.path.join(scratch, "program"), [f"--weights={path}", *flags])
        title = " ".join(flags) or "fast"
        harness.check_equal(f"{title}: gather", program.call("gather", {"x": x, "ids": ids})["y"], rows)
        harness.check_equal(f"{title}: product", program.call("product", {"x": x, "ids": wide})["y"], product)
        summed = program.call("combine", {"x": x, "ids": slots, "weights": shares})["y"]
        harness.check_equal(f"{title}: combine", summed, sums)
    print(f"{len(ids)} indices on both paths")


if __name__ == "__main__":
    harness.main(test, __doc__)
