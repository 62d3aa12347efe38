#!/usr/bin/env python3
"""The decoders whose checkpoints keep several matrices in one tensor, in plain NumPy: granitemoe, dbrx, phimoe, gpt_oss.

fused.py FOLDER ...        the command line of decoder.py
Reads each layout where it lies, one token and one expert at a time; shares nothing with the compiler.
"""
import numpy as np

import decoder
from decoder import Decoder, rms_norm, softmax
from tensors import load_checkpoint

# Defaults of each architecture's configuration class in transformers.
DEFAULTS = {
    "granitemoe": {
        "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": None, "rms_norm_eps": 1e-6, "rope_theta": 1e4,
        "num_local_experts": 8, "num_experts_per_tok": 2, "attention_bias": False, "embedding_multiplier": 1.0,
        "attention_multiplier": 1.0, "residual_multiplier": 1.0, "logits_scaling": 1.0,
    },
    "dbrx": {
        "vocab_size": 32000, "d_model": 2048, "n_layers": 24, "n_heads": 16, "rope_theta": 1e4,
    },
    "phimoe": {
        "vocab_size": 32064, "hidden_size": 4096, "intermediate_size": 6400, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-5, "rope_theta": 1e6,
        "num_local_experts": 16, "sliding_window": None, "router_jitter_noise": 0.01, "attention_bias": False,
        "lm_head_bias": False,
    },
    "gpt_oss": {
        "vocab_size": 201088, "hidden_size": 2880, "intermediate_size": 2880, "num_hidden_layers": 36,
        "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64, "rms_norm_eps": 1e-5, "rope_theta": 1.5e5,
        "num_local_experts": 128, "num_experts_per_tok": 4, "sliding_window": 128, "layer_types": None,
        "attention_bias": True, "swiglu_alpha": 1.702, "swiglu_limit": 7.0,
    },
}
YARN = {"rope_type": "yarn", "factor": 32.0, "original_max_position_embeddings": 4096, "truncate": False}


def complete(config):
    """The configuration under one set of names, absent keys filled in."""
    kind = config["model_type"]
    full = {"hidden_act": "silu", "head_dim": None, "tie_word_embeddings": False, **DEFAULTS[kind], **config}
    if kind == "dbrx":
        inner = {"kv_n_heads": 1, "clip_qkv": None, **(config.get("attn_config") or {})}
        outer = {"ffn_hidden_size": 3584, "moe_num_experts": 4, "moe_top_k": 1, "moe_normalize_expert_weights": 1.0,
                 **(config.get("ffn_config") or {})}
        full.update(
            hidden_size=full["d_model"], num_hidden_layers=full["n_layers"], num_attention_heads=full["n_heads"],
            num_key_value_heads=inner["kv_n_heads"], clip_qkv=inner["clip_qkv"], rms_norm_eps=1e-5,
            intermediate_size=outer["ffn_hidden_size"], num_local_experts=outer["moe_num_experts"],
            num_experts_per_tok=outer["moe_top_k"], norm_order=outer["moe_normalize_expert_weights"],
            hidden_act=(outer.get("ffn_act_fn") or {}).get("name", "silu"),
        )
    if kind == "phimoe":
        full["num_experts_per_tok"] = 2  # whatever the file says
    rope = config.get("rope_parameters") or config.get("rope_scaling") or (YARN if kind == "gpt_oss" else {})
    full["rope"] = {"rope_theta": full["rope_theta"], "rope_type": rope.get("type", "default"), **rope}
    full["num_key_value_heads"] = full["num_key_value_heads"] or full["num_attention_heads"]
    full["head_dim"] = full["head_dim"] or full["hidden_size"] // full["num_attention_heads"]
    return full


