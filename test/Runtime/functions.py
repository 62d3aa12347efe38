"""--function with --inputs and --outputs on the program written by hand.

functions.py PROGRAM FOLDER [DRIVER]      DRIVER: of a program for a device, which has no threads
"""
from fake import *

program = Program(*sys.argv[1:])
check = program.expect
random = np.random.default_rng(0)
source, saved = program.file("in.safetensors"), program.file("out.safetensors")

# y = x * factor * times and the sums of its rows: small integers, so every number is exact. Zero rows too.
for rows in (0, 1, 5):
    x = random.integers(-8, 8, (rows, 4)).astype(np.float32)
    safetensors(source, {"times": ("I64", np.int64(3)), "x": ("F32", x), "factor": ("F32", np.float32(2)),
                         "unused": ("U8", np.zeros(3, np.uint8))})
    result = program.run("--function", "scale", "--inputs", source, "--outputs", saved)
    check(result.returncode == 0 and not result.stdout and not result.stderr, result)
    got = read_safetensors(saved)
    check(list(got) == ["y", "sums"], "names in the order of the function", got)
    check(got["y"] == ("F32", [rows, 4], (x * 6).tobytes()), "y", got)
    check(got["sums"] == ("F32", [rows], (x * 6).sum(1).tobytes()), "sums", got)

    # The same with one .npy a value, in two spellings of the lists.
    values = {"x": x, "factor": np.float32(2), "times": np.int64(3)}
    for name, value in values.items():
        np.save(program.file(name + ".npy"), value)
    files = [program.file(name + ".npy") for name in values]
    results = [program.file("y.npy"), program.file("sums.npy")]
    for spelling in (
        ["--inputs", ",".join(files), "--outputs", ",".join(results)],
        [*sum((["--inputs", file] for file in files), []), *sum((["--outputs", file] for file in results), [])],
    ):
        result = program.run("--function", "scale", *spelling)
        check(result.returncode == 0, result)
        check(np.array_equal(np.load(results[0]), x * 6) and np.load(results[0]).shape == (rows, 4), "y.npy")
        check(np.array_equal(np.load(results[1]), (x * 6).sum(1)), "sums.npy")

# A result that is not contiguous in memory is written in its own order.
x = np.arange(6, dtype=np.float32).reshape(2, 3)
np.save(program.file("x.npy"), x)
result = program.run("--function", "transpose", "--inputs", program.file("x.npy"), "--outputs", program.file("t.npy"))
check(result.returncode == 0 and np.array_equal(np.load(program.file("t.npy")), x.T), result)

# Every element type passes bit for bit, NaN payloads and all.
tensors = {}
for kind, size in TYPES.items():
    raw = random.integers(0, 2 if kind == "BOOL" else 256, 3 * size).astype(np.uint8)
    tensors[kind.lower()] = (kind, [3], raw.tobytes())
head, data = {}, b""
for name, (kind, shape, raw) in tensors.items():
    head[name] = {"dtype": kind, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
    data += raw
for padding in range(2):
    # A header of any length: the data then start at any address of the file.
    raw_safetensors(source, json.dumps(head).encode() + b" " * padding, data)
    result = program.run("--function", "same", "--inputs", source, "--outputs", saved)
    check(result.returncode == 0 and read_safetensors(saved) == tensors, result)

# A parallel loop gets the threads asked for; by default every CPU of the process.
for more, want in ([], len(os.sched_getaffinity(0))), (["--threads", 1], 1), (["--threads", 3], 3):
    if not program.driver:
        result = program.run("--function", "threads", "--outputs", program.file("n.npy"), *more)
        check(result.returncode == 0 and np.load(program.file("n.npy")) == want, more, result)
one = {min(os.sched_getaffinity(0))}
if not program.driver:
    result = program.run("--function", "threads", "--outputs", program.file("n.npy"),
                         preexec_fn=lambda: os.sched_setaffinity(0, one))
    check(result.returncode == 0 and np.load(program.file("n.npy")) == 1, "affinity", result)

# --bench prints one JSON object and writes the outputs all the same.
np.save(program.file("x.npy"), x)
result = program.run("--function=transpose", "--inputs=" + program.file("x.npy"), "--bench", "--repeats=3")
numbers = json.loads(result.stdout)
check(numbers["function"] == "transpose" and numbers["repeats"] == 3 and numbers["ms_per_call"] > 0, numbers)
# A name is a JSON string whatever it holds.
name = 'a "quoted" \\ name'
result = program.run("--function", name, "--inputs", program.file("x.npy"), "--bench", "--repeats=1")
check(json.loads(result.stdout)["function"] == name, result)
program.done()
