"""Checkpoints of test/Models for a GPU, each in f32 and in bf16 arithmetic, with the numbers and greedy ids they must
give.

NAME.f32 is the checkpoint as it is, against what transformers computed with it. Products are done in bf16 where weights
are stored so: NAME.bf16 has all weights rounded to bf16, and is held to the NumPy decoder of the tests (float64, the
same rounded weights), which is itself held to transformers' numbers; where the checkpoint is stored in bf16 already, to
transformers' numbers again.
"""
import json
import os
import shutil
import subprocess

import numpy as np

import sources
import rounding
import tensors
from models import sigma


def names():
    return sorted(name for name in os.listdir(sources.MODELS) if os.path.isdir(os.path.join(sources.MODELS, name)))


def is_stored_in_bf16(folder):
    first = min(file for file in os.listdir(folder) if file.startswith("model") and file.endswith(".safetensors"))
    with open(os.path.join(folder, first), "rb") as file:
        return b'"BF16"' in file.read(int.from_bytes(file.read(8), "little"))


def store_in_bf16(folder, to):
    """The checkpoint in one file, all weights in bf16."""
    os.makedirs(to)
    for file in os.listdir(folder):
        if file.endswith(".json") and not file.endswith("index.json"):
            shutil.copy(os.path.join(folder, file), to)
    _, weights = tensors.load_checkpoint(folder)
    weights.pop("prompt", None)
    tensors.save(os.path.join(to, "model.safetensors"), {name: tensors.BF16(value) for name, value in weights.items()})


def expected(checkpoint, stored, computed):
    """Logits and greedy ids: the stored ones, or those of the NumPy decoder."""
    if not computed:
        return stored["logits"], stored["generated"].tolist()
    decoder = rounding.load(checkpoint)
    ids, _ = decoder.generate(stored["prompt"], len(stored["generated"]))
    return decoder.forward(stored["prompt"])[0], ids


def compile_program(tools, checkpoint, folder, flags):
    command = [os.path.join(tools, "moe-compile"), checkpoint, "-o", os.path.join(folder, "program"), *flags]
    subprocess.run(command, check=True)


def model(checkpoint, ids, layers):
    """The error of NumPy with the roundings of tensor cores, and the places of tokens that are not compared: an error
    five times the usual one, in any draw, and above what rounding alone explains, says that two experts were so close
    that a rounding decides between them."""
    nearest, most = rounding.modelled_errors(checkpoint, ids)
    unclear = most > max(5 * np.median(most), 3 * sigma(layers))
    return float(nearest[~unclear].max()), np.nonzero(unclear)[0].tolist()


def prepare(name, arithmetic, folder, tools, flags):
    """Fills the folder of one checkpoint and arithmetic."""
    source = os.path.join(sources.MODELS, name)
    stored = tensors.load(os.path.join(source, "expected.safetensors"))
    checkpoint = os.path.join(folder, "checkpoint")
    rounds = arithmetic == "bf16" and not is_stored_in_bf16(source)
    if rounds:
        store_in_bf16(source, checkpoint)
    else:
        shutil.copytree(source, checkpoint, ignore=shutil.ignore_patterns("expected.safetensors"))
    # bf16 is the default where the chip can do it, and an error to ask for elsewhere.
    compile_program(tools, checkpoint, folder, [*(["--arithmetic=f32"] if arithmetic == "f32" else []), *flags])
    logits, ids = expected(checkpoint, stored, rounds)
    layers = rounding.load(checkpoint).config["num_hidden_layers"]
    modelled, unclear = None, []
    if arithmetic == "bf16":
        modelled, unclear = model(checkpoint, np.concatenate([stored["prompt"], ids[:-1]]), layers)
    np.save(os.path.join(folder, "ids.npy"), stored["prompt"])
    np.save(os.path.join(folder, "expected.npy"), logits.astype(np.float64))
    with open(os.path.join(folder, "case.json"), "w") as file:
        json.dump({"arithmetic": arithmetic, "layers": layers, "decode": len(ids), "generated": ids, "prefill": [],
                   "flops": {}, "bytes": {}, "modelled": modelled, "unclear": unclear}, file)
    shutil.rmtree(checkpoint)
