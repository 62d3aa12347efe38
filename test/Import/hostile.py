#!/usr/bin/env python3
"""Broken and hostile inputs of the compiler: each must give one clear line, a non-zero exit, and no file.

hostile.py COMPILER SCRATCH [NAME...]      (names of cases; without: all)
"""
import json
import os
import shutil
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "Reference"))
import make_checkpoint

COMPILER, SCRATCH = sys.argv[1], os.path.abspath(sys.argv[2])
FOLDER, OUTPUT = os.path.join(SCRATCH, "model"), os.path.join(SCRATCH, "out.mlir")
CASES = []


def case(expected, kind="mixtral", **overrides):
    """Registers a case: a function that breaks a good checkpoint folder, and what the message must hold."""

    def register(function):
        CASES.append((function.__name__, expected, kind, overrides, function))
        return function

    return register


def path(name):
    return os.path.join(FOLDER, name)


def write(name, data):
    with open(path(name), "wb") as file:
        file.write(data if isinstance(data, bytes) else data.encode())


def read_tensors(name="model.safetensors"):
    with open(path(name), "rb") as file:
        data = file.read()
    size = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def write_tensors(header, data, name="model.safetensors"):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    write(name, struct.pack("<Q", len(text)) + text + data)


def config_case(name, expected, kind="mixtral", raw=None, drop=(), **values):
    """A case that changes keys of config.json; `raw` replaces the text of one value."""

    def change():
        with open(path("config.json")) as file:
            config = json.load(file)
        config.update(values)
        for key in drop:
            del config[key]
        text = json.dumps(config)
        write("config.json", text.replace('"RAW"', raw) if raw else text)

    CASES.append((name, expected, kind, {}, change))


def header_case(name, expected):
    """Registers a function from the header and data of the file to new ones."""

    def register(function):
        def change():
            header, data = read_tensors()
            result = function(header, data)
            write_tensors(*(result if isinstance(result, tuple) else (header, data)))

        CASES.append((name, expected, "mixtral", {}, change))
        return function

    return register


# config.json
config_case("hidden_size_zero", "'hidden_size': expected a whole number from 1", hidden_size=0)
config_case("hidden_size_negative", "'hidden_size': expected a whole number from 1", hidden_size=-64)
config_case("hidden_size_huge", "'hidden_size': expected a whole number", hidden_size="RAW", raw="1e300")
config_case("hidden_size_beyond_64_bits", "'hidden_size'", hidden_size="RAW", raw="18446744073709551616")
config_case("hidden_size_text", "'hidden_size': expected a whole number from 1 to 16777216, got '\"64\"'", hidden_size="64")
config_case("hidden_size_fraction", "'hidden_size': expected a whole number", hidden_size=52.5)
config_case("hidden_size_other", "expected shape [", hidden_size=54)
config_case("layers_many", "'num_hidden_layers': expected a whole number", num_hidden_layers=10**12)
config_case("layers_more_than_stored", "no tensor 'model.layers.2.", num_hidden_layers=3)
config_case("heads_not_divisible", "expected a multiple of 'num_key_value_heads'", num_attention_heads=3, num_key_value_heads=2)
config_case("heads_zero", "'num_attention_heads'", num_attention_heads=0)
config_case("head_size_odd", "'head_dim': expected an even number", head_dim=9)
config_case("experts_zero", "'num_local_experts': expected a whole number from 1", num_local_experts=0)
config_case("experts_more_than_stored", "expected shape [8, 52]", num_local_experts=8)
config_case("experts_contradict", "'num_experts' is 6 and 'num_local_experts' is 7", num_experts=6)
config_case("slots_more_than_experts", "'num_experts_per_tok': expected a whole number from 1 to 7, got '8'", num_experts_per_tok=8)
config_case("slots_zero", "'num_experts_per_tok': expected a whole number from 1", num_experts_per_tok=0)
config_case("vocabulary_other", "tensor 'model.embed_tokens.weight': expected shape [98, 52]", vocab_size=98)
config_case("activation_unknown", "'hidden_act': expected gelu, gelu_fast, gelu_new, gelu_pytorch_tanh, quick_gelu, relu, "
            "sigmoid, silu, swish, got 'laplace'", hidden_act="laplace")
