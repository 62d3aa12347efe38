#!/usr/bin/env python3
"""Makes tiny checkpoint folders with random weights and chosen sizes, as transformers would have saved them.

make_checkpoint.py FOLDER KIND [KEY=VALUE...] [--seed N] [--storage f32|f16|bf16] [--shards N] [--modern]
    KIND is mixtral, olmoe, qwen2_moe or qwen3_moe; KEY=VALUE (JSON) overrides its configuration.
    --modern writes the names of transformers 5 (rope_parameters, dtype) instead of the older ones.
"""
import argparse
import json
import os
import sys

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tensors as safetensors
from decoder import complete

COMMON = {
    "vocab_size": 97, "hidden_size": 52, "num_hidden_layers": 2, "num_attention_heads": 3, "num_key_value_heads": 1,
    "intermediate_size": 37, "max_position_embeddings": 256, "num_experts_per_tok": 2, "rms_norm_eps": 1e-5,
    "rope_theta": 1e4, "hidden_act": "silu", "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": False,
}
KINDS = {
    "mixtral": {"num_local_experts": 7, "head_dim": 10, "sliding_window": None},
    # No head_dim of its own: the hidden size is shared out over the heads.
    "olmoe": {"num_experts": 7, "num_attention_heads": 2, "num_key_value_heads": 2, "norm_topk_prob": False,
              "clip_qkv": None, "attention_bias": False},
    "qwen2_moe": {"num_experts": 7, "num_attention_heads": 2, "moe_intermediate_size": 37, "intermediate_size": 45,
                  "shared_expert_intermediate_size": 41, "norm_topk_prob": False, "decoder_sparse_step": 1,
                  "mlp_only_layers": [], "use_sliding_window": False, "sliding_window": 4096},
    "qwen3_moe": {"num_experts": 7, "head_dim": 10, "moe_intermediate_size": 37, "intermediate_size": 45,
                  "norm_topk_prob": True, "decoder_sparse_step": 1, "mlp_only_layers": [], "attention_bias": False,
                  "use_sliding_window": False, "sliding_window": None},
}
CLASSES = {"mixtral": "Mixtral", "olmoe": "Olmoe", "qwen2_moe": "Qwen2Moe", "qwen3_moe": "Qwen3Moe"}
TORCH_TYPES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}


def shapes(config):
    """Name -> shape of every tensor of the checkpoint, in the order of computation."""
    c, kind = complete(config), config["model_type"]
    hidden, size = c["hidden_size"], c["head_dim"]
    q, kv = c["num_attention_heads"] * size, c["num_key_value_heads"] * size
    out = {"model.embed_tokens.weight": (c["vocab_size"], hidden)}

    def mlp(name, width, parts=("gate_proj", "up_proj", "down_proj")):
        out[f"{name}.{parts[0]}.weight"] = out[f"{name}.{parts[1]}.weight"] = (width, hidden)
        out[f"{name}.{parts[2]}.weight"] = (hidden, width)

    for layer in range(c["num_hidden_layers"]):
        name = f"model.layers.{layer}."
        out[name + "input_layernorm.weight"] = (hidden,)
        for part, rows in (("q", q), ("k", kv), ("v", kv)):
            out[f"{name}self_attn.{part}_proj.weight"] = (rows, hidden)
            if kind == "qwen2_moe" and c["qkv_bias"] or c.get("attention_bias"):
                out[f"{name}self_attn.{part}_proj.bias"] = (rows,)
        out[name + "self_attn.o_proj.weight"] = (hidden, q)
        if c.get("attention_bias"):
            out[name + "self_attn.o_proj.bias"] = (hidden,)
        if kind in ("olmoe", "qwen3_moe"):
            for part, rows in (("q", q), ("k", kv)):
                out[f"{name}self_attn.{part}_norm.weight"] = (rows if kind == "olmoe" else size,)
        out[name + "post_attention_layernorm.weight"] = (hidden,)
        if kind.startswith("qwen") and (layer in c["mlp_only_layers"] or (layer + 1) % c["decoder_sparse_step"]):
            mlp(name + "mlp", c["intermediate_size"])
            continue
        block = name + ("block_sparse_moe" if kind == "mixtral" else "mlp")
        out[block + ".gate.weight"] = (c["num_experts"], hidden)
        width = c["moe_intermediate_size"] if kind.startswith("qwen") else c["intermediate_size"]
        for expert in range(c["num_experts"]):
            parts = ("w1", "w3", "w2") if kind == "mixtral" else ("gate_proj", "up_proj", "down_proj")
            mlp(f"{block}.experts.{expert}", width, parts)
        if kind == "qwen2_moe":
            mlp(block + ".shared_expert", c["shared_expert_intermediate_size"])
            out[block + ".shared_expert_gate.weight"] = (1, hidden)
    out["model.norm.weight"] = (hidden,)
    if not c["tie_word_embeddings"]:
        out["lm_head.weight"] = (c["vocab_size"], hidden)
    return out


