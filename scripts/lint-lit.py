#!/usr/bin/env python3
"""Finds FileCheck lines that prove less than they seem to.

lint-lit.py FILE_OR_FOLDER...     prints each finding; ends with 1 if there is one

  raw-ssa       a check names a value as the printer happens to number it (%0, %arg1, %c0)
  label         a file whose checks lie in several functions has no CHECK-LABEL for one of its functions
  not-anchor    a CHECK-NOT is not followed by a positive check of its function, so it may look at nothing
  capture       a captured value that no later check uses
  prefix        a check group that no RUN line names, or a RUN line that runs FileCheck in a file without checks
  diagnostics   an expected-error file runs without -verify-diagnostics
"""
import os
import re
import sys

CHECK = re.compile(r"(?://|#|;)\s*([A-Z][A-Z0-9_-]*?)(-LABEL|-NEXT|-SAME|-NOT|-DAG|-EMPTY|-COUNT-\d+)?(\{[^}]*\})?:(?!:)(.*)")
DEFAULT_PREFIX = "CHECK"
RAW_SSA = re.compile(r"(?<![\w{\[])%(?:\d+\b|arg\d+\b|c-?\d+(?:_\w+)?\b|cst(?:_\d+)?\b)")
CAPTURE = re.compile(r"\[\[(#?)(\$?)([A-Za-z_]\w*):")
USE = re.compile(r"\[\[#?\s*(\$?)([A-Za-z_]\w*)[^\]:]*\]\]")
FUNCTION = re.compile(r"^\s*(?:func\.func|llvm\.func)\s+(?:private\s+|public\s+)?@([\w.$-]+)[^{]*(\{?)")


class Check:
    def __init__(self, number, prefix, kind, text):
        self.number, self.prefix, self.kind, self.text = number, prefix, kind or "", text


def run_lines(lines):
    """The RUN lines with continuations joined."""
    joined, current = [], ""
    for line in lines:
        match = re.search(r"(?://|#|;)?\s*RUN:\s*(.*)$", line)
        if not match:
            continue
        text = match.group(1).rstrip()
        current += text[:-1] if text.endswith("\\") else text
        if not text.endswith("\\"):
            joined.append(current)
            current = ""
    return joined + ([current] if current else [])


def prefixes_of(runs):
    """The check prefixes that FileCheck commands of the RUN lines read from this very file."""
    named = set()
    for run in runs:
        for command in re.split(r"\|\|?|&&|;", run):
            if not re.search(r"\bFileCheck\b", command):
                continue
            found = re.findall(r"--?check-prefix(?:es)?[= ]([\w,-]+)", command)
            named |= {name for group in found for name in group.split(",")} or {DEFAULT_PREFIX}
    return named


def read_checks(lines, prefixes):
    checks = []
    for number, line in enumerate(lines, 1):
        match = CHECK.search(line)
        if match and match.group(1) != "RUN" and match.group(1) in prefixes:
            checks.append(Check(number, match.group(1), match.group(2), match.group(4)))
    return checks


def looks_like_check(lines, prefixes):
    """Check groups by their spelling (NAME-LABEL:, NAME-NEXT: ... or CHECK...:) that no RUN line names."""
    for number, line in enumerate(lines, 1):
        match = CHECK.search(line)
        if not match or match.group(1) in prefixes:
            continue
        if match.group(2) or match.group(1).startswith("CHECK"):
            yield number, match.group(1)


def lint_prefix_group(path, checks):
    """One prefix's checks, in order."""
    captured = {}  # name -> line of a capture not used yet
    for index, check in enumerate(checks):
        for match in RAW_SSA.finditer(check.text):
            yield check.number, "raw-ssa", f"'{match.group(0)}' is the printer's name, capture the value instead"
        if check.kind == "-LABEL":
            for name, line in captured.items():
                yield line, "capture", f"'{name}' is captured and never used"
            captured = {}
        if check.kind == "-NOT":
            following = next((c for c in checks[index + 1:] if c.kind != "-NOT"), None)
            # Without labels, "nowhere in the rest of the file" is a claim too, once something was found.
            whole_file = following is None and index and not any(c.kind == "-LABEL" for c in checks)
            if (following is None or following.kind == "-LABEL") and not whole_file:
                yield check.number, "not-anchor", "no positive check follows in the same function"
        # Uses first: in `[[A:%.+]] = op [[A]]` the use means the older value.
        captures = [m for m in CAPTURE.finditer(check.text)]
        starts = {m.start() for m in captures}
        for match in USE.finditer(check.text):
            if match.start() not in starts:
                captured.pop(match.group(2), None)
        for match in captures:
            if not match.group(2) and not match.group(3).startswith("_"):
                captured[match.group(3)] = check.number
        # A value used on the very line that captures it counts as used.
        for match in USE.finditer(check.text):
            if match.start() not in starts:
                captured.pop(match.group(2), None)
    for name, line in captured.items():
        yield line, "capture", f"'{name}' is captured and never used"


def lint_labels(lines, checks):
    """Each function that holds checks in its reach has a label of its own."""
    if not checks or not any(check.kind == "-LABEL" for check in checks):
        functions = [m.group(1) for m in map(FUNCTION.match, lines) if m and m.group(2)]
        if len(functions) > 1 and len(checks) > 1:  # one check is an error's message, or one fact of the file
            yield checks[0].number, "label", f"{len(functions)} functions and no CHECK-LABEL"
        return
    # Between two functions defined in the file that both have checks, a label must stand.
    last_label, last_function = None, None
    marks = {check.number: check for check in checks}
    for number, line in enumerate(lines, 1):
        match = FUNCTION.match(line)
        if match and match.group(2):
            last_function = number
        check = marks.get(number)
        if check is None:
            continue
        if check.kind == "-LABEL":
            last_label, last_function = number, None
        elif last_label is None and last_function is not None:
            yield number, "label", "this check stands in a function before the first CHECK-LABEL"
            return


def lint_file(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        lines = file.read().splitlines()
    runs = run_lines(lines)
    if not runs:
        return
    prefixes = prefixes_of(runs)
    checks = read_checks(lines, prefixes)
    for number, name in looks_like_check(lines, prefixes):
        yield number, "prefix", f"no RUN line reads '{name}'"
    for prefix in sorted(prefixes):
        group = [check for check in checks if check.prefix == prefix]
        yield from lint_prefix_group(path, group)
        yield from lint_labels(lines, group)
    if any("expected-error" in line for line in lines) and not any("verify-diagnostics" in run for run in runs):
        yield 1, "diagnostics", "expected-error without -verify-diagnostics checks nothing"


def files_below(paths):
    for path in paths:
        if os.path.isdir(path):
            for folder, _, names in sorted(os.walk(path)):
                yield from (os.path.join(folder, n) for n in sorted(names) if n.endswith((".mlir", ".test")))
        else:
            yield path


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__.strip())
    found = False
    for path in files_below(sys.argv[1:]):
        for number, rule, text in lint_file(path):
            print(f"{path}:{number}: [{rule}] {text}")
            found = True
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
