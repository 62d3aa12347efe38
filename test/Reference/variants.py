"""Parts of decoders that only some architectures have, each written from its definition.

Rotary embedding in its variants, latent attention as keys and values of every head, and the choice of experts by
groups.
"""
import numpy as np


def rotary_parameters(config, share=1.0):
    """The parameters of rotary embedding, whatever generation of names the configuration has."""
    rope = dict(config.get("rope_scaling") or config.get("rope_parameters") or {})
    rope.setdefault("rope_theta", config["rope_theta"])
    rope.setdefault("rope_type", rope.get("type", "default"))
    rope.setdefault("partial_rotary_factor", config.get("partial_rotary_factor", share))
    rope.setdefault("original_max_position_embeddings", config.get("max_position_embeddings"))
    return rope


def yarn_scale(factor, weight):
    return 1.0 if factor <= 1 else 0.1 * weight * np.log(factor) + 1


def rotary(rope, size):
    """Angles per position, one for two entries, and the factor of cosine and sine."""
    size = int(size * rope["partial_rotary_factor"])
    frequency, kind = rope["rope_theta"] ** (-np.arange(0, size, 2) / size), rope["rope_type"]
    if kind == "default":
        return frequency, 1.0
    factor, original = rope["factor"], rope["original_max_position_embeddings"]
    if kind == "linear":
        return frequency / factor, 1.0
    if kind == "llama3":
        turns = original * frequency / (2 * np.pi)  # of each entry in the original context
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        kept = np.clip((turns - low) / (high - low), 0, 1)
        return frequency * (kept + (1 - kept) / factor), 1.0
    assert kind == "yarn", kind
    place = lambda turns: size * np.log(original / (turns * 2 * np.pi)) / (2 * np.log(rope["rope_theta"]))
    low = max(np.floor(place(rope.get("beta_fast") or 32)), 0)
    high = min(np.ceil(place(rope.get("beta_slow") or 1)), size - 1)
    kept = 1 - np.clip((np.arange(size // 2) - low) / (high - low if high != low else 0.001), 0, 1)
    scale = rope.get("attention_factor")
    if scale is None:
        one, all_dim = rope.get("mscale"), rope.get("mscale_all_dim")
        scale = yarn_scale(factor, one) / yarn_scale(factor, all_dim) if one and all_dim else yarn_scale(factor, 1)
    return frequency * (kept + (1 - kept) / factor), scale


def rotate(x, turning, pairs=False):
    """Turns the first entries of each head of [tokens, heads, size]: i with i + half, or neighbours."""
    frequency, scale = turning
    half = len(frequency)
    angle = np.arange(x.shape[0])[:, None, None] * frequency
    cos, sin = (scale * np.cos(angle)).astype(x.dtype), (scale * np.sin(angle)).astype(x.dtype)
    first, second = (slice(0, 2 * half, 2), slice(1, 2 * half, 2)) if pairs else (slice(half), slice(half, 2 * half))
    y = x.copy()
    y[..., first] = x[..., first] * cos - x[..., second] * sin
    y[..., second] = x[..., second] * cos + x[..., first] * sin
    return y


def latent_attention(decoder, x, layer, norm):
    """Queries, keys and values of all heads, expanded from the latent, and the scale of scores."""
    c, name = decoder.config, f"model.layers.{layer}.self_attn."
    heads, plain, turning, value = (c[k] for k in ("num_attention_heads", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"))
    rope = rotary_parameters(c)
    angles, pairs = rotary(rope, turning), c.get("rope_interleave", True)
    if c["q_lora_rank"] is None:
        q = decoder.linear(x, name + "q_proj")
    else:
        q = norm(decoder.linear(x, name + "q_a_proj"), decoder.weight(name + "q_a_layernorm"), 1e-6)
        q = decoder.linear(q, name + "q_b_proj")
    q = q.reshape(-1, heads, plain + turning)
    row = decoder.linear(x, name + "kv_a_proj_with_mqa")
    latent = norm(row[:, : c["kv_lora_rank"]], decoder.weight(name + "kv_a_layernorm"), 1e-6)
    both = decoder.linear(latent, name + "kv_b_proj").reshape(-1, heads, plain + value)
    turned = rotate(row[:, None, c["kv_lora_rank"] :], angles, pairs)
    k = np.concatenate([both[..., :plain], np.repeat(turned, heads, 1)], -1)
    q = np.concatenate([q[..., :plain], rotate(q[..., plain:], angles, pairs)], -1)
    scale = (plain + turning) ** -0.5
    if rope["rope_type"] != "default" and rope.get("mscale_all_dim"):
        scale *= yarn_scale(rope["factor"], rope["mscale_all_dim"]) ** 2
    return q, k, both[..., plain:], scale


def leave_out_groups(scores, groups, kept, judge):
    """Scores [tokens, experts] with minus infinity outside the `kept` best groups of each token."""
    parts = scores.reshape(len(scores), groups, -1).copy()
    best = np.sort(parts, -1)
    by = best[..., -1] if judge == "max" else best[..., -2:].sum(-1)
    chosen = np.argsort(-by, axis=-1, kind="stable")[:, :kept]
    left = np.ones(by.shape, bool)
    np.put_along_axis(left, chosen, False, -1)
    parts[left] = -np.inf
    return parts.reshape(scores.shape)


def temperature(positions, config):
    """The factor of queries where attention grows with the context."""
    return 1 + config["attn_scale"] * np.log1p(np.floor((positions + 1) / config["floor_scale"]))
