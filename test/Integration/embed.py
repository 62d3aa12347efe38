"""Links the example that embeds a language model, and compares what it says with the stored greedy tokens.

embed.py TOOLS SCRATCH FOLDER CC [CC_FLAG...]
"""
import os
import shutil
import subprocess

import harness
from harness import Failure


def test(tools, scratch, arguments):
    folder, compiler = arguments[0], arguments[1:]
    shutil.rmtree(scratch, ignore_errors=True)
    os.makedirs(scratch)
    expected = harness.safetensors.load(os.path.join(folder, "expected.safetensors"))
    prompt, generated = expected["prompt"].tolist(), expected["generated"].tolist()
    library = os.path.join(scratch, "libmodel.so")
    harness.run([os.path.join(tools, "moe-compile"), folder, "--emit=shared", "-o", library])
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "embed.c")
    example = os.path.join(scratch, "embed")
    harness.run([*compiler, "-std=c99", "-Wall", "-Wextra", "-Werror", f"-I{scratch}", source, library,
                 "-Wl,-rpath,$ORIGIN", "-o", example])

    # The second conversation is the first with some tokens of its answer given: what is left must follow.
    known = 5
    lines = [prompt, prompt + generated[:known]]
    text = "".join(" ".join(map(str, ids)) + "\n" for ids in lines)
    done = subprocess.run([example, str(len(generated) - known)], input=text, capture_output=True, text=True, cwd="/", timeout=600)
    if done.returncode or done.stderr:
        raise Failure(f"the example ended with {done.returncode}: {done.stderr}")
    said = [[], []]
    for line in done.stdout.splitlines():
        which, token = line.split(": ")
        said[int(which)].append(int(token))
    wanted = [generated[:-known], generated[known:]]
    if said != wanted:
        raise Failure(f"the example says {said}, expected {wanted}")
    print("two conversations, one mapping: the stored tokens")


if __name__ == "__main__":
    harness.main(test, __doc__)