config_case("epsilon_text", "'rms_norm_eps': expected a number", rms_norm_eps="small")
config_case("epsilon_infinite", "config.json", rms_norm_eps="RAW", raw="1e999")
config_case("epsilon_nan", "expected JSON", rms_norm_eps="RAW", raw="NaN")
config_case("window_zero", "'sliding_window': expected a whole number from 1", sliding_window=0)
config_case("rotary_unknown", "'rope_type': expected default, linear, llama3 or yarn, got 'spiral'", rope_scaling={"type": "spiral"})
config_case("rotary_list", "'rope_scaling': expected an object", rope_scaling=[1])
config_case("rotary_per_kind_of_layer", "expected one set of parameters for all layers",
            rope_parameters={"full_attention": {"rope_theta": 1e4}})
config_case("rotary_share_elsewhere", "'partial_rotary_factor': expected 1", partial_rotary_factor=0.5)
config_case("rotary_base_negative", "'rope_theta'", rope_theta=-1)
config_case("context_zero", "'max_position_embeddings'", max_position_embeddings=0)
config_case("end_text", "'eos_token_id': expected whole numbers", eos_token_id="end")
config_case("tied_text", "'tie_word_embeddings': expected true or false", tie_word_embeddings="yes")
config_case("model_type_unknown", "qwen2_moe, qwen3_moe, got 'gpt2'", model_type="gpt2")
config_case("model_type_absent", "'model_type': expected one of ", drop=("model_type",))
config_case("model_type_control_characters", "got 'a\\x0a\\x1b[31m'", model_type="a\n\033[31m")
config_case("clip_negative", "'clip_qkv': expected a number above 0", kind="olmoe", clip_qkv=-1)
config_case("layer_types_length", "'layer_types': expected 2 entries", kind="qwen2_moe", layer_types=["full_attention"])
config_case("layer_types_unknown", "expected full_attention or sliding_attention", kind="qwen2_moe", layer_types=["full_attention", "x"])
config_case("groups_that_do_not_divide", "'n_group': expected a divisor of the number of experts, 6, got 4", kind="glm4_moe",
            n_group=4)
config_case("groups_too_few", "'topk_group': expected groups that hold 5 experts for each token, got 2 of 2", kind="glm4_moe",
            num_experts_per_tok=5)
config_case("rotary_share_odd", "'partial_rotary_factor': expected an even number of entries", kind="glm4_moe",
            partial_rotary_factor=0.3)
config_case("key_heads_of_latents", "'num_key_value_heads': expected as many as 'num_attention_heads', 3, got 1",
            kind="deepseek_v3", num_key_value_heads=1)
config_case("rotary_scale_infinite", "rotary embedding: expected 'attention_factor', 'mscale' and 'mscale_all_dim' to give "
            "finite scales", kind="deepseek_v3",
            rope_scaling={"type": "yarn", "factor": 4.0, "mscale": 1.0, "mscale_all_dim": 1e308})
config_case("score_unknown", "'scoring_func': expected 'sigmoid', got 'softmax'", kind="deepseek_v3", scoring_func="softmax")
config_case("choice_unknown", "'topk_method': expected greedy or group_limited_greedy, got 'random'", kind="deepseek_v2",
            topk_method="random")
config_case("slots_absent", "'num_experts_per_tok': expected a number, got none", kind="deepseek_v2",
            drop=("num_experts_per_tok",))
config_case("latent_other", "kv_b_proj.weight': expected shape [57, 15]", kind="deepseek_v3", kv_lora_rank=15)
config_case("chunk_absent", "'attention_chunk_size': expected a number, since layer 0 sees chunks", kind="llama4_text",
            attention_chunk_size=None, layer_types=["chunked_attention", "full_attention"])
config_case("rotary_layers_length", "'no_rope_layers': expected 2 entries", kind="llama4_text", no_rope_layers=[1])
config_case("model_type_with_known_tensors", "got 'new'; it has the tensors of 'qwen3_moe', whose blocks are the nearest",
            kind="qwen3_moe", model_type="new")
config_case("model_type_with_more_tensors", "got 'new'; it has the tensors of 'glm4_moe' and 4 that those do not have, as "
            "'model.layers.0.self_attn.k_norm.weight', whose blocks are the nearest", kind="glm4_moe", model_type="new",
            drop=("use_qk_norm",))
