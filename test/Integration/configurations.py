"""Compiles random checkpoints of unusual sizes and compares the programs with the NumPy decoder.

configurations.py TOOLS SCRATCH CASE... [-- MOE_COMPILE_FLAG...]
"""
import os

import numpy as np

import harness
from harness import Failure
import fused
from decoder import Decoder
from fused import FusedDecoder
from make_checkpoint import make

YARN = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "beta_fast": 32.0, "beta_slow": 1.0,
        "mscale": 1.0, "mscale_all_dim": 0.7}

# Each case differs from the defaults of make_checkpoint (hidden size 52, expert width 37, 7 experts: multiples of
# nothing) in what its name says. `tokens` is the length of the prompt.
CASES = {
    "granitemoe-odd-sizes": dict(kind="granitemoe"),
    "granitemoe-top-1-biases": dict(kind="granitemoe", num_experts_per_tok=1, attention_bias=True, hidden_act="gelu",
                                    storage="f16", modern=True, drop=["embedding_multiplier", "logits_scaling"]),
    "granitemoe-all-experts-tied": dict(kind="granitemoe", num_experts_per_tok=7, tie_word_embeddings=True,
                                        hidden_act="gelu_pytorch_tanh", storage="bf16"),
    "dbrx-odd-sizes": dict(kind="dbrx"),
    "dbrx-top-1-kept": dict(kind="dbrx", attn_config={"kv_n_heads": 2}, storage="f16", shards=2, ffn_config={
        "ffn_hidden_size": 37, "moe_num_experts": 7, "moe_top_k": 1, "moe_normalize_expert_weights": None,
        "ffn_act_fn": {"name": "relu"}}),
    "dbrx-all-experts": dict(kind="dbrx", storage="bf16", modern=True, ffn_config={
        "ffn_hidden_size": 33, "moe_num_experts": 5, "moe_top_k": 5, "ffn_act_fn": {"name": "quick_gelu"}}),
    "phimoe-odd-sizes": dict(kind="phimoe"),
    "phimoe-two-experts-no-biases": dict(kind="phimoe", num_local_experts=2, attention_bias=False, lm_head_bias=False,
                                         router_jitter_noise=0.0, storage="f16"),
    "phimoe-window-3": dict(kind="phimoe", sliding_window=3, num_local_experts=16, num_experts_per_tok=1, modern=True,
                            storage="bf16", tokens=161),
    "phimoe-longrope": dict(kind="phimoe", rope_scaling={
        "type": "longrope", "short_factor": [1.0, 1.1, 1.5, 2.0, 3.5], "long_factor": [1.0, 2.0, 4.0, 8.0, 16.0],
        "short_mscale": 1.2, "long_mscale": 1.4, "original_max_position_embeddings": 64}),
    "gpt_oss-odd-sizes": dict(kind="gpt_oss"),
    "gpt_oss-top-1-window-3": dict(kind="gpt_oss", sliding_window=3, num_experts_per_tok=1, num_hidden_layers=3,
                                   rope_scaling={"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16},
                                   storage="f16", tokens=161),
    "gpt_oss-all-experts-full": dict(kind="gpt_oss", layer_types=["full_attention"] * 2, num_experts_per_tok=7,
                                     attention_bias=False, tie_word_embeddings=True, storage="bf16", modern=True,
                                     drop=["rope_parameters", "swiglu_limit"]),
    "mixtral-odd-sizes": dict(kind="mixtral"),
    "mixtral-one-expert": dict(kind="mixtral", num_local_experts=1, num_experts_per_tok=1),
    "mixtral-64-experts": dict(kind="mixtral", num_local_experts=64, num_experts_per_tok=5, tokens=161),
    "mixtral-all-experts": dict(kind="mixtral", num_experts_per_tok=7),
    "mixtral-top-1": dict(kind="mixtral", num_experts_per_tok=1),
    "mixtral-window-3": dict(kind="mixtral", sliding_window=3),
    "mixtral-window-7": dict(kind="mixtral", sliding_window=7, tokens=161),
    "mixtral-f16": dict(kind="mixtral", storage="f16", shards=3),
    "mixtral-one-token": dict(kind="mixtral", tokens=1),
    "mixtral-heads-of-34": dict(kind="mixtral", head_dim=34, num_attention_heads=6, num_key_value_heads=2),
    "mixtral-tiny": dict(kind="mixtral", hidden_size=2, intermediate_size=1, head_dim=2, num_attention_heads=1,
                         num_hidden_layers=1, vocab_size=5, tokens=9),
    "mixtral-defaults": dict(kind="mixtral", drop=["sliding_window", "rms_norm_eps", "tie_word_embeddings",
                             "num_experts_per_tok", "rope_theta", "hidden_act"], rope_theta=1e6),
    "olmoe-odd-sizes": dict(kind="olmoe"),
    "olmoe-clip-qkv": dict(kind="olmoe", clip_qkv=0.5, num_key_value_heads=1, num_attention_heads=2),
    "olmoe-renormalised": dict(kind="olmoe", norm_topk_prob=True, num_experts=64, num_experts_per_tok=8, storage="bf16"),
    "olmoe-tied": dict(kind="olmoe", tie_word_embeddings=True, modern=True),
    "qwen2_moe-odd-sizes": dict(kind="qwen2_moe"),
    "qwen2_moe-dense-between": dict(kind="qwen2_moe", num_hidden_layers=4, decoder_sparse_step=2, mlp_only_layers=[3],
                                    tokens=161),
    "qwen2_moe-window": dict(kind="qwen2_moe", use_sliding_window=True, sliding_window=7, max_window_layers=2,
                             num_hidden_layers=3, modern=True),
    "qwen2_moe-f16": dict(kind="qwen2_moe", storage="f16", norm_topk_prob=True, num_experts=1, num_experts_per_tok=1),
    "qwen3_moe-odd-sizes": dict(kind="qwen3_moe"),
    "qwen3_moe-dense-first": dict(kind="qwen3_moe", num_hidden_layers=3, mlp_only_layers=[0, 2], modern=True),
    "qwen3_moe-all-experts": dict(kind="qwen3_moe", num_experts_per_tok=7, norm_topk_prob=False),
    "qwen3_moe-window-bias-tied": dict(kind="qwen3_moe", use_sliding_window=True, sliding_window=3, attention_bias=True,
                                       tie_word_embeddings=True, storage="bf16", shards=2),
    "glm4_moe-odd-sizes": dict(kind="glm4_moe"),
    "glm4_moe-quarter-rotary": dict(kind="glm4_moe", head_dim=24, partial_rotary_factor=0.25, use_qk_norm=False,
                                    attention_bias=False, n_group=1, topk_group=1, n_shared_experts=2, modern=True),
    "glm4_moe-all-dense-but-one": dict(kind="glm4_moe", num_hidden_layers=3, first_k_dense_replace=2, storage="f16",
                                       rope_scaling={"type": "linear", "factor": 2.0}, norm_topk_prob=False),
    "glm4_moe-no-dense-bf16": dict(kind="glm4_moe", first_k_dense_replace=0, storage="bf16", n_group=2, topk_group=1,
                                   num_experts_per_tok=1),
    "deepseek_v2-odd-sizes": dict(kind="deepseek_v2"),
    "deepseek_v2-two-dense-f16": dict(kind="deepseek_v2", num_hidden_layers=3, first_k_dense_replace=2, q_lora_rank=13,
                                      topk_method="greedy", num_experts_per_tok=6, n_shared_experts=1, storage="f16"),
    "deepseek_v2-groups-compressed": dict(kind="deepseek_v2", topk_method="group_limited_greedy", n_group=3, topk_group=1,
                                          q_lora_rank=13, first_k_dense_replace=0, storage="bf16", modern=True,
                                          rope_scaling=YARN),
    "deepseek_v3-odd-sizes": dict(kind="deepseek_v3"),
    "deepseek_v3-halves-uncompressed": dict(kind="deepseek_v3", rope_interleave=False, q_lora_rank=None, n_group=2,
                                            topk_group=1, n_shared_experts=2, attention_bias=True, rope_scaling=YARN),
    "deepseek_v3-two-dense-f16": dict(kind="deepseek_v3", num_hidden_layers=3, first_k_dense_replace=2, n_group=1,
                                      topk_group=1, norm_topk_prob=False, storage="f16", tokens=161),
    "deepseek_v3-no-dense-bf16": dict(kind="deepseek_v3", first_k_dense_replace=0, n_group=3, topk_group=1,
                                      num_experts_per_tok=1, storage="bf16", modern=True),
    "llama4_text-odd-sizes": dict(kind="llama4_text"),
    "llama4_text-all-experts-f16": dict(kind="llama4_text", num_experts_per_tok=5, attention_chunk_size=7, storage="f16",
                                        num_hidden_layers=3, no_rope_layer_interval=3),
    "llama4_text-chunks-of-7-top-2": dict(kind="llama4_text", attention_chunk_size=7, num_experts_per_tok=2,
                                          num_hidden_layers=3, use_qk_norm=False, tokens=53, modern=True,
                                          interleave_moe_layer_step=2, storage="bf16"),
    "llama4_text-no-chunks": dict(kind="llama4_text", attention_chunk_size=None, attn_temperature_tuning=False,
                                  attention_bias=True, moe_layers=[0],
                                  rope_scaling={"type": "llama3", "factor": 4.0, "low_freq_factor": 1.0,
                                                "high_freq_factor": 4.0, "original_max_position_embeddings": 64}),
}
SEED = 11


def drop_keys(folder, keys):
    """Takes keys out of config.json: what is absent has the architecture's default."""
    import json

    path = os.path.join(folder, "config.json")
    with open(path) as file:
        config = json.load(file)
    with open(path, "w") as file:
        json.dump({key: value for key, value in config.items() if key not in keys}, file)


def test_case(tools, scratch, name, flags):
    case = dict(CASES[name])
    tokens, dropped = case.pop("tokens", 37), case.pop("drop", [])
    folder = os.path.join(scratch, "checkpoint")
    make(folder, seed=SEED, **case)
    drop_keys(folder, dropped)
    decoder = FusedDecoder(folder) if case["kind"] in fused.KINDS else Decoder(folder)
    prompt = np.random.default_rng(SEED).integers(3, decoder.config["vocab_size"], tokens)
    want, _ = decoder.forward(prompt)
    program = harness.compile_program(tools, folder, os.path.join(scratch, "program"), flags)

    logits = program.logits(prompt)
    error = harness.check_close("logits", logits, want.astype(np.float32))
    # Greedy choices are compared as long as they are clear-cut in float64.
    ids, margins = decoder.generate(prompt, 8)
    clear = next((i for i, m in enumerate(margins) if m < 1e-3 * np.abs(want).max()), len(ids))
    got = program.generate(prompt, 8)
    if got[:clear] != ids[:clear]:
        raise Failure(f"greedy tokens {got}, expected {ids} (the first {clear} are clear-cut)")
    for length in sorted({1, max(1, tokens // 2)}):
        harness.check_bits(f"the first {length} tokens alone", program.logits(prompt[:length]), logits[:length])
    harness.check_bits("decoding", program.logits(prompt, "--prefill-chunk", "1", "--poison-cache"), logits)
    harness.check_bits("--threads 1", program.logits(prompt, "--threads", "1"), logits)
    print(f"{name}: error {error:.1e}, {clear} greedy tokens and all bits the same")


if __name__ == "__main__":
    harness.main_of_cases(CASES, SEED, test_case, __doc__)
