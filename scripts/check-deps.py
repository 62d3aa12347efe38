#!/usr/bin/env python3
"""Checks the direction of includes: IR <- Transforms <- Conversion <- CPU | GPU <- Pipelines <- tools.

check-deps.py [ROOT]      prints each include that points the wrong way; ends with 1 if there is one
"""
import os
import re
import sys

# Layer -> what its files may include of ours, besides the layer itself.
ALLOWED = {
    "IR": set(),
    "Transforms": {"IR"},
    "Conversion": {"IR", "Transforms"},
    "CPU": {"IR", "Transforms", "Conversion"},
    "GPU": {"IR", "Transforms", "Conversion"},
    # The packer writes the file that the runtime's Program.h describes.
    "Import": {"IR", "Runtime"},
    # The emitter writes the constants that the runtime's Program.h declares, and the weights of recipes.
    "Target": {"IR", "Runtime"},
    "Pipelines": {"IR", "Transforms", "Conversion", "CPU", "GPU"},
    "Runtime": set(),
    "tools": {"IR", "Transforms", "Conversion", "CPU", "GPU", "Import", "Target", "Pipelines", "Runtime"},
}
# Folder prefixes under include/moe and lib, the longest first where one contains another.
FOLDERS = [
    ("Dialect/MoE/Transforms/", "Transforms"),
    ("Dialect/MoE/IR/", "IR"),
    ("Conversion/", "Conversion"),
    ("CPU/", "CPU"),
    ("GPU/", "GPU"),
    ("Import/", "Import"),
    ("Target/", "Target"),
    ("Pipelines/", "Pipelines"),
    ("Runtime/", "Runtime"),
]
INCLUDE = re.compile(r'^\s*#\s*include\s+[<"]([^>"]+)[>"]')
SOURCES = (".h", ".hpp", ".c", ".cpp", ".td", ".inc")


def layer_below(path):
    """The layer of a path below include/moe or lib, or None."""
    return next((layer for prefix, layer in FOLDERS if path.startswith(prefix)), None)


def layer_of_file(path):
    for start in ("include/moe/", "lib/"):
        if path.startswith(start):
            return layer_below(path[len(start):])
    return "tools" if path.startswith("tools/") else None


def check(root):
    problems = []
    for top in ("include", "lib", "tools"):
        for folder, _, files in os.walk(os.path.join(root, top)):
            for name in sorted(files):
                if name.endswith(SOURCES):
                    problems += check_file(root, os.path.relpath(os.path.join(folder, name), root))
    return problems


def check_file(root, path):
    if os.path.splitext(path)[0] == os.path.join("lib", "Precompiled"):
        return []  # headers of others that all may include
    layer = layer_of_file(path)
    if layer is None:
        return [f"{path}:1: belongs to no layer, expected one of {', '.join(sorted(ALLOWED))}"]
    problems = []
    with open(os.path.join(root, path), encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            included = match.group(1)
            if layer == "Runtime" and included.startswith(("llvm/", "llvm-c/", "mlir/", "mlir-c/")):
                problems.append(f"{path}:{number}: the runtime includes '{included}', expected no LLVM and no MLIR")
            if not included.startswith("moe/"):
                continue
            other = layer_below(included[len("moe/"):])
            if other is None:
                problems.append(f"{path}:{number}: '{included}' belongs to no layer")
            elif other != layer and other not in ALLOWED[layer]:
                problems.append(f"{path}:{number}: {layer} includes '{included}' of {other}, against the direction")
    return problems


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
    if not os.path.isdir(os.path.join(root, "include", "moe")):
        sys.exit(f"check-deps.py: '{root}' has no folder include/moe")
    problems = check(root)
    for problem in problems:
        print(problem)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
