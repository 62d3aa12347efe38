#!/usr/bin/env python3
"""Mixture-of-experts decoders in plain NumPy: what a program compiled from a checkpoint must compute.

decoder.py FOLDER --tokens IDS.npy [--logits OUT.npy] [--generate N] [--float32]
decoder.py FOLDER --check [--tolerance T]       compares with the folder's expected.safetensors

Knows the kinds in DEFAULTS. Written to be read: one token's attention, one expert at a
time, no cache, float64 unless told otherwise. Shares nothing with the compiler.
"""
import argparse
import os
import sys

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tensors as safetensors
import variants

# Defaults of each architecture's configuration class in transformers, where a checkpoint may omit the key.
DEFAULTS = {
    "mixtral": {
        "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-5, "rope_theta": 1e6,
        "num_experts": 8, "num_experts_per_tok": 2, "sliding_window": None, "tie_word_embeddings": False,
    },
    "olmoe": {
        "vocab_size": 50304, "hidden_size": 2048, "intermediate_size": 2048, "num_hidden_layers": 16,
        "num_attention_heads": 16, "num_key_value_heads": None, "rms_norm_eps": 1e-5, "rope_theta": 1e4,
        "num_experts": 64, "num_experts_per_tok": 8, "norm_topk_prob": False, "clip_qkv": None,
        "tie_word_embeddings": False,
    },
    "qwen2_moe": {
        "vocab_size": 151936, "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 24,
        "num_attention_heads": 16, "num_key_value_heads": 16, "rms_norm_eps": 1e-6, "rope_theta": 1e4,
        "num_experts": 60, "num_experts_per_tok": 4, "moe_intermediate_size": 1408,
        "shared_expert_intermediate_size": 5632, "norm_topk_prob": False, "decoder_sparse_step": 1,
        "mlp_only_layers": [], "use_sliding_window": False, "sliding_window": 4096, "max_window_layers": 28,
        "qkv_bias": True, "tie_word_embeddings": False,
    },
    "qwen3_moe": {
        "vocab_size": 151936, "hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 24,
        "num_attention_heads": 32, "num_key_value_heads": 4, "rms_norm_eps": 1e-6, "rope_theta": 1e4,
        "num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768, "norm_topk_prob": False,
        "decoder_sparse_step": 1, "mlp_only_layers": [], "use_sliding_window": False, "sliding_window": 4096,
        "attention_bias": False, "tie_word_embeddings": False,
    },
    "glm4_moe": {
        "vocab_size": 151552, "hidden_size": 4096, "intermediate_size": 10944, "num_hidden_layers": 46,
        "num_attention_heads": 96, "num_key_value_heads": 8, "rms_norm_eps": 1e-5, "rope_theta": 1e4,
        "num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 1408, "norm_topk_prob": True,
        "n_shared_experts": 1, "routed_scaling_factor": 1.0, "n_group": 1, "topk_group": 1,
        "first_k_dense_replace": 1, "use_qk_norm": False, "attention_bias": False, "tie_word_embeddings": False,
    },
    "deepseek_v2": {
        "vocab_size": 102400, "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": None, "rms_norm_eps": 1e-6, "rope_theta": 1e4,
        "num_experts": 64, "moe_intermediate_size": 1407, "norm_topk_prob": False, "n_shared_experts": 2,
        "routed_scaling_factor": 1.0, "n_group": 1, "topk_group": 1, "topk_method": "greedy",
        "first_k_dense_replace": 0, "attention_bias": False, "q_lora_rank": 1536, "kv_lora_rank": 512,
        "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "tie_word_embeddings": False,
    },
    "deepseek_v3": {
        "vocab_size": 129280, "hidden_size": 7168, "intermediate_size": 18432, "num_hidden_layers": 61,
        "num_attention_heads": 128, "num_key_value_heads": None, "rms_norm_eps": 1e-6, "rope_theta": 1e4,
        "num_experts": 256, "num_experts_per_tok": 8, "moe_intermediate_size": 2048, "norm_topk_prob": True,
        "n_shared_experts": 1, "routed_scaling_factor": 2.5, "n_group": 8, "topk_group": 4,
        "first_k_dense_replace": 3, "attention_bias": False, "q_lora_rank": 1536, "kv_lora_rank": 512,
        "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "rope_interleave": True,
        "tie_word_embeddings": False,
    },
    "llama4_text": {
        "vocab_size": 202048, "hidden_size": 5120, "intermediate_size": 8192, "intermediate_size_mlp": 16384,
        "num_hidden_layers": 48, "num_attention_heads": 40, "num_key_value_heads": 8, "head_dim": 128,
        "rms_norm_eps": 1e-5, "rope_theta": 5e5, "num_experts": 16, "num_experts_per_tok": 1,
        "interleave_moe_layer_step": 1, "moe_layers": None, "no_rope_layer_interval": 4, "no_rope_layers": None,
        "attention_chunk_size": 8192, "use_qk_norm": True, "attn_temperature_tuning": True, "floor_scale": 8192,
        "attn_scale": 0.1, "attention_bias": False, "tie_word_embeddings": False,
    },
}