def frequencies(rope, size):
    """Angle per position of each pair, and what cosine and sine are multiplied by."""
    base = rope["rope_theta"] ** (-np.arange(0, size, 2) / size)
    if rope["rope_type"] == "default":
        return base, 1.0
    if rope["rope_type"] == "longrope":  # of a sequence within the first context
        return base / np.array(rope["short_factor"]), rope["short_mscale"]
    # yarn: slow pairs are interpolated, fast ones are left, a ramp between.
    turns = lambda count: size * np.log(rope["original_max_position_embeddings"] / (count * 2 * np.pi)) / (
        2 * np.log(rope["rope_theta"]))
    low, high = turns(rope.get("beta_fast", 32.0)), turns(rope.get("beta_slow", 1.0))
    if rope.get("truncate", True):
        low, high = np.floor(low), np.ceil(high)
    low, high = max(low, 0), min(high, size - 1)
    ramp = np.clip((np.arange(size // 2) - low) / max(high - low, 0.001), 0, 1)
    return base / rope["factor"] * ramp + base * (1 - ramp), 0.1 * np.log(rope["factor"]) + 1


def rotate(x, rope):
    """[tokens, heads, size]: element i turns with element i + size / 2."""
    half = x.shape[-1] // 2
    frequency, factor = frequencies(rope, x.shape[-1])
    angle = (np.arange(len(x))[:, None] * frequency)[:, None]
    cos, sin = (factor * np.cos(angle)).astype(x.dtype), (factor * np.sin(angle)).astype(x.dtype)
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)


def gelu(x):
    from math import erf  # NumPy has none

    return x * (1 + np.vectorize(erf)(x / np.sqrt(2)).astype(x.dtype)) / 2


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


ACTIVATIONS = {
    "silu": lambda x: x * sigmoid(x),
    "gelu": gelu,
    "gelu_pytorch_tanh": lambda x: x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2,
    "quick_gelu": lambda x: x * sigmoid(1.702 * x),
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": sigmoid,
}


class FusedDecoder(Decoder):
    def __init__(self, folder, dtype=np.float64):
        config, weights = load_checkpoint(folder)
        self.config, self.kind = complete(config), config["model_type"]
        self.weights = {name: tensor.astype(dtype, copy=False) for name, tensor in weights.items()}

    def prefix(self, layer):
        return f"transformer.blocks.{layer}." if self.kind == "dbrx" else f"model.layers.{layer}."

    def norm(self, x, name):
        epsilon = x.dtype.type(self.config["rms_norm_eps"])
        if self.kind in ("granitemoe", "gpt_oss"):
            return rms_norm(x, self.weight(name), epsilon)
        y = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + epsilon) * self.weight(name)
        return y + self.weights[name + ".bias"] if self.kind == "phimoe" else y

    def window(self, layer):
        c = self.config
        if self.kind == "phimoe":
            return c["sliding_window"]
        if self.kind != "gpt_oss":
            return None
        slides = c["layer_types"][layer] == "sliding_attention" if c["layer_types"] else layer % 2 == 0
        return c["sliding_window"] if slides else None

    def attention(self, x, layer):
        c, name = self.config, self.prefix(layer)
        heads, kv_heads, size = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]
        if self.kind == "dbrx":
            rows = x @ self.weight(name + "norm_attn_norm.attn.Wqkv").T
            if c["clip_qkv"] is not None:
                rows = np.clip(rows, -c["clip_qkv"], c["clip_qkv"])
            q, k, v = np.split(rows, [heads * size, (heads + kv_heads) * size], -1)
        else:
            q, k, v = (self.linear(x, f"{name}self_attn.{part}_proj") for part in "qkv")
        q, k = rotate(q.reshape(-1, heads, size), c["rope"]), rotate(k.reshape(-1, kv_heads, size), c["rope"])
        v = v.reshape(-1, kv_heads, size)
        scale = x.dtype.type(c["attention_multiplier"] if self.kind == "granitemoe" else size**-0.5)
        sinks = self.weights.get(name + "self_attn.sinks")
        window, out = self.window(layer), np.zeros_like(q)
        for token in range(len(x)):
            first = 0 if window is None else max(0, token + 1 - window)
            for head in range(heads):
                shared = head // (heads // kv_heads)
                score = k[first : token + 1, shared] @ q[token, head] * scale
                if sinks is not None:
                    score = np.append(score, sinks[head])
                out[token, head] = softmax(score)[: token + 1 - first] @ v[first : token + 1, shared]
        output = "norm_attn_norm.attn.out_proj" if self.kind == "dbrx" else "self_attn.o_proj"
        return self.linear(out.reshape(len(x), -1), name + output)

    def choose(self, logits):
        """Experts of one token and their weights."""
        c = self.config
        if self.kind == "phimoe":
            return self.choose_in_turn(logits)
        # A stable sort of the negated logits: on a tie the lower index comes first.
        chosen = np.argsort(-logits, kind="stable")[: c["num_experts_per_tok"]]
        if self.kind != "dbrx":
            return chosen, softmax(logits[chosen])
        weights = softmax(logits)[chosen]
        return chosen, weights if c["norm_order"] is None else weights / np.linalg.norm(weights, c["norm_order"])

    def choose_in_turn(self, logits):
        """The best, then the best of the rest; each weighs as in a softmax over those that come near it."""
        left, chosen, weights = logits.copy(), [], []
        for _ in range(2):
            best = int(np.argmax(left))
            far = (left[best] - logits) / np.maximum(np.abs(logits), left[best]) > 2 * self.config["router_jitter_noise"]
            weights.append(softmax(np.where(far, -np.inf, left))[best])
            chosen.append(best)
            left[best] = -np.inf
        return chosen, weights

    def expert(self, x, block, expert):
        """What one expert makes of one row."""
        width = self.config["intermediate_size"]
        rows = slice(expert * width, (expert + 1) * width)
        if self.kind == "gpt_oss":
            both = x @ self.weights[block + "experts.gate_up_proj"][expert]
            both = both + self.weights[block + "experts.gate_up_proj_bias"][expert]
            limit = self.config["swiglu_limit"]
            gate, up = np.minimum(both[0::2], limit), np.clip(both[1::2], -limit, limit)
            middle = (up + 1) * gate * sigmoid(self.config["swiglu_alpha"] * gate)
            down = self.weights[block + "experts.down_proj"][expert]
            return middle @ down + self.weights[block + "experts.down_proj_bias"][expert]
        if self.kind == "granitemoe":
            both, down = self.weight(block + "input_linear")[expert], self.weight(block + "output_linear")[expert]
            gate, up = both[:width], both[width:]
        elif self.kind == "dbrx":
            gate, up, down = (self.weights[f"{block}experts.mlp.{part}"][rows] for part in ("w1", "v1", "w2"))
            down = down.T
        else:
            gate, up, down = (self.weight(f"{block}experts.{expert}.{part}") for part in ("w1", "w3", "w2"))
        return down @ (ACTIVATIONS[self.config["hidden_act"]](gate @ x) * (up @ x))

    def experts(self, x, layer):
        block, router = {
            "granitemoe": ("block_sparse_moe.", "router.layer"), "dbrx": ("ffn.", "router.layer"),
            "phimoe": ("block_sparse_moe.", "gate"), "gpt_oss": ("mlp.", "router"),
        }[self.kind]
        block = self.prefix(layer) + block
        y = np.zeros_like(x)
        for token, logits in enumerate(self.linear(x, block + router)):
            for expert, weight in zip(*self.choose(logits)):
                y[token] += weight * self.expert(x[token], block, expert)
        return y

    def forward(self, tokens):
        c, dbrx = self.config, self.kind == "dbrx"
        embedding = "transformer.wte" if dbrx else "model.embed_tokens"
        x = self.weight(embedding)[np.asarray(tokens)] * c.get("embedding_multiplier", 1)
        hidden, scale = [x], c.get("residual_multiplier", 1)
        norms = ("norm_attn_norm.norm_1", "norm_attn_norm.norm_2") if dbrx else (
            "input_layernorm", "post_attention_layernorm")
        for layer in range(c["num_hidden_layers"]):
            x = x + scale * self.attention(self.norm(x, self.prefix(layer) + norms[0]), layer)
            x = x + scale * self.experts(self.norm(x, self.prefix(layer) + norms[1]), layer)
            hidden.append(x)
        hidden[-1] = x = self.norm(x, "transformer.norm_f" if dbrx else "model.norm")
        logits = self.linear(x, embedding if c["tie_word_embeddings"] else "lm_head")
        return logits / c.get("logits_scaling", 1), hidden


