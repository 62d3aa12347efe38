#!/usr/bin/env python3
"""Makes tiny checkpoint folders with random weights and chosen sizes, as transformers would have saved them.

make_checkpoint.py FOLDER KIND [KEY=VALUE...] [--seed N] [--storage f32|f16|bf16] [--shards N] [--modern]
    KIND is one of those in KINDS; KEY=VALUE (JSON) overrides its configuration.
    --modern writes the names of transformers 5 (rope_parameters, dtype) instead of the older ones.
"""
import argparse
import json
import os
import sys

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import fused
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
    "glm4_moe": {"n_routed_experts": 6, "head_dim": 12, "moe_intermediate_size": 37, "intermediate_size": 45,
                 "n_group": 3, "topk_group": 2, "n_shared_experts": 1, "routed_scaling_factor": 1.5,
                 "first_k_dense_replace": 1, "norm_topk_prob": True, "use_qk_norm": True, "attention_bias": True,
                 "partial_rotary_factor": 0.5},
    "deepseek_v2": {"n_routed_experts": 6, "moe_intermediate_size": 37, "intermediate_size": 45, "num_attention_heads": 2,
                    "num_key_value_heads": 2, "n_shared_experts": 2, "routed_scaling_factor": 1.5,
                    "first_k_dense_replace": 1, "topk_method": "greedy", "norm_topk_prob": False, "n_group": None,
                    "topk_group": None, "q_lora_rank": None, "kv_lora_rank": 14, "qk_nope_head_dim": 10,
                    "qk_rope_head_dim": 6, "v_head_dim": 9},
    "deepseek_v3": {"n_routed_experts": 6, "moe_intermediate_size": 37, "intermediate_size": 45, "num_key_value_heads": 3,
                    "n_shared_experts": 1, "routed_scaling_factor": 2.5, "first_k_dense_replace": 1,
                    "norm_topk_prob": True, "n_group": 3, "topk_group": 2, "q_lora_rank": 11, "kv_lora_rank": 14,
                    "qk_nope_head_dim": 10, "qk_rope_head_dim": 6, "v_head_dim": 9, "rope_interleave": True},
    "llama4_text": {"num_local_experts": 5, "num_experts_per_tok": 1, "head_dim": 10, "intermediate_size_mlp": 45,
                    "interleave_moe_layer_step": 1, "attention_chunk_size": 16, "no_rope_layer_interval": 2,
                    "use_qk_norm": True, "attn_temperature_tuning": True, "floor_scale": 4, "attn_scale": 0.3},
}
KINDS.update(fused.KINDS)
TORCH_TYPES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}


def latent_attention(out, name, c):
    hidden, heads, latent = c["hidden_size"], c["num_attention_heads"], c["kv_lora_rank"]
    plain, turning, value = c["qk_nope_head_dim"], c["qk_rope_head_dim"], c["v_head_dim"]
    if c["q_lora_rank"] is None:
        out[name + "q_proj.weight"] = (heads * (plain + turning), hidden)
    else:
        out[name + "q_a_proj.weight"] = (c["q_lora_rank"], hidden)
        out[name + "q_a_layernorm.weight"] = (c["q_lora_rank"],)
        out[name + "q_b_proj.weight"] = (heads * (plain + turning), c["q_lora_rank"])
    out[name + "kv_a_proj_with_mqa.weight"] = (latent + turning, hidden)
    out[name + "kv_a_layernorm.weight"] = (latent,)
    out[name + "kv_b_proj.weight"] = (heads * (plain + value), latent)
    out[name + "o_proj.weight"] = (hidden, heads * value)
    if c["attention_bias"]:
        biased = ("kv_a_proj_with_mqa", "o_proj") + (() if c["q_lora_rank"] is None else ("q_a_proj",))
        out.update({f"{name}{part}.bias": out[f"{name}{part}.weight"][:1] for part in biased})


def feed_forward(out, name, layer, c, mlp):
    """As DeepSeek and those after it have it."""
    if layer < c["first_k_dense_replace"]:
        mlp(name, c["intermediate_size"])
        return
    out[name + ".gate.weight"] = (c["num_experts"], c["hidden_size"])
    if c["model_type"] != "deepseek_v2":
        out[name + ".gate.e_score_correction_bias"] = (c["num_experts"],)
    for expert in range(c["num_experts"]):
        mlp(f"{name}.experts.{expert}", c["moe_intermediate_size"])
    if c["n_shared_experts"]:
        mlp(name + ".shared_experts", c["n_shared_experts"] * c["moe_intermediate_size"])


