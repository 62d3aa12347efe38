"""The weights file: how it is found, and what is said when it is not the one the program was made with."""
import re

from fake import *

program = Program(sys.argv[1], sys.argv[2], bias=2)
path = program.path + ".weights"
run = ["--tokens", program.ids([1, 2]), "--generate", 1]
program.expect(program.run(*run).stdout == "5\n", "the whole file")
program.expect(program.run("--verify").stdout == f"weights are whole: {path}\n", "--verify")


def refuse(name, data, message, *more):
    if data is None:
        os.remove(path)
    else:
        with open(path, "wb") as file:
            file.write(data)
    result = program.run(*run, *more)
    good = result.returncode == 1 and result.stderr.count("\n") == 1 and not result.stdout
    program.expect(good and re.search("^error: .*" + message, result.stderr), name, message, result)


whole = weights(2)
change = lambda at, byte: whole[:at] + bytes([byte]) + whole[at + 1 :]
refuse("missing", None, "cannot open the weights file '.*program.weights': No such file.*beside the program")
refuse("empty", b"", "has 0 bytes, expected 4160: it was cut")
refuse("cut header", whole[:63], "has 63 bytes, expected 4160: it was cut")
refuse("cut data", whole[:-1], "has 4159 bytes, expected 4160: it was cut")
refuse("header only", whole[:64], "has 64 bytes, expected 4160: it was cut")
refuse("extended", whole + b"x", "has 4161 bytes, expected 4160: it was extended")
refuse("other file", bytes(5000), "is not one")
refuse("magic", weights(2, magic=b"MOEWGT\0\2"), "is not one")
refuse("version", weights(2, version=2), "has version 2, expected 1")
refuse("other program", weights(2, build_id=bytes(16)), "belongs to another program: the build ids differ")
refuse("number of tensors", weights(2, tensors=2), "does not fit the program")
refuse("other size", weights(2, size=9000), "has 4160 bytes, expected 9000: it was cut")
for at in (12, 16, 24, 32, 48, 56):
    refuse(f"header byte {at}", change(at, whole[at] ^ 1), "header does not match its checksum")

# Bytes of the data are compared with --verify only.
for at in (64, 4095, 4099, 4159):
    with open(path, "wb") as file:
        file.write(change(at, whole[at] ^ 1))
    program.expect(program.run(*run).returncode == 0, "not verified", at)
    refuse(f"data byte {at}", change(at, whole[at] ^ 1), "bytes do not match its checksum", "--verify")

# Elsewhere by --weights; a folder; a link to the program in another folder.
with open(path, "wb") as file:
    file.write(whole)
other = os.path.join(program.folder, "other")
os.mkdir(other)
os.rename(path, os.path.join(other, "w"))
program.expect(program.run(*run, "--weights", os.path.join(other, "w")).stdout == "5\n", "--weights")
result = program.run(*run, "--weights", other)
program.expect(result.returncode == 1 and "is not a regular file" in result.stderr, "folder", result)
os.rename(os.path.join(other, "w"), path)
os.symlink(program.path, os.path.join(other, "link"))
program.path = os.path.join(other, "link")
program.expect(program.run(*run, cwd="/").stdout == "5\n", "through a link")
program.done()
