#!/usr/bin/env python3
"""Writes docs/Systems.md from the files of test/Systems.

make-systems-doc.py [--check]     --check writes nothing and ends with 1 if the page is not what it would be

Of CHAPTER/ID.mlir it shows the comment at its top, up to five lines of its IR (those after a comment `// Shown:`, else
the first operations of the moe dialect), and which parts of the dialect it uses; of CHAPTER/ID.py the names of its traps.
Two tables follow: the traps of traps.txt with their tests, and what a routing can be made of with the systems that use it. A
name that does not exist, or an attribute without a system, is an error.
"""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TESTS = os.path.join(ROOT, "test", "Systems")
PAGE = os.path.join(ROOT, "docs", "Systems.md")
CHAPTERS = ["selection", "scores", "inputs", "batch", "bodies", "combine", "composition"]
RECIPES = {"source", "stack", "concat", "slice", "transpose", "reshape", "panels", "bank_recipe"}
ATTRIBUTES = os.path.join(ROOT, "include", "moe", "Dialect", "MoE", "IR", "MoEAttrs.td")
# Choices within attributes and operations that decide numbers: as the table names them, and how they are found.
CHOICES = ["judge = max", "judge = top2_sum", "judge = given", "excluded =", "otherwise = nothing", "otherwise = best",
           "inclusive = true", "epsilon =", "floor =", "bias(", "weigh(", "scale(", "with(k =", "with(key =", "groups(",
           "priority(token)", "priority(slot)", "priority(weight)", "scope(sequence)", "scope(request)", "scope(batch)",
           "with_weights", "moe.reweigh", "moe.spread", "moe.limit"]
LINES = 5
INTRODUCTION = """# Systems

Published Mixture-of-Experts layers as programs of the dialect, none with an operation of its own. Each is compiled by the
reference path and the fast path and compared with an oracle in NumPy (`test/Systems/README.md`). This page is made from the
tests by `scripts/make-systems-doc.py`; a test fails when it is stale.

"""
TRAPS = """## What is easily got wrong

Each trap with its tests: the system, and the name of the test in its file of traps.

| | trap | tests |
| --- | --- | --- |
"""
PARTS = """
## Numbers for every part of a routing

The systems whose numbers are compared, on both paths, for each attribute and each choice in one.

| part | systems |
| --- | --- |
"""


def heading(lines):
    """The paragraphs of the comment at the top of a test, its RUN line left out."""
    comment = []
    for line in lines:
        if not line.startswith("//"):
            break
        if "RUN:" not in line:
            comment.append(line[2:].strip())
    return "\n".join(comment).strip()


def excerpt(lines):
    """Up to five lines of the program."""
    for number, line in enumerate(lines):
        if line.strip() == "// Shown:":
            chosen = []
            for shown in lines[number + 1 :]:
                if not shown.strip() or len(chosen) == LINES:
                    break
                chosen.append(shown)
            return chosen
    chosen, inside, margin = [], False, 0
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if re.match(r"\s*(%[\w:, %]+ = )?moe\.(?!yield)", line):
            inside, margin = True, indent
        elif not line.strip() or indent <= margin:
            inside = False
        if inside and len(chosen) < LINES:
            chosen.append(line)
        inside = inside and not line.endswith("{")
    return chosen


def dedent(lines):
    margin = min((len(line) - len(line.lstrip()) for line in lines), default=0)
    return [line[margin:] for line in lines]


def features(text):
    """The operations and attributes of the dialect that the program uses, and clauses that not every program has."""
    code = re.sub(r"//.*", "", text)
    operations = re.findall(r"(?<![\w#!\".])(moe\.[a-z_]+)(?= )(?! =)", code)
    attributes = [f"#moe.{name}" for name in re.findall(r"#moe\.(\w+)", code) if name not in RECIPES]
    clauses = [word for word in ("shared", "state", "classes") if re.search(rf"^\s+(?:.*\) )?{word} ?\(", code, re.MULTILINE)]
    scopes = [f"scope = {scope}" for scope in re.findall(r"slots = \d+, scope = (\w+)", code)]
    left_out = {"moe.yield", "moe.name", "moe.role"}
    return [name for name in dict.fromkeys(operations + attributes + clauses + scopes) if name not in left_out]


def traps(path):
    with open(path) as file:
        return [name.replace("_", " ") for name in re.findall(r"^(?:def )?trap_(\w+)", file.read(), re.MULTILINE)]


