"""Hostile token files, .npy, .safetensors and command lines: each must end in one or two lines that say what is wrong."""
import re
import resource

from fake import *

program = Program(sys.argv[1], sys.argv[2])
out, saved = program.file("out.npy"), program.file("out.safetensors")
good = program.ids([1, 2, 3])


def refuse(name, arguments, message, code=1, **options):
    """Runs, and checks the status, the text, and that no file appeared."""
    before = sorted(os.listdir(program.folder))
    result = program.run(*arguments, **options)
    what = f"{name}: status {result.returncode}, stderr {result.stderr!r}, stdout {result.stdout!r}"
    program.expect(result.returncode == code, what)
    program.expect(result.stderr.startswith("error: ") and result.stderr.count("\n") <= 2, "one line", what)
    program.expect(re.search(message, result.stderr), f"expected {message!r} in", what)
    program.expect(not result.stdout, "nothing on standard output", what)
    program.expect(sorted(os.listdir(program.folder)) == before, "no new file", what)


# --- Command lines ---
for arguments, message in [
    ([], "--help"),
    (["--tokens"], "--tokens needs a value: --tokens IDS.npy"),
    (["--tokens", ""], "empty value"),
    (["--tokens", good], "--logits OUT.npy, --generate N"),
    (["--token", good], "did you mean '--tokens'"),
    (["--generat=3", "--tokens", good], "did you mean '--generate'"),
    (["--qqqq"], "unknown option '--qqqq'; --help"),
    (["ids.npy"], "unexpected argument 'ids.npy'"),
    (["--x\n\x1b[31m"], r"'--x\\x0a\\x1b\[31m'"),
    (["--tokens", good, "--tokens", good, "--generate", 1], "--tokens is given twice"),
    (["--tokens", good, "--generate", 0], "--generate got '0', expected a whole number from 1"),
    (["--tokens", good, "--generate", -3], "--generate got '-3'"),
    (["--tokens", good, "--generate", "2.5"], "--generate got '2.5'"),
    (["--tokens", good, "--generate", "9" * 30], "--generate got '9+'"),
    (["--tokens", good, "--generate", "3x"], "--generate got '3x'"),
    (["--tokens", good, "--generate", 1, "--threads", 0], "--threads got '0'"),
    (["--tokens", good, "--generate", 1, "--context", 0], "--context got '0'"),
    (["--tokens", good, "--generate", 1, "--prefill-chunk", 0], "--prefill-chunk got '0'"),
    (["--tokens", good, "--generate", 1, "--bench", "--repeats", 0], "--repeats got '0'"),
    (["--tokens", good, "--generate", 1, "--repeats", 3], "--repeats needs --bench"),
    (["--tokens", good, "--generate", 1, "--verify=yes"], "--verify takes no value"),
    (["--tokens", good, "--logits", out, "--bench"], "leave out --logits"),
    (["--tokens", good, "--logits", out, "--stop-at-eos"], "--stop-at-eos needs --generate"),
    (["--tokens", good, "--function", "scale"], "one or the other"),
    (["--generate", 3], "need --tokens"),
    (["--logits", out], "need --tokens"),
    (["--bench"], "something to run"),
]:
    refuse(f"command line {arguments}", arguments, message, code=2)

# --- Token files ---
tokens = lambda path, *more: ["--tokens", path, *(more or ["--logits", out])]
refuse("missing", tokens(program.file("none.npy")), "cannot open '.*none.npy': No such file")
refuse("folder", tokens(program.folder), "expected a regular file, got a folder")
refuse("device", tokens("/dev/zero"), "expected a regular file, got a device")
os.mkfifo(program.file("pipe"))
refuse("pipe", tokens(program.file("pipe")), "expected a regular file")
refuse("float ids", tokens(program.ids([1, 2], np.float32, "bad.npy")), "holds f32 elements, expected i32 or i64")
refuse("byte ids", tokens(program.ids([1, 2], np.uint8, "bad.npy")), "holds u8 elements, expected i32 or i64")
refuse("short ids", tokens(program.ids([1, 2], np.int16, "bad.npy")), "elements of type '<i2'")
refuse("matrix", tokens(program.ids([[1, 2]], np.int64, "bad.npy")), r"shape \[1, 2\], expected rank 1")
refuse("scalar", tokens(program.ids(1, np.int64, "bad.npy")), r"shape \[\], expected rank 1")
refuse("empty prompt", tokens(program.ids([], np.int64, "bad.npy")), "is empty, expected at least one token")
for id in (16, -1, 2**31, 2**32 + 1, -(2**63)):
    refuse(f"id {id}", tokens(program.ids([1, id], np.int64, "bad.npy")), rf"id {id} at index 1, expected 0 to 15")
