#!/usr/bin/env python3
"""Runs lit over a configured test folder and ends with one line that counts the tests.

run-tests.py BUILD_TEST_FOLDER [LIT_OPTION...]
"""
import json
import os
import signal
import subprocess
import sys
import tempfile

LIT = "/usr/bin/lit-22"
FAILURES = ("FAIL", "XPASS", "UNRESOLVED", "TIMEOUT")
# The whole suite is to take at most a quarter of an hour on two cores; past this it hangs.
LIMIT_SECONDS = 40 * 60


def main():
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__.strip())
    folder, options = sys.argv[1], sys.argv[2:]
    if not os.path.exists(os.path.join(folder, "lit.site.cfg.py")):
        sys.exit(f"run-tests.py: '{folder}' holds no lit.site.cfg.py, expected the test folder of a configured build")

    with tempfile.TemporaryDirectory() as scratch:
        results = os.path.join(scratch, "results.json")
        # Failing tests show their commands and output; passing ones stay silent.
        command = [sys.executable, LIT, "--verbose", "--succinct", "--no-progress-bar"]
        lit = subprocess.Popen(command + ["--output", results] + options + [folder], start_new_session=True)
        try:
            status = lit.wait(LIMIT_SECONDS)
        except (subprocess.TimeoutExpired, KeyboardInterrupt) as reason:
            os.killpg(lit.pid, signal.SIGKILL)
            sys.exit(f"run-tests.py: stopped the tests: {reason or 'interrupted'}")
        if not os.path.exists(results):
            print(f"run-tests.py: lit ended with status {status} and without results")
            sys.exit(status or 1)
        with open(results) as file:
            tests = json.load(file)["tests"]

    count = {}
    for test in tests:
        count[test["code"]] = count.get(test["code"], 0) + 1
    for test in sorted(tests, key=lambda test: test["name"]):
        if test["code"] == "UNSUPPORTED":
            print(f"not supported here: {test['name']}")
    passed = count.get("PASS", 0) + count.get("XFAIL", 0) + count.get("FLAKYPASS", 0)
    failed = sum(count.get(code, 0) for code in FAILURES)
    print(f"{passed} passed, {failed} failed", flush=True)
    sys.exit(1 if failed or status or not passed else 0)


if __name__ == "__main__":
    main()
