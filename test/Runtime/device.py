"""What only programs for a device have: the driver, its device and memory, graphs, and what can go wrong with them.

device.py DEVICE_PROGRAM CPU_PROGRAM FOLDER DRIVER
"""
from fake import *

binary, cpu_binary, folder, driver = sys.argv[1:]
cpu = Program(cpu_binary, folder + "/cpu", bias=2)
ptx = Program(binary + ".ptx", folder + "/ptx", driver, bias=2)
program = Program(binary, folder + "/device", driver, bias=2)
check = program.expect
log = folder + "/log"
saved = program.file("out.npy")


def run(which, *arguments, **settings):
    """Runs with these settings of the stand-in driver; gives the result and the lines of its log."""
    if os.path.exists(log):
        os.remove(log)
    text = ",".join(f"{key.replace('_', '-')}={value}" for key, value in {"log": log, **settings}.items())
    result = which.run(*arguments, env={**os.environ, "MOE_STAND_IN": text})
    lines = open(log).read().splitlines() if os.path.exists(log) else []
    return result, lines


def fails(which, arguments, *texts, **settings):
    """That the run ends with status 1, one line that says all of this, no output and nothing left behind."""
    result, lines = run(which, *arguments, **settings)
    check(result.returncode == 1 and not result.stdout, "fails", arguments, settings, result)
    check(result.stderr.startswith("error: ") and result.stderr.count("\n") == 1, "one line", settings, result)
    for text in texts:
        check(text in result.stderr, text, settings, result)
    check(not os.path.exists(saved), "half-written output", settings)
    return lines


def count(lines, text):
    return sum(text in line for line in lines)


prompt = [1, 2, 3]
generate = ["--tokens", program.ids(prompt), "--generate"]
logits = ["--tokens", program.ids(prompt), "--logits", saved]

# Greedy ids equal those of the CPU for any length around the 32 steps that are queued at once; one capture in all.
for length in (1, 2, 3, 32, 33, 34, 66, 90):
    want = cpu.run("--tokens", cpu.ids(prompt), "--generate", length).stdout
    result, lines = run(program, *generate, length)
    check(result.returncode == 0 and result.stdout == want and not result.stderr, "greedy", length, result)
    # The first id comes from the prompt, the next from a step as it is; every other one is a replay.
    check(count(lines, "begin capture") == (length > 1), "captures", length, lines)
    check(count(lines, "launch graph") == max(length - 2, 0), "replays", length, lines)
    check(count(lines, "release device 0 with 0 allocations") == 1, "leaks", length, lines)
    want = cpu.run("--tokens", cpu.ids(prompt), "--generate", length, "--stop-at-eos").stdout
    result, _ = run(program, *generate, length, "--stop-at-eos")
    check(result.stdout == want, "stop at eos", length, result)
result, lines = run(program, "--tokens", program.ids([12, 3]), "--generate", 40, "--stop-at-eos")
check(result.stdout == "1\n" and count(lines, "launch") == 3, "the prompt ends the text", result, lines)
# The steps queued behind an end of text change nothing: 2 follows 9.
result, lines = run(program, "--tokens", program.ids([7]), "--generate", 40, "--stop-at-eos")
check(result.stdout == "9 2\n" and count(lines, "launch graph") == 31, "steps behind an end of text", result, lines)

# Nothing of a step is seen by the host where loads or times are wanted: those go call by call.
for option in ["--record-load", program.file("load.json")], ["--profile"]:
    result, lines = run(program, *generate, 5, *option)
    check(result.returncode == 0 and count(lines, "capture") == 0, option, result, lines)

# Kernels in the order of the program; a call of many tokens in pieces of what the program was compiled for, 8.
program.ids(list(range(1, 13)) + [0] * 8)
result, lines = run(program, *logits)
launches = [line.split()[3] for line in lines if " launch " in line]
check(launches == ["store", "plan", "logits"] * 3, "order", launches)
check([line.split("<")[1][0] for line in lines if "launch store" in line] == ["2", "2", "1"], "pieces", lines)
want = cpu.run("--tokens", cpu.ids(list(range(1, 13)) + [0] * 8), "--logits", cpu.file("out.npy"))
check(np.array_equal(np.load(saved), np.load(cpu.file("out.npy"))), "pieces of a prompt")
os.remove(saved)
program.ids(prompt)

