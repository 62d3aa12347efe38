"""Gives moe-compile broken checkpoints, weights, IR and flags: each must end in one clear message and leave nothing.

bad-input.py TOOLS SCRATCH [NAME_PART]      runs the cases whose name contains NAME_PART

What is asked of every case: an exit status that is neither success nor a signal, one or two lines on standard error
that match the case's pattern, nothing on standard output, no file where the output would stand, and 20 seconds at most.
"""
import json
import os
import re
import resource
import shutil
import struct
import subprocess
import sys

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "Reference"))
import tensors as safetensors
from make_checkpoint import make

CASES = []


def case(name, pattern, kind="mixtral", **overrides):
    """Registers a function that breaks a good checkpoint folder in place, or gives the whole list of arguments."""

    def register(function):
        CASES.append((name, pattern, kind, overrides, function))
        return function

    return register


def config_case(name, pattern, edit, kind="mixtral"):
    def function(folder):
        path = os.path.join(folder, "config.json")
        with open(path) as file:
            config = json.load(file)
        result = edit(config)
        with open(path, "w") as file:
            json.dump(config if result is None else result, file)

    CASES.append((name, pattern, kind, {}, function))


def text_case(name, pattern, text, file_name="config.json"):
    def function(folder):
        with open(os.path.join(folder, file_name), "wb") as file:
            file.write(text if isinstance(text, bytes) else text.encode())

    CASES.append((name, pattern, "mixtral", {}, function))


