"""Compares PTX of several chips behind its first lines, which name the chip: same_kernels.py PTX PTX..."""
import sys


def kernels(path):
    with open(path) as file:
        return file.read().split(".address_size 64\n", 1)[1]


first, *others = sys.argv[1:]
for other in others:
    if kernels(other) != kernels(first):
        sys.exit(f"the kernels of {other} are not those of {first}")
