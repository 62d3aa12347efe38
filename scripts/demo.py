#!/usr/bin/env python3
"""Compiles a checkpoint whose tokens are characters and shows the program at work.

demo.py CHECKPOINT BUILD_FOLDER PROMPT
Prints what was compiled, the prompt with the program's answer, and where the time went.
"""
import json
import os
import shlex
import subprocess
import sys

import numpy as np

# Byte-level vocabularies write these bytes as visible letters.
SPELLING = {"\n": "Ċ", " ": "Ġ"}
MOST_TOKENS = 80
PROFILE_LINES = 16


def run(command):
    """Shows and runs a command; gives its standard output and error."""
    print("$ " + shlex.join(os.path.relpath(part) if os.path.isabs(part) else part for part in command), flush=True)
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{done.stderr}demo: that failed with status {done.returncode}")
    return done.stdout, done.stderr


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__.strip())
    checkpoint, build, prompt = sys.argv[1:]
    with open(os.path.join(checkpoint, "tokenizer.json"), encoding="utf-8") as file:
        vocabulary = json.load(file)["model"]["vocab"]
    spelled = [SPELLING.get(character, character) for character in "\n" + prompt]
    unknown = sorted({letter for letter in spelled if letter not in vocabulary})
    if unknown:
        sys.exit(f"demo: the example knows no {' '.join(unknown)}, expected characters of: {' '.join(vocabulary)}")
    character = {number: text for text, number in vocabulary.items()}
    character.update({vocabulary[spelling]: plain for plain, spelling in SPELLING.items() if spelling in vocabulary})

    folder = os.path.join(build, "demo")
    os.makedirs(folder, exist_ok=True)
    program, tokens = os.path.join(folder, "sums"), os.path.join(folder, "prompt.npy")
    np.save(tokens, np.array([vocabulary[letter] for letter in spelled], np.int64))

    with open(os.path.join(checkpoint, "config.json")) as file:
        config = json.load(file)
    experts = config.get("num_local_experts", config.get("num_experts"))
    print(f"\n== compiling {os.path.relpath(checkpoint)}: {config['model_type']}, {config['num_hidden_layers']} layers, "
          f"{config['num_experts_per_tok']} of {experts} experts a token, {config.get('dtype', 'float32')} weights")
    run([os.path.join(build, "bin", "moe-compile"), checkpoint, "-o", program])
    for name in sorted(os.listdir(folder)):
        print(f"  {name:14s} {os.path.getsize(os.path.join(folder, name)):>10,} bytes")
    print(run([program, "--version"])[0].rstrip())

    print("\n== running it")
    ids = run([program, "--tokens", tokens, "--generate", str(MOST_TOKENS), "--stop-at-eos"])[0].split()
    answer = "".join(character[int(number)] for number in ids).split("\n")[0]
    print(f"\n    {prompt}{answer}\n")

    print("== where the time goes")
    profile = run([program, "--tokens", tokens, "--generate", "8", "--profile"])[1].splitlines()
    print("\n".join(profile[:PROFILE_LINES]))
    if len(profile) > PROFILE_LINES:
        print(f"... and {len(profile) - PROFILE_LINES} smaller ones")


if __name__ == "__main__":
    main()