config_case("model_type_with_other_tensors", "got 'new'\n", kind="qwen3_moe", model_type="new", hidden_size=54)
config_case("dense_layer_beyond", "'mlp_only_layers'", kind="qwen3_moe", mlp_only_layers=[7])
config_case("sparse_step_zero", "'decoder_sparse_step'", kind="qwen3_moe", decoder_sparse_step=0)
config_case("longrope_factors", "'rope_scaling': 'short_factor': expected 5 numbers, got 2", kind="phimoe",
            rope_scaling={"type": "longrope", "short_factor": [1.0, 2.0], "original_max_position_embeddings": 64})
config_case("norm_order", "'ffn_config': 'moe_normalize_expert_weights': expected 1, 2 or null, got 3", kind="dbrx",
            ffn_config={"ffn_hidden_size": 37, "moe_num_experts": 7, "moe_normalize_expert_weights": 3})
config_case("nested_text", "'attn_config': expected an object", kind="dbrx", attn_config="x")
config_case("nested_activation", "'ffn_act_fn': 'name': expected gelu, ", kind="dbrx", ffn_config={"ffn_act_fn": {"name": "x"}})
config_case("tied_dbrx", "'tie_word_embeddings': expected false for dbrx", kind="dbrx", tie_word_embeddings=True)
config_case("logits_scaling_zero", "'logits_scaling': expected another number than 0", kind="granitemoe", logits_scaling=0)
config_case("window_missing", "'sliding_window': expected a number, since layer 0 has a window", kind="gpt_oss", sliding_window=None)
config_case("quantized", "'quantization_config': expected a checkpoint in F32, F16 or BF16, got one quantized by 'mxfp4'",
            quantization_config={"quant_method": "mxfp4"})
config_case("quantized_text", "'quantization_config': expected an object", quantization_config="mxfp4")
config_case("nested_deeply", "brackets nested deeper than 256", extra="RAW", raw="[" * 3_000_000)
config_case("key_twice", "key 'hidden_size' stands twice", extra="RAW", raw='1, "hidden_size": 64')


@case("expected a checkpoint folder with config.json")
def config_missing():
    os.remove(path("config.json"))


@case("config.json: expected a regular file")
def config_is_folder():
    os.remove(path("config.json"))
    os.mkdir(path("config.json"))


@case("config.json: expected JSON")
def config_empty():
    write("config.json", b"")


@case("config.json: expected JSON")
def config_not_utf8():
    write("config.json", b'{"model_type": "\xff\xfe"}')


@case("config.json: expected a JSON object")
def config_list():
    write("config.json", b"[]")


@case("config.json: expected JSON")
def config_cut():
    with open(path("config.json"), "rb") as file:
        write("config.json", file.read()[:-2])


# model.safetensors
@case("expected model.safetensors or model.safetensors.index.json")
def weights_missing():
    os.remove(path("model.safetensors"))


@case("expected a safetensors file of at least 8 bytes, got 0")
def weights_empty():
    write("model.safetensors", b"")


@case("expected a regular file")
def weights_pipe():
    os.remove(path("model.safetensors"))
    os.mkfifo(path("model.safetensors"))


@case("expected a regular file")
def weights_folder():
    os.remove(path("model.safetensors"))
    os.mkdir(path("model.safetensors"))


@case("the header's length is 18446744073709551615 bytes")
def header_length_all_ones():
    write("model.safetensors", b"\xff" * 64)


@case("the header's length is 9223372036854775807 bytes")
def header_length_beyond_file():
    write("model.safetensors", struct.pack("<Q", 2**63 - 1) + b"{}")


@case("header: expected JSON")
def header_not_json():
    write_tensors(b"hello", b"")


@case("expected the header to be a JSON object")
def header_list():
    write_tensors(b"[]", b"")


@case("header: line 1: brackets nested deeper than 256")
def header_nested_deeply():
    write_tensors(b"[" * 3_000_000, b"")


@case("key 'a' stands twice")
def header_name_twice():
    entry = b'{"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}'
    write_tensors(b'{"a": ' + entry + b', "a": ' + entry + b"}", b"")


@header_case("data_cut", "is it cut?")
def _(header, data):
    return header, data[:-1]


@header_case("data_extra", "bytes of data, as the header says, got")
def _(header, data):
    return header, data + b"\0"


@header_case("tensor_missing", "no tensor 'model.norm.weight'")
def _(header, data):
    header["other"] = header.pop("model.norm.weight")