def random_tensor(name, shape, config, rng):
    """Values as of a trained model: norms near one, products near unit variance, clear-cut routers and logits."""
    values = rng.standard_normal(shape, np.float32)
    if "norm" in name:
        return 1 + 0.15 * values
    if name.endswith(".bias"):
        return 0.2 * values
    if "embed_tokens" in name:
        return values * (0.15 if config.get("tie_word_embeddings") else 1.0)
    gain = 3.0 if "lm_head" in name else 2.0 if name.endswith(".gate.weight") else 1.0
    return np.float32(gain / np.sqrt(shape[-1])) * values


def modern_names(config):
    """The same configuration as transformers 5 writes it."""
    config = dict(config)
    config["rope_parameters"] = {"rope_theta": config.pop("rope_theta"), "rope_type": "default"}
    config["dtype"] = config.pop("torch_dtype")
    if config["model_type"] == "qwen3_moe":
        config["num_local_experts"] = config.pop("num_experts")
    return config


def configuration(kind, **overrides):
    return {"model_type": kind, "architectures": [CLASSES[kind] + "ForCausalLM"], **COMMON, **KINDS[kind], **overrides}


def make(folder, kind, seed=0, storage="f32", shards=1, modern=False, value=random_tensor, **overrides):
    """Writes the folder. `value(name, shape, config, rng)` may choose the weights."""
    config = configuration(kind, **overrides)
    config["torch_dtype"] = TORCH_TYPES[storage]
    rng = np.random.default_rng(seed)
    cast = {"f32": np.float32, "f16": np.float16, "bf16": safetensors.BF16}[storage]
    sizes = shapes(config)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump(modern_names(config) if modern else config, file, indent=2, sort_keys=True)

    def write(name, part):
        kinds = {tensor: (storage.upper(), sizes[tensor]) for tensor in part}
        make_tensor = lambda tensor: cast(value(tensor, sizes[tensor], config, rng))
        safetensors.save_lazily(os.path.join(folder, name), kinds, make_tensor)

    names, index = list(sizes), {}
    if shards == 1:
        write("model.safetensors", names)
        return
    for shard in range(shards):
        file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        part = names[shard * len(names) // shards : (shard + 1) * len(names) // shards]
        write(file, part)
        index.update({name: file for name in part})
    bytes_each = 4 if storage == "f32" else 2
    total = sum(bytes_each * int(np.prod(sizes[name])) for name in names)
    with open(os.path.join(folder, "model.safetensors.index.json"), "w") as file:
        json.dump({"metadata": {"total_size": total}, "weight_map": index}, file, indent=2)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("kind", choices=sorted(KINDS))
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--storage", choices=sorted(TORCH_TYPES), default="f32")
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--modern", action="store_true")
    options = parser.parse_args()
    overrides = {key: json.loads(text) for key, text in (item.split("=", 1) for item in options.overrides)}
    make(options.folder, options.kind, options.seed, options.storage, options.shards, options.modern, **overrides)


if __name__ == "__main__":
    main()