refuse("too long", tokens(program.ids([1] * 101, np.int64, "bad.npy")), r"need 101 positions, the context has 100 \(the")
refuse("no room", tokens(good, "--generate", 99), "3 prompt tokens and 99 to generate need 101 positions")
refuse("small context", tokens(good, "--generate", 4, "--context", 5), r"need 6 positions, the context has 5 \(--context")
refuse("large context", tokens(good, "--generate", 4, "--context", 101), "--context is 101, the model has at most 100")
refuse("threads", tokens(good, "--generate", 1, "--threads", 10**9), "threads is 1000000000, expected 1 to 4096")
refuse("NaN logits", tokens(program.ids([15], name="nan.npy"), "--generate", 2), "every logit is NaN")
refuse("memory", tokens(program.ids([1, 13], name="huge.npy")), "out of memory: 'forward' asked for .* of work space")

# --- Stacks ---
for size in (64, 128, 512):
    limit = lambda: resource.setrlimit(resource.RLIMIT_STACK, (size << 10, size << 10))
    refuse(f"stack of {size}", tokens(good), r"the stack has \d+ KiB left, expected at least 512 KiB", preexec_fn=limit)
refuse("stacks of threads", tokens(good, "--generate", 1, "--threads", 2),
       "OMP_STACKSIZE gives threads 64 KiB of stack, expected at least 512", env={**os.environ, "OMP_STACKSIZE": "64k"})

# --- .npy ---
valid = open(good, "rb").read()
header = lambda text, version=1: (
    b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + text
)
entry = lambda descr="'<i8'", order="False", shape="(1,)": (
    f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()
)
for name, data, message in [
    ("nothing", b"", "is no .npy file"),
    ("nine bytes", valid[:9], "is no .npy file"),
    ("text", b"hello, these are tokens", "does not start with"),
    ("zip", b"PK\x03\x04" + bytes(60), "does not start with"),
    ("version", valid[:6] + b"\x09" + valid[7:], "version 9.0"),
    ("cut header", valid[:40], "its header has"),
    ("header length", valid[:8] + b"\xff\xff" + valid[10:], "its header has 65535 bytes"),
    ("long header of version 2", b"\x93NUMPY\2\0\xff\xff\xff\xff" + bytes(50), "its header has 4294967295 bytes"),
    ("cut data", valid[:-1], r"has 23 bytes of data, its shape \[3\] needs 24"),
    ("extra data", valid + b"x", "has 25 bytes of data"),
    ("no dictionary", header(b"[1, 2]\n"), "malformed header"),
    ("unclosed", header(b"{'descr': '<i8', "), "malformed header"),
    ("unclosed string", header(b"{'descr"), "malformed header"),
    ("two types", header(b"{'descr': '<i8', 'descr': '<i8'}"), "'descr' unexpectedly"),
    ("unknown key", header(b"{'evil': 1}"), "'evil' unexpectedly"),
    ("no shape", header(b"{'descr': '<i8', 'fortran_order': False}"), "lacks one of"),
    ("trailing text", header(entry() + b"}") + bytes(8), "text after"),
    ("big endian", header(entry("'>i8'")) + bytes(8), "big endian"),
    ("Fortran", header(entry(order="True")) + bytes(8), "Fortran order, expected C order"),
    ("order", header(entry(order="Maybe")) + bytes(8), "malformed 'fortran_order'"),
    ("structured", header(entry("[('a', '<i4'), ('b', '<i4')]")) + bytes(8), "structured"),
    ("objects", header(entry("'|O'")) + bytes(8), r"elements of type '\|O'"),
    ("text elements", header(entry("'<U2'")) + bytes(8), "elements of type '<U2'"),
    ("negative", header(entry(shape="(-1,)")) + bytes(8), "malformed 'shape'"),
    ("overflow", header(entry(shape="(99999999999999999999,)")) + bytes(8), "overflows"),
    ("product overflow", header(entry(shape="(4294967296, 4294967296)")) + bytes(8), "more than 64 bits can count"),
    ("wraps to 8 bytes", header(entry(shape="(2305843009213693953,)")) + bytes(8), "more than 64 bits can count"),
    ("claims terabytes", header(entry(shape="(1099511627776,)")) + bytes(8), "has 8 bytes of data"),
    ("rank", header(entry(shape="(" + "1," * 9 + ")")) + bytes(8), "more than 8 dimensions"),
    ("shape of text", header(entry(shape="('a',)")) + bytes(8), "malformed 'shape'"),
    ("zero bytes", header(bytes(64)), "malformed header"),
]:
    with open(program.file("bad.npy"), "wb") as file:
        file.write(data)
    refuse(f".npy: {name}", tokens(program.file("bad.npy")), message)

