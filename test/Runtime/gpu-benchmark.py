"""Rehearses benchmarks/gpu/run.sh with the program written by hand: what is right, wrong, missing, done and left.

gpu-benchmark.py DEVICE_PROGRAM FOLDER DRIVER RUN_SH
"""
from fake import *

binary, folder, driver, script = sys.argv[1:]
shutil.rmtree(folder, ignore_errors=True)
program = Program(binary, folder + "/cases/right", driver, bias=2)
check = program.expect
out = folder + "/out"
with open(folder + "/prepared.json", "w") as file:
    json.dump({"commit": "0123abc", "flags": "--by=hand", "shrink": 1, "prepared": "today"}, file)


def prepare(name):
    """A case whose numbers are those of the fake model."""
    ids, place = [1, 2, 3, 0, 4], os.path.join(folder, "cases", name)
    if name != "right":
        shutil.copytree(folder + "/cases/right", place, dirs_exist_ok=True)
    np.save(place + "/ids.npy", np.array(ids))
    expected = np.zeros((3, 16), np.float32)
    expected[range(3), [(2 + sum(ids[: i + 1])) % 16 for i in range(3)]] = 1
    if name == "wrong":
        expected[2] = np.roll(expected[2], 1)
    # Each id follows from the sum of those before it.
    generated = []
    for _ in range(6):
        generated.append((2 + sum(ids + generated)) % 16)
    if name == "other-ids":
        generated[3] = (generated[3] + 1) % 16
    np.save(place + "/expected.npy", expected)
    with open(place + "/case.json", "w") as file:
        json.dump({"arithmetic": "f32", "layers": 1, "decode": 6, "generated": generated, "prefill": [1, 8],
                   "flops": {"8": 1e6}, "bytes": {"8": 1e3}}, file)


def run(*options):
    return subprocess.run(["bash", script, folder, "--out", out, "--driver", driver, "--python", sys.executable,
                           "--repeats", "2", "--device", "cpu", *options],
                          capture_output=True, text=True, timeout=600)


def rows(result, name):
    """Lines of the tables that begin with `name`, by cells."""
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in result.stdout.splitlines()
            if line.startswith(f"| {name} |")]


def times():
    return {name: os.stat(os.path.join(out, name)).st_mtime_ns for name in os.listdir(out) if name.endswith(".json")}


prepare("right")
# Without time no piece is begun.
result = run("--minutes", "0")
check(result.returncode == 0 and "3 pieces wait, run the same command again" in result.stdout, "no time", result)
check(not times(), "pieces", os.listdir(out))
result = run()
check(result.returncode == 0 and "0 pieces wait" in result.stdout, "all pieces", result)
checked, *timed = rows(result, "right")
check(checked[1] == "3 of 3" and checked[5] == "6 of 6" and checked[6] == "6 of 6", "greedy ids", result)
check([row[1] for row in timed] == ["1", "8"], "prompts", result)
check(all(row[-1] == "stand-in, not a measurement" for row in (checked, *timed)), "no measurement", result)
check("Commit 0123abc" in result.stdout, "commit", result)
with open(out + "/log.txt") as file:
    log = file.read()
check("logits " in log, "profile in the log")
check(log.count("case.right: before: ") == 1 and log.count("case.right: after: ") == 1, "state of the card", log)

# What is there is not done again.
before = times()
result = run()
check(result.returncode == 0 and len(before) == 3 and before == times(), "pieces are kept", before)

# A wrong result is said, fails, and is not timed; other cases go on.
for name, why in (("wrong", "max difference 1.0e+00"), ("other-ids", "3 of 6 as stored")):
    prepare(name)
    result = run()
    check(result.returncode == 1, name, result)
    (row,) = rows(result, f"case.{name}")
    check(row[1].startswith("WRONG RESULT") and why in row[1], name, row)
    check(rows(result, "right") == [checked, *timed], "others stay", result)
    check(not os.path.exists(f"{out}/case.{name}.json"), os.listdir(out))
    shutil.rmtree(f"{folder}/cases/{name}")
    os.remove(f"{out}/case.{name}.failed")

# So is a program that fails, with the reason in the log; once it does not, its result takes the place.
prepare("late")
result = run("--only", "case.late", "--driver", "/none/driver.so")
check(result.returncode == 1 and "cannot load the CUDA driver: /none/driver.so" in rows(result, "case.late")[0][1],
      "no driver", result)
result = run("--only", "case.late")
check(result.returncode == 0 and not rows(result, "case.late") and len(rows(result, "late")) == 3, "second try", result)
# Without a folder that was prepared, or with an unknown option, nothing is done.
check(run("--nothing").returncode == 2, "unknown option")
empty = subprocess.run(["bash", script, out], capture_output=True, text=True)
check(empty.returncode == 2 and "expected a folder that prepare.py made" in empty.stderr, "not prepared", empty)
program.done()