def header_case(name, pattern, edit, padding=0):
    """Edits the header of model.safetensors; `padding` bytes are cut from the end if negative, added if positive."""

    def function(folder):
        path = os.path.join(folder, "model.safetensors")
        with open(path, "rb") as file:
            data = file.read()
        (length,) = struct.unpack("<Q", data[:8])
        header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
        edit(header)
        text = json.dumps(header).encode()
        body = body[:padding] if padding < 0 else body + bytes(padding)
        with open(path, "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text + body)

    CASES.append((name, pattern, "mixtral", {}, function))


def raw_case(name, pattern, edit):
    """Edits the bytes of model.safetensors."""

    def function(folder):
        path = os.path.join(folder, "model.safetensors")
        with open(path, "rb") as file:
            data = file.read()
        with open(path, "wb") as file:
            file.write(edit(data))

    CASES.append((name, pattern, "mixtral", {}, function))


def set_key(key, value):
    return lambda config: config.__setitem__(key, value)


FIRST = "model.layers.0.block_sparse_moe.gate.weight"

# --- config.json ---------------------------------------------------------------------------------------------------
text_case("config is empty", "config.json", "")
text_case("config is cut", "config.json", '{"model_type": "mixtral", "hidden')
text_case("config is a list", "config.json.*expected", "[1, 2]")
text_case("config nests deeply", "config.json.*(deep|nest)", "[" * 200000 + "]" * 200000)
text_case("config objects nest deeply", "config.json.*(deep|nest)", '{"a":' * 100000 + "1" + "}" * 100000)
text_case("config is binary", "config.json", bytes(range(256)))
config_case("unknown architecture", "expected one of .*gpt7_moe", set_key("model_type", "gpt7_moe"))
config_case("no architecture", "model_type", lambda c: {k: v for k, v in c.items() if k != "model_type"})
config_case("architecture is a number", "model_type", set_key("model_type", 7))
for key in ("hidden_size", "num_hidden_layers", "vocab_size", "num_local_experts", "num_attention_heads"):
    config_case(f"{key} is zero", key, set_key(key, 0))
    config_case(f"{key} is negative", key, set_key(key, -3))
    config_case(f"{key} is text", key, set_key(key, "many"))
    config_case(f"{key} is huge", ".", set_key(key, 2**62))
config_case("hidden_size is fractional", "hidden_size", set_key("hidden_size", 52.5))
config_case("hidden_size is beyond 64 bits", "hidden_size", set_key("hidden_size", 10**30))
config_case("more slots than experts", "num_experts_per_tok", set_key("num_experts_per_tok", 8))
config_case("no slots", "num_experts_per_tok", set_key("num_experts_per_tok", 0))
config_case("heads do not divide", "num_(attention|key_value)_heads|num_key_value_heads", set_key("num_key_value_heads", 2))
config_case("odd head size", "head_dim", set_key("head_dim", 9))
config_case("window is negative", "sliding_window", set_key("sliding_window", -1))
config_case("activation is unknown", "hidden_act", set_key("hidden_act", "warp"))
config_case("epsilon is negative", "rms_norm_eps", set_key("rms_norm_eps", -1.0))
config_case("theta is text", "rope_theta", set_key("rope_theta", "big"))
config_case("rope scaling is not supported", "rope", set_key("rope_scaling", {"type": "spiral", "factor": 2.0}))
config_case("dense layer out of range is text", "mlp_only_layers", set_key("mlp_only_layers", ["x"]), kind="qwen3_moe")
config_case("sparse step is zero", "decoder_sparse_step", set_key("decoder_sparse_step", 0), kind="qwen2_moe")


@case("no config", "config.json")
def no_config(folder):
    os.remove(os.path.join(folder, "config.json"))


@case("no weights", "safetensors")
def no_weights(folder):
    os.remove(os.path.join(folder, "model.safetensors"))


@case("config is a folder", "config.json")
def config_is_folder(folder):
    os.remove(os.path.join(folder, "config.json"))
    os.mkdir(os.path.join(folder, "config.json"))


# --- safetensors ---------------------------------------------------------------------------------------------------
raw_case("weights are empty", "model.safetensors", lambda d: b"")
raw_case("weights are seven bytes", "model.safetensors", lambda d: d[:7])
raw_case("header longer than the file", "header", lambda d: struct.pack("<Q", 2**40) + d[8:])
raw_case("header length overflows", "header", lambda d: struct.pack("<Q", 2**64 - 1) + d[8:])
raw_case("header of no length", "header|JSON|object", lambda d: struct.pack("<Q", 0) + d[8:])
raw_case("header is no JSON", "model.safetensors", lambda d: d[:8] + b"x" * 100 + d[108:])
raw_case("header nests deeply", "(deep|nest)", lambda d: struct.pack("<Q", 400000) + b"[" * 200000 + b"]" * 200000)
raw_case("bytes are cut", "model.safetensors", lambda d: d[:-10])
raw_case("bytes are added", "model.safetensors", lambda d: d + b"0123456789")
header_case("tensor is missing", re.escape(FIRST), lambda h: h.__setitem__("other", h.pop(FIRST)))
header_case("offsets are negative", "offset", lambda h: h[FIRST].__setitem__("data_offsets", [-8, 8]))
header_case("offsets are reversed", "offset", lambda h: h[FIRST]["data_offsets"].reverse())
header_case("offsets overflow", "offset", lambda h: h[FIRST].__setitem__("data_offsets", [2**63, 2**64 - 1]))
header_case("offsets are three", "offset", lambda h: h[FIRST]["data_offsets"].append(1))
header_case("offsets are text", "offset", lambda h: h[FIRST].__setitem__("data_offsets", ["a", "b"]))
header_case("offsets overlap", "expected data from byte", lambda h: h["model.norm.weight"].__setitem__("data_offsets", [0, 208]))
header_case("type is unknown", "F99", lambda h: h[FIRST].__setitem__("dtype", "F99"))
header_case("type is wrong for weights", "I64|type", lambda h: h[FIRST].update(dtype="I64"))
header_case("shape does not fit the bytes", "shape|bytes", lambda h: h[FIRST]["shape"].append(2))
header_case("shape overflows", "shape|large|overflow", lambda h: h[FIRST].__setitem__("shape", [2**40, 2**40]))
header_case("shape is negative", "shape", lambda h: h[FIRST].__setitem__("shape", [-7, -52]))
header_case("shape is transposed", "shape|52x7|7x52", lambda h: h[FIRST].__setitem__("shape", [52, 7]))
header_case("entry is a number", ".", lambda h: h.__setitem__(FIRST, 5))
header_case("shape is missing", "shape", lambda h: h[FIRST].pop("shape"))


def write_index(folder, weight_map, **more):
    with open(os.path.join(folder, "model.safetensors.index.json"), "w") as file:
        json.dump({"metadata": {}, "weight_map": weight_map, **more}, file)


@case("shard leaves the folder", r"\.\./", shards=2)
def shard_leaves(folder):
    write_index(folder, {FIRST: "../model.safetensors"})


@case("shard has an absolute name", "/etc/passwd", shards=2)
def shard_absolute(folder):
    write_index(folder, {FIRST: "/etc/passwd"})


@case("shard is missing", "model-00002-of-00002.safetensors", shards=2)
def shard_missing(folder):
    os.remove(os.path.join(folder, "model-00002-of-00002.safetensors"))


@case("index is no object", "index.json", shards=2)
def index_list(folder):
    with open(os.path.join(folder, "model.safetensors.index.json"), "w") as file:
        file.write("[]")


@case("index maps to a number", "index.json", shards=2)
def index_number(folder):
    write_index(folder, {FIRST: 5})


@case("index names a tensor its shard lacks", re.escape(FIRST) + "|no_such", shards=2)
def index_lies(folder):
    path = os.path.join(folder, "model.safetensors.index.json")
    with open(path) as file:
        index = json.load(file)
    index["weight_map"][FIRST] = "model-00002-of-00002.safetensors"
    with open(path, "w") as file:
        json.dump(index, file)


# --- IR ------------------------------------------------------------------------------------------------------------
def ir_case(name, pattern, text, flags=()):
    def function(folder):
        path = os.path.join(os.path.dirname(folder), "input.mlir")
        with open(path, "wb") as file:
            file.write(text if isinstance(text, bytes) else text.encode())
        return [path, *flags]

    CASES.append((name, pattern, None, {}, function))


GOOD = "func.func @f(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {\n  return %x : tensor<?x4xf32>\n}\n"
ir_case("IR is text", ".", "hello\n")
ir_case("IR is empty", ".", "")
ir_case("IR is cut", ".", GOOD[:-3])
ir_case("IR is cut bytecode", ".", b"ML\xefR\x0d\x01\x02\x03\x04")
ir_case("IR nests types", "(deep|nest)", "func.func @f(%x: " + "tuple<" * 100000 + "i32" + ">" * 100000 + ")\n")
ir_case("IR nests attributes", "(deep|nest)", "module attributes {a = " + "[" * 100000 + "]" * 100000 + "} {}\n")
ir_case("IR nests regions", "(deep|nest)", "module {" * 50000 + "}" * 50000)
ir_case("IR nests parentheses in maps", "(deep|nest)", "#m = affine_map<(d0) -> (" + "(" * 100000 + "d0" + ")" * 100000 + ")>\n")
ir_case("IR has an unknown op", "frobnicate", "func.func @f() {\n  moe.frobnicate\n  return\n}\n")
ir_case("IR is invalid", "x|type", "func.func @f(%x: i32) -> f32 {\n  return %x : i32\n}\n")
ir_case("IR has an argument type programs cannot take", "complex|type|argument",
        "func.func @f(%x: tensor<4xcomplex<f32>>) -> tensor<4xcomplex<f32>> {\n  return %x : tensor<4xcomplex<f32>>\n}\n")
ir_case("IR without functions", "function", "module {}\n")
WEIGHT = ('ml_program.global private @w(#moe.source<"w", tensor<4xf32>>) : tensor<4xf32>\n'
          "func.func @f() -> tensor<4xf32> {\n  %w = ml_program.global_load_const @w : tensor<4xf32>\n"
          "  return %w : tensor<4xf32>\n}\n")
ir_case("weights are not given", "--weights", WEIGHT, ["--moe-reference"])
ir_case("weights file is missing", "no-such.safetensors", WEIGHT, ["--weights=/no-such.safetensors"])


def arguments_case(name, pattern, *arguments):
    def function(folder):
        path = os.path.join(os.path.dirname(folder), "good.mlir")
        with open(path, "w") as file:
            file.write(GOOD)
        return [path if a == "GOOD" else a for a in arguments]

    CASES.append((name, pattern, None, {}, function))


# --- flags ---------------------------------------------------------------------------------------------------------
arguments_case("no input", "input")
arguments_case("input does not exist", "no-such", "/no-such.mlir")
arguments_case("input is of an unknown kind", ".", "/etc/hostname")
arguments_case("two inputs", "argument|input", "GOOD", "GOOD")
arguments_case("unknown flag", "--frobnicate", "GOOD", "--frobnicate")
arguments_case("misspelled flag", "(?i)did you mean.*--emit", "GOOD", "--emti=exe")
arguments_case("unknown kind of output", "'elf'.*expected", "GOOD", "--emit=elf")
arguments_case("unknown stage", "'later'.*expected", "GOOD", "--stop-after=later")
arguments_case("unknown CPU", "quantum9", "GOOD", "--cpu=quantum9")
arguments_case("CPU without FMA", "x86-64|FMA|fma", "GOOD", "--cpu=x86-64")
arguments_case("unknown target", "'tpu'.*expected", "GOOD", "--target=tpu")


def limit_files(name):
    """For the case of that name, what lets writes fail as on a full disk beyond some bytes, or None."""
    found = re.search(r"does not fit in (\d+)", name)
    return found and (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (int(found.group(1)),) * 2))