PARTS = ("gate_proj", "up_proj", "down_proj")


def complete(config):
    """The configuration with both generations of names understood and absent keys filled in."""
    kind = config["model_type"]
    full = dict({"head_dim": None}, **DEFAULTS[kind])
    full.update(config)
    for name in ("num_local_experts", "n_routed_experts"):
        if name in config:
            full["num_experts"] = config[name]
    full.update({k: v for k, v in (config.get("rope_parameters") or {}).items() if k == "rope_theta"})
    if full["num_key_value_heads"] is None:
        full["num_key_value_heads"] = full["num_attention_heads"]
    if full["head_dim"] is None:
        full["head_dim"] = full["hidden_size"] // full["num_attention_heads"]
    if full.get("mlp_only_layers") is None:
        full["mlp_only_layers"] = []
    return full


def rms_norm(x, weight, epsilon):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + x.dtype.type(epsilon)) * weight


def silu(x):
    return x / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def gated_mlp(x, gate, up, down):
    return (silu(x @ gate.T) * (x @ up.T)) @ down.T


class Decoder:
    def __init__(self, folder, dtype=np.float64):
        config, weights = safetensors.load_checkpoint(folder)
        self.config = complete(config)
        self.kind = self.config["model_type"]
        self.weights = {name: tensor.astype(dtype, copy=False) for name, tensor in weights.items()}

    def weight(self, name):
        return self.weights[name + ".weight"]

    def linear(self, x, name):
        y = x @ self.weight(name).T
        bias = self.weights.get(name + ".bias")
        return y if bias is None else y + bias

    def window(self, layer):
        """How many of the latest positions a token of this layer sees, itself included; None: all."""
        c = self.config
        if self.kind == "mixtral":
            return c["sliding_window"]
        if self.kind == "qwen3_moe":
            return c["sliding_window"] if c["use_sliding_window"] else None
        if self.kind == "qwen2_moe" and c["use_sliding_window"]:
            types = c.get("layer_types")
            slides = types[layer] == "sliding_attention" if types else layer % 2 == 0 and layer < c["max_window_layers"]
            return c["sliding_window"] if slides else None
        return None

    def first_seen(self, layer, token):
        """The first position that a token of this layer sees."""
        window = self.window(layer)
        if self.kind == "llama4_text" and self.layer_type(layer) == "chunked_attention":
            return token - token % self.config["attention_chunk_size"]
        return 0 if window is None else max(0, token + 1 - window)

    def turns(self, layer):
        """llama4: whether positions enter this layer by rotation."""
        c = self.config
        return c["no_rope_layers"][layer] if c["no_rope_layers"] else (layer + 1) % c["no_rope_layer_interval"] != 0

    def layer_type(self, layer):
        c = self.config
        if c.get("layer_types"):
            return c["layer_types"][layer]
        return "chunked_attention" if self.turns(layer) and c["attention_chunk_size"] else "full_attention"

    def rotated(self, parts, layer):
        c, kind = self.config, self.kind
        if kind == "llama4_text" and not self.turns(layer):
            if not c["attn_temperature_tuning"]:
                return parts
            factor = variants.temperature(np.arange(len(parts[0])), c).astype(parts[0].dtype)
            return [parts[0] * factor[:, None, None], parts[1]]
        rope = variants.rotary_parameters(c, share=0.5 if kind == "glm4_moe" else 1.0)
        parts = [variants.rotate(x, variants.rotary(rope, c["head_dim"]), kind == "llama4_text") for x in parts]
        if kind == "llama4_text" and c["use_qk_norm"]:
            parts = [rms_norm(x, 1, c["rms_norm_eps"]) for x in parts]
        return parts

    def attention(self, x, layer):
        c, name = self.config, f"model.layers.{layer}.self_attn."
        if self.kind.startswith("deepseek"):
            return self.attend(*variants.latent_attention(self, x, layer, rms_norm), layer)
        heads, kv_heads, size = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]
        q, k, v = (self.linear(x, name + part) for part in ("q_proj", "k_proj", "v_proj"))
        if self.kind == "olmoe":  # over all heads at once
            q = rms_norm(q, self.weight(name + "q_norm"), c["rms_norm_eps"])
            k = rms_norm(k, self.weight(name + "k_norm"), c["rms_norm_eps"])
            if c["clip_qkv"] is not None:
                q, k, v = (np.clip(part, -c["clip_qkv"], c["clip_qkv"]) for part in (q, k, v))
        q, k, v = q.reshape(-1, heads, size), k.reshape(-1, kv_heads, size), v.reshape(-1, kv_heads, size)
        if self.kind == "qwen3_moe" or self.kind == "glm4_moe" and c["use_qk_norm"]:  # each head alone
            q = rms_norm(q, self.weight(name + "q_norm"), c["rms_norm_eps"])
            k = rms_norm(k, self.weight(name + "k_norm"), c["rms_norm_eps"])
        q, k = self.rotated([q, k], layer)
        return self.attend(q, k, v, 1 / np.sqrt(x.dtype.type(size)), layer)

    def attend(self, q, k, v, scale, layer):
        heads, out = q.shape[1], np.zeros(q.shape[:2] + v.shape[2:], q.dtype)
        for token in range(len(q)):
            seen = slice(self.first_seen(layer, token), token + 1)
            for head in range(heads):
                shared = head // (heads // k.shape[1])
                score = k[seen, shared] @ q[token, head] * q.dtype.type(scale)
                out[token, head] = softmax(score) @ v[seen, shared]
        return self.linear(out.reshape(len(q), -1), f"model.layers.{layer}.self_attn.o_proj")

    def choose(self, x, name):
        """The experts of each token and their weights."""
        c, kind = self.config, self.kind
        logits = x @ self.weight(name + "gate").T
        scores = softmax(logits)
        by = scores
        if kind in ("glm4_moe", "deepseek_v3"):
            scores = 1 / (1 + np.exp(-logits))
            by = scores + self.weights[name + "gate.e_score_correction_bias"]
            by = variants.leave_out_groups(by, c["n_group"], c["topk_group"], "top2_sum")
        if kind == "deepseek_v2" and c["topk_method"] == "group_limited_greedy":
            by = variants.leave_out_groups(by, c["n_group"], c["topk_group"], "max")
        # A stable sort of the negated scores: on a tie the lower index comes first.
        chosen = np.argsort(-by, axis=-1, kind="stable")[:, : c["num_experts_per_tok"]]
        weights = np.take_along_axis(scores, chosen, -1)
        if kind == "mixtral" or kind != "deepseek_v2" and c["norm_topk_prob"]:
            weights = weights / weights.sum(-1, keepdims=True)
        return chosen, weights * c.get("routed_scaling_factor", 1)

    def weighed_inputs(self, x, layer):
        """llama4: the weight stands on the expert's input, and a shared expert beside."""
        c, name = self.config, f"model.layers.{layer}.feed_forward."
        logits, width = x @ self.weight(name + "router").T, c["intermediate_size"]
        y = gated_mlp(x, *(self.weight(f"{name}shared_expert.{part}") for part in PARTS))
        both, down = self.weights[name + "experts.gate_up_proj"], self.weights[name + "experts.down_proj"]
        for token in range(len(x)):
            for expert in np.argsort(-logits[token], kind="stable")[: c["num_experts_per_tok"]]:
                row = x[token] / (1 + np.exp(-logits[token, expert]))
                y[token] += gated_mlp(row, both[expert, :, :width].T, both[expert, :, width:].T, down[expert].T)
        return y

    def experts(self, x, layer):
        c = self.config
        name = f"model.layers.{layer}." + ("block_sparse_moe." if self.kind == "mixtral" else "mlp.")
        parts = ("w1", "w3", "w2") if self.kind == "mixtral" else PARTS
        chosen, weights = self.choose(x, name)
        y = np.zeros_like(x)
        for token in range(len(x)):
            for expert, weight in zip(chosen[token], weights[token]):
                bank = [self.weight(f"{name}experts.{expert}.{part}") for part in parts]
                y[token] += weight * gated_mlp(x[token], *bank)
        if self.kind == "qwen2_moe":
            shared = gated_mlp(x, *(self.weight(f"{name}shared_expert.{part}") for part in parts))
            y += shared / (1 + np.exp(-(x @ self.weight(name + "shared_expert_gate").T)))
        if c.get("n_shared_experts"):
            y += gated_mlp(x, *(self.weight(f"{name}shared_experts.{part}") for part in parts))
        return y

    def feed_forward(self, x, layer):
        c = self.config
        if self.kind.startswith("qwen") and (
            layer in c["mlp_only_layers"] or c["num_experts"] == 0 or (layer + 1) % c["decoder_sparse_step"]
        ) or layer < c.get("first_k_dense_replace", 0):
            name = f"model.layers.{layer}.mlp."
            return gated_mlp(x, *(self.weight(name + part) for part in PARTS))
        if self.kind == "llama4_text":
            step, name = c["interleave_moe_layer_step"], f"model.layers.{layer}.feed_forward."
            if layer in c["moe_layers"] if c["moe_layers"] is not None else (layer + 1) % step == 0:
                return self.weighed_inputs(x, layer)
            return gated_mlp(x, *(self.weight(name + part) for part in PARTS))
        return self.experts(x, layer)

    def forward(self, tokens):
        """Logits [tokens, vocabulary] and the hidden states after the embedding and each layer."""
        epsilon = self.config["rms_norm_eps"]
        x = self.weight("model.embed_tokens")[np.asarray(tokens)]
        hidden = [x]
        for layer in range(self.config["num_hidden_layers"]):
            name = f"model.layers.{layer}."
            x = x + self.attention(rms_norm(x, self.weight(name + "input_layernorm"), epsilon), layer)
            x = x + self.feed_forward(rms_norm(x, self.weight(name + "post_attention_layernorm"), epsilon), layer)
            hidden.append(x)
        x = rms_norm(x, self.weight("model.norm"), epsilon)
        hidden[-1] = x  # as transformers reports it: the last state is normalised
        head = "model.embed_tokens" if self.config["tie_word_embeddings"] else "lm_head"
        return x @ self.weight(head).T, hidden

    def generate(self, tokens, count):
        """Greedy continuation, and how far the best logit stood above the second at each step."""
        ids, margins = list(tokens), []
        for _ in range(count):
            last = self.forward(ids)[0][-1]
            best = np.sort(last)[::-1]
            margins.append(float(best[0] - best[1]) if len(best) > 1 else float("inf"))
            ids.append(int(np.argmax(last)))
        return ids[len(tokens) :], margins