# --- .safetensors ---
source = program.file("in.safetensors")
inputs = ["--function", "transpose", "--inputs", source, "--outputs", saved]
field = lambda dtype='"F32"', shape="[1,1]", offsets="[0,4]", name="x": (
    f'"{name}":{{"dtype":{dtype},"shape":{shape},"data_offsets":{offsets}}}'
)
four = bytes(4)
for name, head, data, message in [
    ("empty object", "{}", b"", "no tensor 'x' in .*, which has none"),
    ("other names", "{" + field(name="y") + "}", four, "no tensor 'x' in .*, which has 'y'"),
    ("no JSON", "{x}", b"", "no valid JSON at its byte"),
    ("cut JSON", '{"x":{"dtype":"F32"', b"", "no valid JSON"),
    ("after JSON", "{" + field() + "}]", four, "no valid JSON"),
    ("array", "[]", b"", "does not start with '{'"),
    ("deep arrays", '{"x":' + "[" * 200000 + "]" * 200000 + "}", b"", "nested deeper"),
    ("deep objects", '{"a":' * 200000 + "1" + "}" * 200000, b"", "nested deeper"),
    ("null", '{"x":null}', b"", "has null in its header"),
    ("number", '{"x":3}', b"", "has a number in its header"),
    ("tensor is text", '{"x":"y"}', b"", "has the string 'y'"),
    ("type is number", "{" + field("7") + "}", four, "has a number in its header"),
    ("unknown type", "{" + field('"F33"') + "}", four, "element type 'F33', expected one of F32"),
    ("unsupported type", "{" + field('"I16"', offsets="[0,2]") + "}", bytes(2), "element type 'I16', expected one"),
    ("shape is number", "{" + field(shape="4") + "}", four, "has a number"),
    ("shape of shapes", "{" + field(shape="[[1],1]") + "}", four, "has an array in its header"),
    ("negative extent", "{" + field(shape="[-1,-4]") + "}", four, "the negative number -1"),
    ("fraction", "{" + field(shape="[1.0,1]") + "}", four, "the number '1.0'"),
    ("huge extent", "{" + field(shape="[18446744073709551615,1]") + "}", four, "beyond 63 bits"),
    ("larger extent", "{" + field(shape="[99999999999999999999999,1]") + "}", four, "the number '9+'"),
    ("overflow", "{" + field(shape="[4294967296,4294967296]") + "}", four, "more than 64 bits can count"),
    ("rank", "{" + field(shape="[1,1,1,1,1,1,1,1,1]") + "}", four, "more than 8 dimensions"),
    ("one offset", "{" + field(offsets="[0]") + "}", four, "data_offsets that are not two numbers"),
    ("three offsets", "{" + field(offsets="[0,4,4]") + "}", four, "data_offsets that are not two numbers"),
    ("backwards", "{" + field(offsets="[4,0]") + "}", four, "lies at bytes 4 to 0"),
    ("beyond", "{" + field(offsets="[0,8]") + "}", four, "lies at bytes 0 to 8, the file has 4 bytes"),
    ("far beyond", "{" + field(offsets="[9223372036854775800,9223372036854775804]") + "}", four, "the file has 4 bytes"),
    ("wrong size", "{" + field(shape="[2,1]") + "}", four, r"has 4 bytes, its shape \[2, 1\] needs 8"),
    ("no offsets", '{"x":{"dtype":"F32","shape":[1,1]}}', four, "lacks 'dtype', 'shape' or 'data_offsets'"),
    ("two types", '{"x":{"dtype":"F32","dtype":"F32","shape":[1,1],"data_offsets":[0,4]}}', four, "more than one entry"),
    ("unknown entry", '{"x":{"dtype":"F32","evil":1}}', four, "unknown entry 'evil'"),
    ("same name", "{" + field() + "," + field() + "}", four, "names 'x' twice"),
    ("overlap", "{" + field() + "," + field(name="y", offsets="[2,6]") + "}", bytes(6), "'y' .* overlaps"),
    ("same bytes", "{" + field() + "," + field(name="y") + "}", four, "overlaps"),
    ("gap", "{" + field(offsets="[4,8]") + "}", bytes(8), "has a gap before it"),
    ("extra bytes", "{" + field() + "}", bytes(5), "1 bytes that belong to no tensor"),
    ("cut bytes", "{" + field() + "}", bytes(3), "the file has 3 bytes"),
    ("line end in name", "{" + field(name="a\\nerror: b", offsets="[0,5]") + "}", four, r"'a\\x0aerror: b'"),
    ("bad UTF-8", b'{"\xff":' + field().encode()[4:] + b"}", four, "no valid JSON"),
    ("zero byte", b'{"x":\0}', b"", "no valid JSON"),
    ("wrong type", "{" + field('"F64"', offsets="[0,8]") + "}", bytes(8), "got f64 elements, expected f32"),
    ("wrong rank", "{" + field(shape="[1]") + "}", four, "got rank 1, expected rank 2"),
]:
    raw_safetensors(source, head if isinstance(head, bytes) else head.encode(), data)
    refuse(f".safetensors: {name}", inputs, message)