def output_case(name, pattern, output):
    def function(folder):
        path = os.path.join(os.path.dirname(folder), "good.mlir")
        with open(path, "w") as file:
            file.write(GOOD)
        scratch = os.path.dirname(folder)
        if output == "PIPE":
            os.mkfifo(os.path.join(scratch, "PIPE"))
        return [path, "-o", os.path.join(scratch, output)]

    CASES.append((name, pattern, None, {}, function))


output_case("output folder does not exist", "no/such", "/no/such/folder/program")
output_case("output is a folder", "/tmp", "/tmp")
output_case("output is a pipe", "PIPE.*expected|regular", "PIPE")
# Header of the weights, their data, object file, program: each of them is the first that has no room.
for limit in (0, 100, 5000, 65536, 250000):
    output_case(f"output does not fit in {limit} bytes", "File too large|File size limit", "PROGRAM")
output_case("output lies in a file", "hostname", "/etc/hostname/program")




def same_case(name, text, *arguments):
    """Inputs and outputs with one name: the file must be as before."""

    def function(folder):
        for file in ("same", "same.weights"):
            with open(os.path.join(os.path.dirname(folder), file), "w") as stream:
                stream.write(text)
        return [a.replace("SCRATCH", os.path.dirname(folder)) for a in arguments]

    CASES.append((name, "same(.weights)?' is an input, expected another name", None, {}, function))