def entry_case(name, expected, **values):
    @header_case(name, expected)
    def _(header, data):
        for key, value in values.items():
            if value is None:
                del header["model.norm.weight"][key]
            else:
                header["model.norm.weight"][key] = value


entry_case("type_unknown", "unknown dtype 'F31'; expected one of F32, BF16", dtype="F31")
entry_case("type_number", "tensor 'model.norm.weight': expected dtype (text)", dtype=32)
entry_case("type_absent", "tensor 'model.norm.weight': expected dtype (text)", dtype=None)
entry_case("type_integer", "tensor 'model.norm.weight': expected F32, F16 or BF16, got I32", dtype="I32")
entry_case("shape_other", "tensor 'model.norm.weight': expected shape [52], as config.json says, got [26, 2]", shape=[26, 2])
entry_case("shape_of_many_dimensions", "got [1, 1, 1, 1, 1, 1, 1, 1, ...]", shape=[1] * 1000 + [52])
entry_case("shape_negative", "expected whole numbers from 0", shape=[-52])
entry_case("shape_fraction", "expected whole numbers from 0", shape=[52.5])
entry_case("shape_overflows", "expected a shape of less than 2^63 bytes", shape=[2**62, 2**62])
entry_case("shape_overflows_to_size", "expected a shape of less than 2^63 bytes", shape=[52, 2**32, 2**32])
entry_case("shape_zero_hides_overflow", "expected a shape of less than 2^63 bytes", shape=[0, 2**62, 2**62])
entry_case("offsets_negative", "expected data_offsets [begin, end]", data_offsets=[-208, 0])
entry_case("offsets_descend", "expected data_offsets [begin, end]", data_offsets=[208, 0])
entry_case("offsets_three", "expected data_offsets [begin, end]", data_offsets=[0, 4, 8])
entry_case("offsets_overflow", "expected data_offsets [begin, end]", data_offsets=[2**64 - 208, 2**64])
entry_case("offsets_beyond", "is it cut?", data_offsets=[2**62, 2**62 + 208])
entry_case("offsets_overlap", "where the tensor before ends", data_offsets=[0, 208])
entry_case("offsets_wrong_size", "dtype and shape need 208 bytes, data_offsets hold 204", data_offsets=[0, 204])


@header_case("bank_of_two_types", "expected the storage type of")
def _(header, data):
    # The first expert's matrix in half the bytes, and the rest of them under another name.
    name = "model.layers.0.block_sparse_moe.experts.0.w1.weight"
    begin, end = header[name]["data_offsets"]
    middle = (begin + end) // 2
    header["rest"] = {"dtype": "U8", "shape": [end - middle], "data_offsets": [middle, end]}
    header[name].update(dtype="BF16", data_offsets=[begin, middle])


# Shards
def index_case(name, expected):
    def register(function):
        def change():
            with open(path("model.safetensors.index.json")) as file:
                index = json.load(file)
            write("model.safetensors.index.json", json.dumps(function(index) or index))

        CASES.append((name, expected, "mixtral", {"shards": 2}, change))
        return function

    return register


@index_case("index_without_map", "expected an object 'weight_map'")
def _(index):
    del index["weight_map"]


@index_case("index_empty", "expected tensors in 'weight_map', got none")
def _(index):
    index["weight_map"] = {}


@index_case("shard_number", "expected the name of a .safetensors file in the same folder, got no text")
def _(index):
    index["weight_map"]["model.norm.weight"] = 3


SHARDS = ("../model.safetensors", "/etc/passwd", "..", "a/b.safetensors", "a\0.safetensors", ".safetensors",
          "a" * 5000 + ".safetensors")
for number, shard in enumerate(SHARDS):

    @index_case(f"shard_leaves_folder_{number}", "expected the name of a .safetensors file in the same folder")
    def _(index, shard=shard):
        index["weight_map"]["model.norm.weight"] = shard


@index_case("shard_missing", "other.safetensors: cannot open: No such file or directory")
def _(index):
    index["weight_map"]["model.norm.weight"] = "other.safetensors"


@index_case("shard_without_tensor", "no tensor 'model.norm.weight', which the index places here")
def _(index):
    index["weight_map"]["model.norm.weight"] = index["weight_map"]["model.embed_tokens.weight"]


@index_case("index_without_tensor", "no tensor 'model.norm.weight'")
def _(index):
    del index["weight_map"]["model.norm.weight"]


