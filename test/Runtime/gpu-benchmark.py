"""Rehearses the benchmark of GPUs with the program written by hand.

gpu-benchmark.py DEVICE_PROGRAM FOLDER DRIVER RUN_SH
"""
from fake import *

binary, folder, driver, script = sys.argv[1:]
shutil.rmtree(folder, ignore_errors=True)
program = Program(binary, folder + "/right", driver, bias=2)
check = program.expect
out = folder + "/out"


def prepare(name):
    """A case whose numbers are those of the fake model."""
    ids, place = [1, 2, 3, 0, 4], os.path.join(folder, name)
    if name != "right":
        shutil.copytree(folder + "/right", place, dirs_exist_ok=True)
    np.save(place + "/ids.npy", np.array(ids))
    expected = np.zeros((3, 16), np.float32)
    expected[range(3), [(2 + sum(ids[: i + 1])) % 16 for i in range(3)]] = 1
    if name == "wrong":
        expected[2] = np.roll(expected[2], 1)
    np.save(place + "/expected.npy", expected)
    with open(place + "/case.json", "w") as file:
        json.dump({"storage": "f32", "layers": 1, "decode": 6, "prefill": [1, 8], "flops": {"8": 1e6},
                   "bytes": {"8": 1e3}}, file)


def run(*options):
    return subprocess.run(["bash", script, folder, "--out", out, "--driver", driver, "--python", sys.executable,
                           "--repeats", "2", *options],
                          capture_output=True, text=True, timeout=600)


prepare("right")
# Without time no piece is begun.
result = run("--minutes", "0")
check(result.returncode == 0 and "pieces wait, run the same command again" in result.stdout, "no time", result)
check(not [name for name in os.listdir(out) if name.endswith((".json", ".check"))], "pieces", os.listdir(out))
result = run()
check(result.returncode == 0 and "0 pieces wait" in result.stdout, "all pieces", result)
rows = [line.split("|") for line in result.stdout.splitlines() if line.startswith("| right |")]
check([row[3].strip() for row in rows] == ["1", "8"] and all(row[2] == " Stand-in 0 " for row in rows), "table", result)
check("6 greedy ids, 6 of them clear, 0 wrong" in result.stdout, "check", result)
with open(out + "/log.txt") as file:
    check("logits " in file.read(), "profile in the log")

# What is there is not done again.
before = {name: os.stat(os.path.join(out, name)).st_mtime_ns for name in os.listdir(out) if name.endswith(".json")}
result = run()
after = {name: os.stat(os.path.join(out, name)).st_mtime_ns for name in before}
check(result.returncode == 0 and len(before) == 2 and before == after, "pieces are kept", before, after)

# A wrong result is said, fails, and is not timed; other cases go on.
prepare("wrong")
result = run()
check(result.returncode == 1 and "wrong: WRONG RESULT, not timed" in result.stdout, "wrong", result)
check("| wrong | | | WRONG RESULT" in result.stdout and "| right |" in result.stdout, "table", result)
check(not [name for name in os.listdir(out) if name.startswith("wrong.") and name.endswith(".json")], os.listdir(out))
# So is a program that fails, with the reason in the log.
result = run("--only", "wrong", "--driver", "/none/driver.so")
check(result.returncode == 1, "no driver", result)
with open(out + "/log.txt") as file:
    check("cannot load the CUDA driver: /none/driver.so" in file.read(), "reason in the log")
check(run("--nothing").returncode == 2, "unknown option")
program.done()