# Both caches begin as zeros, though memory of a device does not.
check(count(lines, " fill 00 #") == 2, "caches are cleared", lines)
check(count(run(program, *generate, 2, "--poison-cache")[1], " fill ff #") == 2, "poisoned caches")
# A kernel's dynamic shared memory is asked for, and its launch says the same.
check(count(lines, f"launch logits <2, 4, {100 << 10}>") == 2, "shared memory", lines)
# Functions take so many rows and no more.
matrix = program.file("x.npy")
np.save(matrix, np.zeros((9, 4), np.float32))
np.save(program.file("f.npy"), np.float32(1))
np.save(program.file("n.npy"), np.int64(1))
rows = ["--function", "scale", "--inputs", ",".join([matrix, program.file("f.npy"), program.file("n.npy")]),
        "--outputs", program.file("y.npy") + "," + program.file("s.npy")]
fails(program, rows, "input 'x' of 'scale': got 9 rows, the program was compiled for at most 8 at once")

# Memory is compared before any is taken: weights, two caches, and where work space begins.
lines = fails(program, generate + [4], "the program needs 8.4 MB of device memory (4160 bytes for the weights, 384 bytes "
              "for the caches, 8.4 MB of work space), but 'Stand-in 0' has 8.0 MB free", memory=8000000)
check(count(lines, "alloc #") == 0 and count(lines, "with 0 allocations") == 1, "before", lines)
# Work space is what the most tokens at once take, 8 here, found without launching anything; it is there in one piece.
os.environ["FAKE_WIDE"] = "1"
program.ids(list(range(1, 9)))
work = 18 << 20
result, lines = run(program, *logits, memory=4160 + 448 + work)
check(result.returncode == 0, "measured work space", result)
sizes = [line.split()[-1] for line in lines if "alloc #" in line]
check(len(sizes) == 4 and sizes[-1] == str(work), "one chunk", sizes)
os.remove(saved)
lines = fails(program, logits, "the program needs 18.9 MB of device memory (4160 bytes for the weights, 448 bytes for the "
              "caches, 18.9 MB of work space)", "--max-tokens", memory=4160 + 448 + work - 1)
check(count(lines, "alloc #") == 0 and count(lines, " launch ") == 0, "before", lines)
# A context of 3 positions has no more tokens than that.
result, lines = run(program, "--tokens", program.ids(prompt), "--logits", saved, "--context", 3)
check(result.returncode == 0 and count(lines, f" {8 << 20}") == 1, "tokens of the context", result, lines)
os.remove(saved)
del os.environ["FAKE_WIDE"]

# Every allocation may fail, and leaves nothing behind.
for number in range(1, 12):
    result, lines = run(program, *generate, 4, fail_alloc=number)
    if not count(lines, "refused"):
        check(result.returncode == 0 and number > 4, "allocations", number, result)
        break
    check(count(lines, "with 0 allocations") == 1, "leaks after a failed allocation", number, lines)
    # Where work space may be smaller, it is asked for again.
    if result.returncode:
        check(result.returncode == 1 and result.stderr.count("\n") == 1 and "memory" in result.stderr, number, result)

# A device that fails in the middle of a run, by any kernel of it: a plain launch, a captured one, a replay.
for number in range(1, 7):
    fails(program, generate + [9], "'Stand-in 0' failed: CUDA_ERROR_ILLEGAL_ADDRESS (an illegal memory access",
          "until the program is started again", fail_launch=number)
for number in range(1, 4):
    fails(program, logits, "CUDA_ERROR_ILLEGAL_ADDRESS", "in 'forward'", fail_launch=number)