def weighed_inputs(out, name, layer, c, mlp):
    """As Llama 4 has it."""
    experts, hidden, width = c["num_experts"], c["hidden_size"], c["intermediate_size"]
    layers = c["moe_layers"]
    if layer not in layers if layers is not None else (layer + 1) % c["interleave_moe_layer_step"]:
        mlp(name[:-1], c["intermediate_size_mlp"])
        return
    out[name + "router.weight"] = (experts, hidden)
    out[name + "experts.gate_up_proj"] = (experts, hidden, 2 * width)
    out[name + "experts.down_proj"] = (experts, width, hidden)
    mlp(name + "shared_expert", width)


def shapes(config):
    """Name -> shape of every tensor of the checkpoint, in the order of computation."""
    if config["model_type"] in fused.KINDS:
        return fused.shapes(config)
    c, kind = complete(config), config["model_type"]
    hidden, size = c["hidden_size"], c["head_dim"]
    q, kv = c["num_attention_heads"] * size, c["num_key_value_heads"] * size
    out = {"model.embed_tokens.weight": (c["vocab_size"], hidden)}

    def mlp(name, width, parts=("gate_proj", "up_proj", "down_proj")):
        out[f"{name}.{parts[0]}.weight"] = out[f"{name}.{parts[1]}.weight"] = (width, hidden)
        out[f"{name}.{parts[2]}.weight"] = (hidden, width)

    for layer in range(c["num_hidden_layers"]):
        name = f"model.layers.{layer}."
        out[name + "input_layernorm.weight"] = out[name + "post_attention_layernorm.weight"] = (hidden,)
        if kind.startswith("deepseek"):
            latent_attention(out, name + "self_attn.", c)
            feed_forward(out, name + "mlp", layer, c, mlp)
            continue
        for part, rows in (("q", q), ("k", kv), ("v", kv)):
            out[f"{name}self_attn.{part}_proj.weight"] = (rows, hidden)
            if kind == "qwen2_moe" and c["qkv_bias"] or c.get("attention_bias"):
                out[f"{name}self_attn.{part}_proj.bias"] = (rows,)
        out[name + "self_attn.o_proj.weight"] = (hidden, q)
        if c.get("attention_bias") and kind != "glm4_moe":
            out[name + "self_attn.o_proj.bias"] = (hidden,)
        if kind in ("olmoe", "qwen3_moe") or kind == "glm4_moe" and c["use_qk_norm"]:
            for part, rows in (("q", q), ("k", kv)):
                out[f"{name}self_attn.{part}_norm.weight"] = (rows if kind == "olmoe" else size,)
        if kind == "glm4_moe":
            feed_forward(out, name + "mlp", layer, c, mlp)
            continue
        if kind == "llama4_text":
            weighed_inputs(out, name + "feed_forward.", layer, c, mlp)
            continue
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
    if "norm" in name and len(shape) == 1:
        return 1 + 0.15 * values
    if name.endswith("bias"):
        return 0.2 * values
    if "embed_tokens" in name:
        return values * (0.15 if config.get("tie_word_embeddings") else 1.0)
    gain = 3.0 if "lm_head" in name else 2.0 if name.endswith((".gate.weight", "router.weight")) else 1.0
    return np.float32(gain / np.sqrt(shape[-1])) * values


def modern_names(config):
    """The same configuration as transformers 5 writes it."""
    config = dict(config)
    scaling = dict(config.pop("rope_scaling", None) or {})
    config["rope_parameters"] = {"rope_theta": config.pop("rope_theta"), "rope_type": scaling.pop("type", "default"), **scaling}
    if "partial_rotary_factor" in config:
        config["rope_parameters"]["partial_rotary_factor"] = config.pop("partial_rotary_factor")
    config["dtype"] = config.pop("torch_dtype")
    if config["model_type"] == "qwen3_moe":
        config["num_local_experts"] = config.pop("num_experts")
    return config


def configuration(kind, **overrides):
    return {"model_type": kind, "architectures": ["".join(map(str.capitalize, kind.split("_"))) + "ForCausalLM"], **COMMON, **KINDS[kind], **overrides}


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