# What make_checkpoint.py makes of each: sizes that are multiples of nothing.
KINDS = {
    "granitemoe": {"num_local_experts": 7, "head_dim": 10, "embedding_multiplier": 1.5, "attention_multiplier": 0.2,
                   "residual_multiplier": 0.7, "logits_scaling": 1.25},
    "dbrx": {"d_model": 52, "n_heads": 2, "n_layers": 2, "max_seq_len": 256, "num_attention_heads": 2,
             "attn_config": {"kv_n_heads": 1, "clip_qkv": 1.5},
             "ffn_config": {"ffn_hidden_size": 37, "moe_num_experts": 7, "moe_top_k": 3}},
    "phimoe": {"num_local_experts": 7, "head_dim": 10, "attention_bias": True, "lm_head_bias": True,
               "sliding_window": None, "router_jitter_noise": 0.1},
    "gpt_oss": {"num_local_experts": 7, "head_dim": 10, "sliding_window": 5, "attention_bias": True, "swiglu_limit": 1.0},
}


def attention_shapes(c, name):
    """The tensors of one layer's attention and norms."""
    kind, hidden, size, out = c["model_type"], c["hidden_size"], c["head_dim"], {}
    q, kv = c["num_attention_heads"] * size, c["num_key_value_heads"] * size
    if kind == "dbrx":
        name += "norm_attn_norm."
        return {
            name + "attn.Wqkv.weight": (q + 2 * kv, hidden), name + "attn.out_proj.weight": (hidden, q),
            name + "norm_1.weight": (hidden,), name + "norm_2.weight": (hidden,),
        }
    for part, shape in (("q", (q, hidden)), ("k", (kv, hidden)), ("v", (kv, hidden)), ("o", (hidden, q))):
        out[f"{name}self_attn.{part}_proj.weight"] = shape
        if c["attention_bias"]:
            out[f"{name}self_attn.{part}_proj.bias"] = shape[:1]
    if kind == "gpt_oss":
        out[name + "self_attn.sinks"] = (c["num_attention_heads"],)
    for norm in ("input_layernorm", "post_attention_layernorm"):
        out[f"{name}{norm}.weight"] = (hidden,)
        if kind == "phimoe":
            out[f"{name}{norm}.bias"] = (hidden,)
    return out


