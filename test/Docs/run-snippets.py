"""Runs a page of the documentation as a reader would: writes its files, runs its commands, compares its output.

run-snippets.py PAGE.md TOOLS SCRATCH
Fenced blocks, in the order of the page, all in the folder SCRATCH:
  ```LANGUAGE file=NAME   becomes the file NAME
  ```sh                   runs with `sh -eu`, TOOLS first on PATH, and must end with 0
  ```LANGUAGE output      an excerpt of what the last ```sh block printed: each line must be found, in this order;
                          `...` stands for anything, blanks count as one
Other blocks are only to be read.
"""
import os
import re
import shutil
import subprocess
import sys

FENCE = re.compile(r"^```(\S*)[ \t]*(.*?)\n(.*?)^```[ \t]*$", re.DOTALL | re.MULTILINE)
TIMEOUT_SECONDS = 600


class Failure(Exception):
    """What does not work; the text says where in the page."""


def run(commands, folder, tools, where):
    path = os.pathsep.join([tools, "/usr/bin", "/bin"])
    try:
        done = subprocess.run(["sh", "-eu"], input=commands, cwd=folder, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=TIMEOUT_SECONDS, env={**os.environ, "PATH": path})
    except subprocess.TimeoutExpired:
        raise Failure(f"{where}: timed out after {TIMEOUT_SECONDS} s:\n{commands}") from None
    if done.returncode:
        raise Failure(f"{where}: exit status {done.returncode}:\n{commands}{done.stdout[-4000:]}")
    return done.stdout


def compare(excerpt, printed, where):
    """Finds the lines of `excerpt` in `printed`, one after the other."""
    lines = iter([" ".join(line.split()) for line in printed.splitlines()])
    for line in excerpt.splitlines():
        wanted = " ".join(line.split())
        if wanted in ("", "..."):
            continue
        pattern = re.compile(".*".join(re.escape(part) for part in re.split(r" ?\.\.\. ?", wanted)))
        if not any(pattern.fullmatch(got) for got in lines):
            raise Failure(f"{where}: not in the output after the lines before it:\n  {wanted}\noutput:\n{printed[-4000:]}")


def run_page(page, tools, folder):
    with open(page) as file:
        text = file.read()
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    printed, counts = None, {"files": 0, "commands": 0, "excerpts": 0}
    for block in FENCE.finditer(text):
        language, info, body = block.groups()
        where = f"{page}:{text.count(chr(10), 0, block.start()) + 1}"
        if info.startswith("file="):
            name = info.removeprefix("file=")
            if os.path.basename(name) != name:
                raise Failure(f"{where}: expected a file name without folders, got '{name}'")
            with open(os.path.join(folder, name), "w") as file:
                file.write(body)
            counts["files"] += 1
        elif info == "output":
            if printed is None:
                raise Failure(f"{where}: output before any command")
            compare(body, printed, where)
            counts["excerpts"] += 1
        elif info:
            raise Failure(f"{where}: expected 'file=NAME' or 'output', got '{info}'")
        elif language == "sh":
            printed = run(body, folder, tools, where)
            counts["commands"] += 1
    if not counts["commands"]:
        raise Failure(f"{page}: no ```sh block")
    return counts


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__.strip())
    try:
        found = run_page(sys.argv[1], *map(os.path.abspath, sys.argv[2:]))
    except Failure as failure:
        sys.exit(str(failure))
    print(", ".join(f"{count} {what}" for what, count in found.items()))
