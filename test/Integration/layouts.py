"""Rewrites a checkpoint to the names and fused experts that transformers 5 has in memory: the same logits, bit by bit.

layouts.py TOOLS SCRATCH FOLDER [MOE_COMPILE_FLAG...]
"""
import os
import re
import shutil

import numpy as np

import harness
from harness import safetensors

# What transformers renames when it loads a checkpoint of each kind.
RENAMED = {
    "granitemoe": [(r"input_linear\.weight", "experts.gate_up_proj"), (r"output_linear\.weight", "experts.down_proj"),
                   (r"router\.layer\.weight", "router.weight")],
    "mixtral": [(r"block_sparse_moe\.", "mlp.")],
    "phimoe": [(r"block_sparse_moe\.", "mlp."), (r"\.gate\.weight", ".router.weight")],
}
EXPERT = re.compile(r"(.*experts\.)(\d+)\.(\w+)\.weight")
MATRICES = {"w1": "gate", "w3": "up", "w2": "down", "gate_proj": "gate", "up_proj": "up", "down_proj": "down"}


def in_memory(tensors, kind):
    """The same tensors as transformers 5 holds them."""
    renamed, experts = {}, {}
    for name, tensor in tensors.items():
        for pattern, replacement in RENAMED.get(kind, []):
            name = re.sub(pattern, replacement, name)
        if match := EXPERT.fullmatch(name):
            block, expert, matrix = match.groups()
            experts.setdefault(block, {})[MATRICES[matrix], int(expert)] = tensor
        else:
            renamed[name] = tensor
    for block, parts in experts.items():
        stacked = {
            matrix: np.stack([parts[matrix, expert] for expert in range(len(parts) // 3)])
            for matrix in ("gate", "up", "down")
        }
        renamed[block + "gate_up_proj"] = np.concatenate([stacked["gate"], stacked["up"]], 1)
        renamed[block + "down_proj"] = stacked["down"]
    return renamed


def test(tools, scratch, arguments):
    folder, flags = arguments[0], arguments[1:]
    shutil.rmtree(scratch, ignore_errors=True)
    config, tensors = safetensors.load_checkpoint(folder)
    fused = os.path.join(scratch, "fused")
    os.makedirs(fused)
    shutil.copy(os.path.join(folder, "config.json"), fused)
    # bf16 comes back widened, which BF16 undoes exactly.
    stored = safetensors.BF16 if config.get("dtype", config.get("torch_dtype")) == "bfloat16" else np.asarray
    changed = in_memory(tensors, config["model_type"])
    assert changed.keys() != tensors.keys(), "nothing to compare"
    safetensors.save(os.path.join(fused, "model.safetensors"), {name: stored(x) for name, x in changed.items()})
    prompt = np.random.default_rng(3).integers(3, 300, 21)
    logits = []
    for number, source in enumerate((folder, fused)):
        place = os.path.join(scratch, str(number))
        os.makedirs(place)
        logits.append(harness.compile_program(tools, source, os.path.join(place, "program"), flags).logits(prompt))
    harness.check_bits("fused after separate", logits[1], logits[0])
    print(f"{config['model_type']}: {len(tensors)} tensors and {len(changed)} give the same bits")


if __name__ == "__main__":
    harness.main(test, __doc__)
