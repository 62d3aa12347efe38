#!/usr/bin/env python3
"""Mixture-of-experts decoders in plain NumPy: what a program compiled from a checkpoint must compute.

decoder.py FOLDER --tokens IDS.npy [--logits OUT.npy] [--generate N] [--float32]
decoder.py FOLDER --check [--tolerance T]       compares with the folder's expected.safetensors

Knows mixtral, olmoe, qwen2_moe and qwen3_moe. Written to be read: one token's attention, one expert at a
time, no cache, float64 unless told otherwise. Shares nothing with the compiler.
"""
import argparse
import os
import sys

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tensors as safetensors

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
}


def complete(config):
    """The configuration with both generations of names understood and absent keys filled in."""
    kind = config["model_type"]
    full = dict(DEFAULTS[kind], head_dim=None)
    full.update({key: value for key, value in config.items() if key != "rope_parameters"})
    if "num_local_experts" in config:
        full["num_experts"] = config["num_local_experts"]
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


def rotate(x, theta):
    """Rotary embedding of [tokens, heads, head_dim]: element i turns with element i + head_dim / 2."""
    size = x.shape[-1]
    frequency = theta ** (-np.arange(0, size, 2) / size)
    angle = np.arange(x.shape[0])[:, None] * frequency
    cos, sin = (np.concatenate([f(angle)] * 2, -1)[:, None].astype(x.dtype) for f in (np.cos, np.sin))
    half = np.concatenate([-x[..., size // 2 :], x[..., : size // 2]], -1)
    return x * cos + half * sin


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

    def attention(self, x, layer):
        c, name = self.config, f"model.layers.{layer}.self_attn."
        heads, kv_heads, size = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]
        q, k, v = (self.linear(x, name + part) for part in ("q_proj", "k_proj", "v_proj"))
        if self.kind == "olmoe":  # over all heads at once
            q = rms_norm(q, self.weight(name + "q_norm"), c["rms_norm_eps"])
            k = rms_norm(k, self.weight(name + "k_norm"), c["rms_norm_eps"])
            if c["clip_qkv"] is not None:
                q, k, v = (np.clip(part, -c["clip_qkv"], c["clip_qkv"]) for part in (q, k, v))
        q, k, v = q.reshape(-1, heads, size), k.reshape(-1, kv_heads, size), v.reshape(-1, kv_heads, size)
        if self.kind == "qwen3_moe":  # each head alone
            q = rms_norm(q, self.weight(name + "q_norm"), c["rms_norm_eps"])
            k = rms_norm(k, self.weight(name + "k_norm"), c["rms_norm_eps"])
        q, k = rotate(q, c["rope_theta"]), rotate(k, c["rope_theta"])
        window, out = self.window(layer), np.zeros_like(q)
        for token in range(len(x)):
            first = 0 if window is None else max(0, token + 1 - window)
            for head in range(heads):
                shared = head // (heads // kv_heads)
                score = k[first : token + 1, shared] @ q[token, head] / np.sqrt(x.dtype.type(size))
                out[token, head] = softmax(score) @ v[first : token + 1, shared]
        return self.linear(out.reshape(len(x), -1), name + "o_proj")

    def experts(self, x, layer):
        c = self.config
        name = f"model.layers.{layer}." + ("block_sparse_moe." if self.kind == "mixtral" else "mlp.")
        parts = ("w1", "w3", "w2") if self.kind == "mixtral" else ("gate_proj", "up_proj", "down_proj")
        scores = softmax(x @ self.weight(name + "gate").T)
        # A stable sort of the negated scores: on a tie the lower index comes first.
        chosen = np.argsort(-scores, axis=-1, kind="stable")[:, : c["num_experts_per_tok"]]
        weights = np.take_along_axis(scores, chosen, -1)
        if self.kind == "mixtral" or c["norm_topk_prob"]:
            weights = weights / weights.sum(-1, keepdims=True)
        y = np.zeros_like(x)
        for token in range(len(x)):
            for expert, weight in zip(chosen[token], weights[token]):
                bank = [self.weight(f"{name}experts.{expert}.{part}") for part in parts]
                y[token] += weight * gated_mlp(x[token], *bank)
        if self.kind == "qwen2_moe":
            shared = gated_mlp(x, *(self.weight(f"{name}shared_expert.{part}") for part in parts))
            y += shared / (1 + np.exp(-(x @ self.weight(name + "shared_expert_gate").T)))
        return y

    def feed_forward(self, x, layer):
        c = self.config
        if self.kind.startswith("qwen") and (
            layer in c["mlp_only_layers"] or c["num_experts"] == 0 or (layer + 1) % c["decoder_sparse_step"]
        ):
            name = f"model.layers.{layer}.mlp."
            return gated_mlp(x, *(self.weight(name + part) for part in ("gate_proj", "up_proj", "down_proj")))
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--tokens")
    parser.add_argument("--logits")
    parser.add_argument("--generate", type=int, default=0)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--tolerance", type=float, default=2e-6)
    parser.add_argument("--float32", action="store_true")
    options = parser.parse_args()
    decoder = Decoder(options.folder, np.float32 if options.float32 else np.float64)
    if options.check:
        sys.exit(0 if check(decoder, options.folder, options.tolerance) else 1)
    tokens = np.load(options.tokens)
    if options.logits:
        np.save(options.logits, decoder.forward(tokens)[0].astype(np.float32))
    if options.generate:
        print(*decoder.generate(tokens, options.generate)[0])


if __name__ == "__main__":
    main()