# What is missing, and what would be right.
program.driver = "/none/libcuda.so"
fails(program, generate + [1], "cannot load the CUDA driver: /none/libcuda.so: cannot open shared object file")
program.driver = program.file("text")
with open(program.driver, "w") as file:
    file.write("no library\n")
fails(program, generate + [1], "cannot load the CUDA driver: ", "/text: ")
program.driver = os.path.join(os.path.dirname(driver), "libmoe-fake-kernels.so")
fails(program, generate + [1], "has no function 'cuInit': expected a CUDA driver")
program.driver = None
if subprocess.run([sys.executable, "-c", "import ctypes; ctypes.CDLL('libcuda.so.1')"], capture_output=True).returncode:
    fails(program, generate + [1], "cannot load the CUDA driver: libcuda.so.1: ", "; a program for an NVIDIA GPU needs")
program.driver = driver
fails(program, generate + [1], "the CUDA driver finds no GPU", devices=0)
fails(ptx, generate + [1], "the program was compiled for sm_90a, but no GPU here runs that: 'Stand-in 0' is sm_80, "
      "'Stand-in 1' is sm_80", capability=80, devices=2)
fails(ptx, generate + [1], "compiled for sm_90a", "is sm_100", capability=100)
fails(ptx, generate + [1], "the driver (CUDA 12.4) is too old for the program's kernels: "
      "CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "Unsupported .version 9.0; current version is '8.4''; install a newer one",
      version=12040, fail_load="unsupported")
fails(ptx, generate + [1], "cannot compile the program's kernels: CUDA_ERROR_INVALID_PTX", "Unknown symbol 'x'",
      fail_load="invalid")
# Weights of another program, and none: before the driver is even loaded.
with open(program.path + ".weights", "wb") as file:
    file.write(weights(2, build_id=bytes(16)))
lines = fails(program, generate + [1], "belongs to another program")
check(not lines, "the driver was loaded", lines)
with open(program.path + ".weights", "wb") as file:
    file.write(weights(2))

# PTX is handed to the driver as it is, and launched: the stand-in leaves memory as it was, all bits set.
np.save(matrix, np.zeros((3, 4), np.float32))
result, lines = run(ptx, *rows)
check(result.returncode == 0 and count(lines, "load ptx") == 1, "ptx", result, lines)
check(count(lines, "launch scale <3, 4, 0>") == 1 and count(lines, "launch sums <1, 4, 0>") == 1, "ptx", lines)
check(np.isnan(np.load(program.file("y.npy"))).all(), "nothing was computed")

# That the stand-in finds what a device would not forgive.
result, _ = run(program, "--function", "overrun", "--inputs", matrix)
check(result.returncode and "overrun touched memory beside an allocation" in result.stderr, "overrun", result)
result, _ = run(program, "--function", "peek", "--inputs", matrix)
check(result.returncode and "the host touched device memory" in result.stderr, "host code reads it", result)
result, _ = run(program, *generate, 1, no_such_setting=1)
check("unknown setting 'no-such-setting'" in result.stderr, "misspelt setting", result)

# The command line.
text = program.run("--help").stdout
check("--driver FILE" in text and "at most 8 tokens at once" in text and "decode_step" not in text, "help", text)
check("Accepted and without effect" in text, "help says what --threads means", text)
check("--driver" not in cpu.run("--help").stdout, "help of a CPU program")
result = cpu.run("--driver", driver, "--tokens", program.ids(prompt), "--generate", 1)
check(result.returncode == 2 and "this one runs on the CPU" in result.stderr, "driver of a CPU program", result)
check("\ndevice:   host\n" in program.run("--version").stdout, "version")
result, lines = run(program, *generate, 4, "--bench", "--repeats", 2, "--threads", 1)
numbers = json.loads(result.stdout.splitlines()[-1])
check(numbers["device"] == "Stand-in 0" and numbers["decode_ms_per_token"] > 0, "bench", numbers)
result, lines = run(program, "--verify")
check(result.returncode == 0 and "weights are whole" in result.stdout and not lines, "verify needs no driver", result)
for failed in cpu, ptx:
    program.failures += failed.failures
program.done()