def relative_error(got, want):
    return float(np.abs(got - want).max() / np.abs(want).max())


def check(decoder, folder, tolerance):
    expected = safetensors.load(os.path.join(folder, "expected.safetensors"))
    logits, hidden = decoder.forward(expected["prompt"])
    errors = {"logits": relative_error(logits, expected["logits"])}
    for layer, state in enumerate(hidden):
        if f"hidden.{layer}" in expected:
            errors[f"hidden.{layer}"] = relative_error(state, expected[f"hidden.{layer}"])
    ids, _ = decoder.generate(expected["prompt"], len(expected["generated"]))
    same = ids == expected["generated"].tolist()
    print(" ".join(f"{name} {error:.1e}" for name, error in errors.items()), "tokens", "same" if same else "differ")
    return same and max(errors.values()) <= tolerance


def main(make=Decoder):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--tokens")
    parser.add_argument("--logits")
    parser.add_argument("--generate", type=int, default=0)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--tolerance", type=float, default=2e-6)
    parser.add_argument("--float32", action="store_true")
    options = parser.parse_args()
    decoder = make(options.folder, np.float32 if options.float32 else np.float64)
    if options.check:
        sys.exit(0 if check(decoder, options.folder, options.tolerance) else 1)
    tokens = np.load(options.tokens)
    if options.logits:
        np.save(options.logits, decoder.forward(tokens)[0].astype(np.float32))
    if options.generate:
        print(*decoder.generate(tokens, options.generate)[0])


if __name__ == "__main__":
    main()
