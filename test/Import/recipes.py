#!/usr/bin/env python3
"""Compiles a program that gives back its weights, each made by another recipe, and compares them with NumPy bit for bit.

recipes.py COMPILER SCRATCH
"""
import os
import shutil
import subprocess
import sys

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "Reference"))
import tensors as safetensors

COMPILER, SCRATCH, FLAGS = sys.argv[1], os.path.abspath(sys.argv[2]), sys.argv[3:]
RNG = np.random.default_rng(0)
SOURCES = {
    "a": RNG.standard_normal((70, 13)).astype(np.float32),
    "b": RNG.standard_normal((70, 13)).astype(np.float32),
    "half": RNG.standard_normal((3, 33, 17)).astype(np.float16),
    "one": RNG.standard_normal((1, 1)).astype(np.float32),
    "row": RNG.standard_normal((32,)).astype(np.float32),
    "long": RNG.standard_normal((64, 9000)).astype(np.float32),  # pieces end within a panel
}


def panels(x, width=32):
    """[..., N, K] as [..., ceil(N / width), K, width], missing rows zero."""
    *outer, n, k = x.shape
    count = -(-n // width)
    padded = np.zeros((*outer, count * width, k), x.dtype)
    padded[..., :n, :] = x
    return np.swapaxes(padded.reshape(*outer, count, width, k), -1, -2)


def element(x):
    return {"float32": "f32", "float16": "f16"}[str(x.dtype)]


def mlir_type(x):
    return f"tensor<{'x'.join(map(str, x.shape))}x{element(x)}>"


S = {name: f'#moe.source<"{name}", {mlir_type(x)}>' for name, x in SOURCES.items()}
T = SOURCES
RECIPES = {
    "source": (S["a"], T["a"]),
    "stack": (f"#moe.stack<[{S['a']}, {S['b']}]>", np.stack([T["a"], T["b"]])),
    "concat": (f"#moe.concat<[{S['a']}, {S['b']}]>", np.concatenate([T["a"], T["b"]])),
    "slice": (f"#moe.slice<{S['a']}, offset = 5, size = 9>", T["a"][5:14]),
    "slice_of_concat": (
        f"#moe.slice<#moe.concat<[{S['a']}, {S['b']}]>, offset = 60, size = 30>",
        np.concatenate([T["a"], T["b"]])[60:90],
    ),
    "slice_of_last": (f"#moe.slice<{S['half']}, offset = 4, size = 9, dim = 2>", T["half"][:, :, 4:13]),
    "slice_with_stride": (f"#moe.slice<{S['half']}, offset = 1, size = 5, dim = 1, stride = 7>", T["half"][:, 1:30:7]),
    "slice_of_first_with_stride": (f"#moe.slice<{S['a']}, offset = 3, size = 23, stride = 3>", T["a"][3::3]),
    "odd_columns": (  # rows that the pieces of the source cut
        f"#moe.slice<{S['long']}, offset = 1, size = 4500, dim = 1, stride = 2>",
        T["long"][:, 1::2],
    ),
    "slice_of_stack": (f"#moe.slice<#moe.stack<[{S['a']}, {S['b']}]>, offset = 1, size = 1>", T["b"][None]),
    "transpose": (f"#moe.transpose<{S['half']}, [2, 0, 1]>", np.transpose(T["half"], (2, 0, 1))),
    "transpose_inside": (f"#moe.transpose<{S['half']}, [0, 2, 1]>", np.transpose(T["half"], (0, 2, 1))),
    "transpose_nothing": (f"#moe.transpose<{S['half']}, [0, 1, 2]>", T["half"]),
    "transpose_in_pieces": (f"#moe.transpose<{S['long']}, [1, 0]>", T["long"].T),
    "transpose_of_slice": (
        f"#moe.transpose<#moe.slice<{S['half']}, offset = 0, size = 9, dim = 2, stride = 2>, [0, 2, 1]>",
        np.transpose(T["half"][:, :, ::2], (0, 2, 1)),
    ),
    "panels_of_transposed_slice": (
        f"#moe.panels<#moe.transpose<#moe.slice<{S['half']}, offset = 1, size = 8, dim = 2, stride = 2>, [0, 2, 1]>, width = 32>",
        panels(np.transpose(T["half"][:, :, 1::2], (0, 2, 1))),
    ),
    "slice_of_transpose": (
        f"#moe.slice<#moe.transpose<{S['half']}, [2, 0, 1]>, offset = 3, size = 4>",
        np.transpose(T["half"], (2, 0, 1))[3:7],
    ),
    "reshape": (f"#moe.reshape<{S['half']}, tensor<99x17xf16>>", T["half"].reshape(99, 17)),
    "pad": (f"#moe.pad<{S['half']}, size = 24>", np.pad(T["half"], [(0, 0), (0, 0), (0, 7)])),
    "pad_nothing": (f"#moe.pad<{S['row']}, size = 32>", T["row"]),
    "pad_in_pieces": (f"#moe.pad<{S['long']}, size = 9001>", np.pad(T["long"], [(0, 0), (0, 1)])),
    "stack_of_pads": (
        f"#moe.stack<[#moe.pad<{S['a']}, size = 16>, #moe.pad<{S['b']}, size = 16>]>",
        np.pad(np.stack([T["a"], T["b"]]), [(0, 0), (0, 0), (0, 3)]),
    ),
    "slice_of_pad": (f"#moe.slice<#moe.pad<{S['a']}, size = 16>, offset = 68, size = 2>", np.pad(T["a"], [(0, 0), (0, 3)])[68:]),
    "panels_of_one": (f"#moe.panels<{S['one']}, width = 32>", panels(T["one"])),
    "panels_with_tail": (f"#moe.panels<{S['a']}, width = 32>", panels(T["a"])),
    "panels_in_pieces": (f"#moe.panels<{S['long']}, width = 32>", panels(T["long"])),
    "panels_of_stack": (
        f"#moe.panels<#moe.stack<[{S['a']}, {S['b']}]>, width = 32>",
        panels(np.stack([T["a"], T["b"]])),
    ),
    "panels_of_halves": (f"#moe.panels<{S['half']}, width = 32>", panels(T["half"])),
    "panels_of_transpose": (
        f"#moe.panels<#moe.transpose<{S['a']}, [1, 0]>, width = 16>",
        panels(T["a"].T, 16),
    ),
}


def program():
    """A function that adds nothing to each weight: x + 0 keeps every bit of a finite number but the sign of zero."""
    text, loads = "", []
    for name, (recipe, value) in RECIPES.items():
        text += f"ml_program.global private @{name}({recipe}) : {mlir_type(value)}\n"
        shape = "x".join(map(str, value.shape))
        maps = f"affine_map<({', '.join(f'd{i}' for i in range(value.ndim))}) -> ({', '.join(f'd{i}' for i in range(value.ndim))})>"
        loads.append(
            f"""
  func.func @read_{name}(%zero: tensor<1xf32> {{moe.name = "zero"}}) -> (tensor<{shape}xf32> {{moe.name = "value"}}) {{
    %weight = ml_program.global_load_const @{name} : {mlir_type(value)}
    %c0 = arith.constant 0 : index
    %z = tensor.extract %zero[%c0] : tensor<1xf32>
    %init = tensor.empty() : tensor<{shape}xf32>
    %sum = linalg.generic {{indexing_maps = [{maps}, {maps}], iterator_types = [{', '.join(['"parallel"'] * value.ndim)}]}}
        ins(%weight : {mlir_type(value)}) outs(%init : tensor<{shape}xf32>) {{
    ^bb0(%w: {element(value)}, %out: f32):
      {'%x = arith.extf %w : f16 to f32' if element(value) == 'f16' else '%x = arith.addf %w, %z : f32'}
      linalg.yield %x : f32
    }} -> tensor<{shape}xf32>
    return %sum : tensor<{shape}xf32>
  }}
"""
        )
    return text + "".join(loads)


def main():
    shutil.rmtree(SCRATCH, ignore_errors=True)
    os.makedirs(SCRATCH)
    at = lambda name: os.path.join(SCRATCH, name)
    safetensors.save(at("weights.safetensors"), SOURCES)
    with open(at("program.mlir"), "w") as file:
        file.write(program())
    subprocess.run([COMPILER, at("program.mlir"), f"--weights={at('weights.safetensors')}", *FLAGS, "-o", at("program")], check=True)
    safetensors.save(at("in.safetensors"), {"zero": np.zeros(1, np.float32)})
    for name, (_, value) in RECIPES.items():
        command = [at("program"), "--function", "read_" + name, "--inputs", at("in.safetensors"), "--outputs", at("out.safetensors")]
        subprocess.run(command, check=True)
        got = safetensors.load(at("out.safetensors"))["value"]
        if got.shape != value.shape or not np.array_equal(got, value.astype(np.float32)):
            wrong = np.argwhere(got != value) if got.shape == value.shape else []
            sys.exit(f"{name}: expected shape {value.shape}, got {got.shape}; {len(wrong)} elements differ, first at {list(wrong[:1])}")
    subprocess.run([at("program"), "--verify"], check=True, stdout=subprocess.DEVNULL)
    print(f"{len(RECIPES)} recipes made what NumPy makes")


main()