for name, data, message in [
    ("nothing", b"", "has 0 bytes, expected at least 8"),
    ("seven bytes", bytes(7), "has 7 bytes"),
    ("header beyond the file", struct.pack("<Q", 1000) + b"{}", "its header has 1000 bytes, the file has 10"),
    ("header of 2^64", b"\xff" * 8 + b"{}", "its header has 18446744073709551615 bytes"),
    ("no header", bytes(8), "does not start with '{'"),
]:
    with open(source, "wb") as file:
        file.write(data)
    refuse(f".safetensors: {name}", inputs, message)

# --- Functions ---
matrix = np.zeros((2, 4), np.float32)
scalars = {"factor": ("F32", np.float32(2)), "times": ("I64", np.int64(1))}
run = lambda *more: ["--function", "scale", "--inputs", source, *more]
safetensors(source, {"x": ("F32", matrix), **scalars})
refuse("no outputs", run(), "--outputs is missing; the function gives y, sums")
refuse("output of unknown kind", run("--outputs", program.file("out.txt")), "expected one .safetensors file or .npy")
refuse("one .npy for two values", run("--outputs", out), "got 1 .npy files, expected 2: y, sums")
refuse("forward by name", ["--function", "forward", "--outputs", saved], "run it by --tokens")
refuse("unknown function", ["--function", "scael", "--inputs", source, "--outputs", saved], "did you mean 'scale'")
refuse("no function", ["--inputs", source, "--outputs", saved], "--function is missing; .* forward, scale")
refuse("no inputs", ["--function", "scale", "--outputs", saved], "--inputs is missing; the function takes x, factor")
for name, change, message in [
    ("width", {"x": ("F32", np.zeros((2, 5), np.float32))}, r"got shape \[2, 5\], expected \[\?, 4\]"),
    ("type", {"x": ("F64", np.zeros((2, 4)))}, r"input 'x' of 'scale': got f64 elements, expected f32"),
    ("rank of a scalar", {"factor": ("F32", np.zeros(1, np.float32))}, "got rank 1, expected rank 0"),
    ("index type", {"times": ("I32", np.int32(1))}, "got i32 elements, expected i64"),
]:
    safetensors(source, {"x": ("F32", matrix), **scalars, **change})
    refuse(name, run("--outputs", saved), message)