# IR
def text_case(name, expected, text):
    CASES.append((name, expected, None, {}, text))


text_case("ir_syntax", "input.mlir:1:", "func.func @f( {")
text_case("ir_unknown_op", "input.mlir:1:1: ", "nothing.here")
text_case("ir_garbage", "input.mlir", b"\x00\x01\xff" * 100)
text_case("ir_bytecode_cut", "input.mlir", b"ML\xefR\x06\x00")
text_case("ir_nested_lists", "line 1: brackets nested deeper than 256", '"a.b"() {x = ' + "[" * 200_000)
text_case("ir_nested_types", "line 2: brackets nested deeper than 256", "\nfunc.func private @f(" + "tuple<" * 200_000)
text_case("ir_nested_regions", "brackets nested deeper than 256", "builtin.module {" * 200_000)
text_case("ir_chained_minus", "more than 4096 operators", "#m = affine_map<(d0) -> (" + "-" * 200_000 + "d0)>")
text_case("ir_chained_plus", "more than 4096 operators", "#m = affine_map<(d0) -> (d0" + " + d0" * 200_000 + ")>")
text_case("ir_dimension_beyond", "input.mlir:3:8: 'tensor.dim' op expected the index of a dimension of 'tensor<4xf32>', got 1",
          "func.func @f(%x: tensor<4xf32>) -> index {\n  %i = arith.constant 1 : index\n  %d = tensor.dim %x, %i : tensor<4xf32>\n"
          "  return %d : index\n}\n")
# A verifier that shows the whole operation.
text_case("ir_long_message", "input.mlir:2:3: block with no terminator, has ", "func.func @f(%x: i32, %c: i1) {\n  scf.if %c {\n" +
          "".join(f"    %y{i} = arith.addi %x, %x : i32\n" for i in range(99)) + "  }\n}\n")
# The parser destroys the case before the use of its value. That value lies in so much memory that it is given back to
# the system at once, and cannot be written to any more.
text_case("ir_use_before_region", "input.mlir:6:3: custom op 'scf.index_switch' expected 'default'",
          "func.func @f(%i: index) {\n  %y = arith.addi %x#0, %x#0 : i32\n  scf.index_switch %i\n  case 0 {\n    %x:20000 = "
          "func.call @g() : () -> (" + ", ".join(["i32"] * 20000) + ") scf.yield }\n  return\n}\n")
text_case("ir_invalid", "input.mlir:1:", "func.func @f() -> i32 { return }")


def run(name, expected, kind, overrides, change):
    """What is wrong with the compiler's answer, or nothing."""
    shutil.rmtree(SCRATCH, ignore_errors=True)
    os.makedirs(SCRATCH)
    source = FOLDER
    if kind:
        make_checkpoint.make(FOLDER, kind, **overrides)
        change()
    else:
        source = os.path.join(SCRATCH, "input.mlir")
        with open(source, "wb") as file:
            file.write(change if isinstance(change, bytes) else change.encode())
    before = sorted(os.listdir(SCRATCH))
    try:
        done = subprocess.run([COMPILER, source, "--emit=moe", "-o", OUTPUT], capture_output=True, timeout=600)
    except subprocess.TimeoutExpired:
        return "still running after 60 s"
    message = done.stderr.decode(errors="replace")
    if done.returncode <= 0:
        return f"exit status {done.returncode}, expected a positive one; it said {message[:300]!r}"
    if done.returncode >= 128 or "Stack dump" in message or "Sanitizer" in message:
        return f"crashed: {message[:2000]}"
    if expected not in message:
        return f"expected {expected!r} in the message, got {message[:500]!r}"
    if message.count("\n") > 2 or len(message) > 1000:
        return f"expected one or two lines, got {message[:500]!r}"
    if sorted(os.listdir(SCRATCH)) != before:
        return f"left files behind: {sorted(os.listdir(SCRATCH))}"
    return None


def main():
    chosen = [entry for entry in CASES if not sys.argv[3:] or entry[0] in sys.argv[3:]]
    failures = 0
    for entry in chosen:
        problem = run(*entry)
        if problem:
            failures += 1
            print(f"{entry[0]}: {problem}")
    print(f"{len(chosen) - failures} of {len(chosen)} inputs were refused as they should be")
    sys.exit(failures != 0 or not chosen)


main()