def section(chapter, name):
    path = os.path.join(TESTS, chapter, name)
    with open(path + ".mlir") as file:
        text = file.read()
    lines = text.splitlines()
    used = ", ".join(f"`{feature}`" for feature in features(text))
    tested = "".join(f"\n- {trap}" for trap in traps(path + ".py"))
    shown = "\n".join(dedent(excerpt(lines)))
    return (f"### {name}\n\n{heading(lines)}\n\n```text\n{shown}\n```\n\nUses {used}. "
            f"Test: `test/Systems/{chapter}/{name}.mlir`.{' Traps:' + chr(10) + tested if tested else ''}\n\n")


def systems(chapters):
    """Chapter and name of every system, in the order of the page."""
    return [(chapter, name.removesuffix(".mlir")) for chapter in chapters
            for name in sorted(os.listdir(os.path.join(TESTS, chapter))) if name.endswith(".mlir")]


def table_of_traps(known):
    """What traps.txt lists, as a table; ends with a message if it names something that is not there."""
    tests = {name: traps(os.path.join(TESTS, chapter, name + ".py")) for chapter, name in known}
    rows = []
    path = os.path.join(TESTS, "traps.txt")
    with open(path) as file:
        lines = [line.strip() for line in file.read().split("\n\n", 1)[1].splitlines()]
    for line in lines:
        first, rest = line.split(" ", 1)
        if first.isdigit():
            rows.append((rest, []))
            if int(first) != len(rows):
                sys.exit(f"{path}: expected trap {len(rows)}, got {line!r}")
        elif first == "none":
            rows[-1][1].append(f"none: {rest}")
        elif rest.replace("_", " ") in tests.get(first, []):
            same = rows[-1][1] and rows[-1][1][-1].startswith(f"`{first}`")
            test = rest.replace("_", " ")
            rows[-1][1].append(f"`{first}`: {test}" if not same else f"{rows[-1][1].pop()}, {test}")
        else:
            sys.exit(f"{path}: no test {rest!r} of a system {first!r}")
    if not all(tested for _, tested in rows):
        sys.exit(f"{path}: a trap has neither a test nor a reason")
    return "".join(f"| {number} | {trap} | {'; '.join(tested)} |\n" for number, (trap, tested) in enumerate(rows, 1))


def table_of_parts(known):
    """Each attribute that a routing or a combination is made of, and each choice in one, with the systems that use it."""
    with open(ATTRIBUTES) as file:
        declared = re.findall(r'def MoE_\w+Attr : MoE_(?:Score|Policy|Normalization|CombineKind)<"\w+", "(\w+)"', file.read())
    rows = []
    for part in [f"#moe.{name}" for name in declared] + CHOICES:
        users = []
        for chapter, name in known:
            with open(os.path.join(TESTS, chapter, name + ".mlir")) as file:
                code = re.sub(r"//.*", "", file.read())
            if re.search(rf"{re.escape(part)}(?!\w)" if part[-1].isalnum() else re.escape(part), code):
                users.append(name)
        if not users:
            sys.exit(f"{TESTS}: no system uses {part}; it needs a test of numbers")
        more = f" and {len(users) - 4} more" if len(users) > 4 else ""
        rows.append(f"| `{part.rstrip(' =(')}` | {', '.join(users[:4])}{more} |\n")
    return "".join(rows)


def page():
    found = sorted(name for name in os.listdir(TESTS) if os.path.isdir(os.path.join(TESTS, name)) and name != "__pycache__")
    unknown = [name for name in found if name not in CHAPTERS]
    if unknown:
        sys.exit(f"{TESTS}: expected the folders {', '.join(CHAPTERS)}, got {', '.join(unknown)}")
    parts = [INTRODUCTION]
    for chapter in [name for name in CHAPTERS if name in found]:
        parts.append(f"## {chapter.capitalize()}\n\n")
        parts += [section(*system) for system in systems([chapter])]
    known = systems([name for name in CHAPTERS if name in found])
    parts.append(TRAPS + table_of_traps(known) + PARTS + table_of_parts(known))
    return "".join(parts).rstrip() + "\n"


def main():
    made = page()
    if sys.argv[1:] == ["--check"]:
        with open(PAGE) as file:
            if file.read() != made:
                sys.exit(f"{PAGE} is stale: run scripts/make-systems-doc.py")
        return
    if sys.argv[1:]:
        sys.exit(__doc__.strip())
    with open(PAGE, "w") as file:
        file.write(made)


if __name__ == "__main__":
    main()