kinds = {kind.lower(): (kind, np.zeros(2 * TYPES[kind], np.uint8)) for kind in TYPES}
# The arrays above are bytes; their shape is 2 elements.
def write_kinds(path, bools):
    head, data = {}, b""
    for name, (kind, raw) in kinds.items():
        raw = bools if kind == "BOOL" else raw.tobytes()
        head[name] = {"dtype": kind, "shape": [2], "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    raw_safetensors(path, json.dumps(head).encode(), data)
write_kinds(source, b"\x01\x02")
refuse("bool 2", ["--function", "same", "--inputs", source, "--outputs", saved], "element 1 of a bool tensor is 2")
write_kinds(source, b"\x01\x00")
many = ",".join(program.file(f"{i}.npy") for i in range(9))
refuse("bf16 as .npy", ["--function", "same", "--inputs", source, "--outputs", many], "which .npy does not have")

# --- Outputs ---
safetensors(source, {"x": ("F32", matrix), **scalars})
nowhere = os.path.join(program.folder, "none", "out")
refuse("no folder for logits", ["--tokens", good, "--logits", nowhere + ".npy"], "cannot write '.*none/out.npy': No such")
refuse("no folder for outputs", run("--outputs", nowhere + ".safetensors"), "cannot write .*: No such file")
refuse("no folder for loads", tokens(good, "--generate", 1, "--record-load", nowhere), "cannot write .*: No such file")
refuse("folder as output", tokens(good, "--generate", 1, "--record-load", program.folder), "Is a directory")
refuse("name of logits", ["--tokens", good, "--logits", program.file("out.txt")], "ends in .npy")
other = os.path.join(program.folder, ".", "ids.npy")
refuse("logits in place of the tokens", ["--tokens", good, "--logits", other], "/ids.npy' is in use by this run, expected")
refuse("loads in place of the weights", tokens(good, "--generate", 1, "--record-load", program.path + ".weights"), "in use")
refuse("loads in place of the program", tokens(good, "--generate", 1, "--record-load", program.path), "is in use by this run")
refuse("outputs in place of inputs", run("--outputs", source), "in.safetensors' is in use by this run")
refuse("two outputs", ["--tokens", good, "--logits", out, "--record-load", out], "is the name of two outputs, expected a name")
os.symlink("/dev/full", program.file("full.npy"))
refuse("full device", ["--tokens", good, "--logits", program.file("full.npy")], "cannot write .*: No space left")
program.expect(os.path.exists("/dev/full"), "the device stays")
limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
refuse("file size limit", tokens(good), "cannot write .*: File too large", preexec_fn=limit)
before = sorted(os.listdir(program.folder))
with open("/dev/full", "w") as full:
    result = subprocess.run([program.path, "--tokens", good, "--generate", "1"], stdout=full, stderr=subprocess.PIPE)
program.expect(result.returncode == 1 and b"cannot write to standard output: No space" in result.stderr, "stdout", result)
reader, writer = os.pipe()
os.close(reader)
result = subprocess.run([program.path, "--tokens", good, "--generate", "1"], stdout=writer, stderr=subprocess.PIPE)
program.expect(result.returncode == 1 and b"standard output: Broken pipe" in result.stderr, "closed pipe", result)
program.done()
