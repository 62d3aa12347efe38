"""--tokens with --logits, --generate, --record-load, --bench and --profile on the program written by hand.

language-model.py PROGRAM FOLDER [DRIVER]      DRIVER: of a program for a device
"""
from fake import *

program = Program(*sys.argv[1:], bias=2)
check = program.expect


def model(ids):
    """Logits of the fake model, computed here."""
    rows = np.zeros((len(ids), 16), np.float32)
    for i, id in enumerate(ids):
        if id == 15:
            rows[i] = np.nan
        elif id == 14:
            rows[i, [3, 5]] = 2
        else:
            rows[i, (2 + sum(ids[: i + 1])) % 16] = 1
    return rows


def greedy(ids, count):
    ids, out = list(ids), []
    for _ in range(count):
        out.append(int(np.argmax(model(ids)[-1])))
        ids.append(out[-1])
    return out


prompt = [1, 2, 3, 14, 7, 0, 5]
out = program.file("logits.npy")
for kind in (np.int32, np.int64):
    for chunk in ([], ["--prefill-chunk", 1], ["--prefill-chunk", 3], ["--prefill-chunk", 7], ["--poison-cache"]):
        result = program.run("--tokens", program.ids(prompt, kind), "--logits", out, *chunk)
        check(result.returncode == 0 and not result.stdout and not result.stderr, "logits run", chunk, result)
        logits = np.load(out)
        check(logits.dtype == np.float32 and np.array_equal(logits, model(prompt)), "logits", chunk, logits)
        os.remove(out)

# Exactly N ids on one line, the lowest id of a tie, and nothing else on standard output.
for prompt, count in (([1, 2, 3], 5), ([5, 14], 1), ([5, 14], 12), ([0], 100)):
    ids = program.ids(prompt)
    for more in ([], ["--prefill-chunk", 1], ["--threads", 1], ["--context", len(prompt) + count - 1]):
        if max(greedy(prompt, count)) >= 13:
            check(False, "the test leaves the part of the model that it predicts", prompt)
        result = program.run("--tokens", ids, "--generate", count, *more)
        want = " ".join(map(str, greedy(prompt, count))) + "\n"
        check(result.returncode == 0 and result.stdout == want and not result.stderr, prompt, count, more, result)

# 1 and 2 end a text: 15 + 2 = 1 (mod 16).
result = program.run("--tokens", program.ids([12, 3]), "--generate", 9, "--stop-at-eos")
check(result.stdout == "1\n", "stop at eos", result)
check(program.run("--tokens", program.ids([12, 3]), "--generate", 3).stdout.startswith("1 "), "no stop without the flag")

# Both at once, and the file replaces an older one through a symbolic link.
os.symlink("target.npy", program.file("link.npy"))
np.save(program.file("target.npy"), np.zeros(3))
result = program.run("--tokens", program.ids([1, 2]), "--generate", 2, "--logits", program.file("link.npy"))
check(result.stdout == "5 10\n", "both", result)
check(os.path.islink(program.file("link.npy")), "the link stays")
check(np.array_equal(np.load(program.file("target.npy")), model([1, 2])), "the link's target is replaced")

# Rows per expert: plan 0 is by id mod 3, plan 1 sends all to expert 0; the ids fed are the prompt and 5 of the 6.
load = program.file("load.json")
result = program.run("--tokens", program.ids([1, 2, 3]), "--generate", 6, "--record-load", load)
fed = [1, 2, 3] + greedy([1, 2, 3], 6)[:-1]
rows = [sum(id % 3 == expert for id in fed) for expert in range(3)]
want = [
    {"layer": 1, "experts": 3, "calls": 6, "total_rows": 8, "rows_per_expert": rows},
    {"layer": 3, "experts": 3, "calls": 6, "total_rows": 8, "rows_per_expert": [8, 0, 0]},
]
with open(load) as file:
    got = json.load(file)
check(got == {"tokens": 8, "layers": want}, "load", got)

result = program.run("--tokens", program.ids([1, 2, 3]), "--generate", 4, "--bench", "--repeats", 3, "--threads", 1)
lines = result.stdout.splitlines()
check(len(lines) == 2 and lines[0] == " ".join(map(str, greedy([1, 2, 3], 4))), "bench prints the ids first", result)
numbers = json.loads(lines[-1])
check(numbers["prefill_tokens"] == 3 and numbers["decode_tokens"] == 4, "bench counts", numbers)
check(numbers["threads"] == 1 and numbers["repeats"] == 3, "bench settings", numbers)
check(numbers["prefill_ms"] > 0 and numbers["decode_ms_per_token"] > 0, "bench times", numbers)

# Every kernel once a pass, shares of 100 in all, on standard error.
result = program.run("--tokens", program.ids([1, 2, 3]), "--generate", 4, "--profile")
table = {line.split()[0]: line.split() for line in result.stderr.splitlines()[1:]}
check(table["store"][1] == table["logits"][1] == "4", "profile calls", result.stderr)
check(abs(sum(float(line.split()[-1][:-1]) for line in result.stderr.splitlines()[1:]) - 100) < 0.5, "shares", result)
check(result.stdout == " ".join(map(str, greedy([1, 2, 3], 4))) + "\n", "profile leaves standard output alone", result)

# A renamed program still finds its weights, from any working folder.
os.rename(program.path, program.file("renamed"))
program.path = program.file("renamed")
result = program.run("--tokens", program.ids([1, 2]), "--generate", 1, cwd="/")
check(result.stdout == "5\n", "renamed", result)
check(sorted(os.listdir(program.folder)) == ["ids.npy", "link.npy", "load.json", "program.weights", "renamed",
                                             "target.npy"], "no stray files", os.listdir(program.folder))
program.done()