same_case("output is the input", GOOD, "SCRATCH/same", "-o", "SCRATCH/same")
same_case("output is the input by another path", GOOD, "SCRATCH/same", "-o", "SCRATCH/out/../same")
same_case("output is the weights", "{}", "/no-such.mlir", "--weights=SCRATCH/same", "-o", "SCRATCH/same")
same_case("weights are the weights", "{}", "/no-such.mlir", "--weights=SCRATCH/same.weights", "-o", "SCRATCH/same")


@case("output is the tensors of the checkpoint", "model.safetensors' is an input")
def output_is_tensors(folder):
    return [folder, "-o", os.path.join(folder, "model.safetensors")]


def run_case(tools, scratch, name, pattern, kind, overrides, function):
    """The problems of one case, as text."""
    shutil.rmtree(scratch, ignore_errors=True)
    folder, out = os.path.join(scratch, "checkpoint"), os.path.join(scratch, "out")
    os.makedirs(out)
    if kind:
        make(folder, kind, num_hidden_layers=1, **overrides)
    arguments = function(folder)
    if not isinstance(arguments, list):
        arguments = [folder]
    if "-o" not in arguments:
        arguments += ["-o", os.path.join(out, "program")]
    command = [os.path.join(tools, "moe-compile"), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=600,
                              preexec_fn=limit_files(name))
    except subprocess.TimeoutExpired:
        return "did not end within a minute"
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    problems = []
    if done.returncode < 0 or done.returncode >= 128:
        problems.append(f"ended by a signal ({done.returncode})")
    if done.returncode == 0:
        problems.append("succeeded")
    if not 1 <= len(lines) <= 2:
        problems.append(f"wrote {len(lines)} lines to standard error, expected one or two")
    if not re.search(pattern, done.stderr):
        problems.append(f"said nothing that matches '{pattern}'")
    if done.stdout:
        problems.append("wrote to standard output")
    left = [f for f in os.listdir(out) + os.listdir(scratch) if "program" in f.lower()]
    if left:
        problems.append(f"left {left}")
    return f"{'; '.join(problems)}:\n    " + "\n    ".join(line[:300] for line in lines[:6]) if problems else ""


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__.strip())
    tools, scratch, part = sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else ""
    chosen = [entry for entry in CASES if part in entry[0]]
    failed = 0
    for entry in chosen:
        problem = run_case(tools, os.path.abspath(scratch), *entry)
        if problem:
            failed += 1
            print(f"{entry[0]}: {problem}")
    print(f"{len(chosen) - failed} of {len(chosen)} bad inputs refused as they should be")
    sys.exit(1 if failed or not chosen else 0)


if __name__ == "__main__":
    main()