def expert_shapes(c, name):
    """The tensors of one layer's router and experts."""
    hidden, width, count = c["hidden_size"], c["intermediate_size"], c["num_local_experts"]
    if c["model_type"] == "granitemoe":
        name += "block_sparse_moe."
        return {
            name + "router.layer.weight": (count, hidden), name + "input_linear.weight": (count, 2 * width, hidden),
            name + "output_linear.weight": (count, hidden, width),
        }
    if c["model_type"] == "dbrx":
        matrices = {f"{name}ffn.experts.mlp.{part}": (count * width, hidden) for part in ("w1", "v1", "w2")}
        return {name + "ffn.router.layer.weight": (count, hidden), **matrices}
    if c["model_type"] == "phimoe":
        name, out = name + "block_sparse_moe.", {}
        for expert in range(count):
            for part, shape in (("w1", (width, hidden)), ("w2", (hidden, width)), ("w3", (width, hidden))):
                out[f"{name}experts.{expert}.{part}.weight"] = shape
        return {name + "gate.weight": (count, hidden), **out}
    name += "mlp."
    return {
        name + "router.weight": (count, hidden), name + "router.bias": (count,),
        name + "experts.gate_up_proj": (count, hidden, 2 * width), name + "experts.gate_up_proj_bias": (count, 2 * width),
        name + "experts.down_proj": (count, width, hidden), name + "experts.down_proj_bias": (count, hidden),
    }


def shapes(config):
    """Name -> shape of every tensor of the checkpoint."""
    c = complete(config)
    dbrx, table = c["model_type"] == "dbrx", (c["vocab_size"], c["hidden_size"])
    out = {"transformer.wte.weight" if dbrx else "model.embed_tokens.weight": table}
    for layer in range(c["num_hidden_layers"]):
        name = f"transformer.blocks.{layer}." if dbrx else f"model.layers.{layer}."
        out.update(attention_shapes(c, name))
        out.update(expert_shapes(c, name))
    out["transformer.norm_f.weight" if dbrx else "model.norm.weight"] = table[1:]
    if c["model_type"] == "phimoe":
        out["model.norm.bias"] = table[1:]
    if not c["tie_word_embeddings"]:
        out["lm_head.weight"] = table
    if c.get("lm_head_bias"):
        out["lm_head.bias"] = table[:1]
    return out


if __name__ == "__main__":
    decoder.main(FusedDecoder)
