"""What greedy decoding on a device leaves behind: a text goes on after its end as if each token had been fed by a call.

continued.py TOOLS SCRATCH FOLDER DRIVER MOE_COMPILE_FLAG...
Steps that are queued behind an end of text must leave the caches alone, rings as well.
"""
import ctypes
import json
import os
import shutil

import harness
import numpy as np
from harness import Failure


class OpenOptions(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_uint32), ("verify", ctypes.c_uint32), ("program", ctypes.c_void_p),
                ("weights", ctypes.c_char_p), ("progress", ctypes.c_void_p), ("user", ctypes.c_void_p),
                ("driver", ctypes.c_char_p)]


class SessionOptions(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_uint32), ("threads", ctypes.c_int32), ("context", ctypes.c_int64),
                ("sequences", ctypes.c_int64), ("record_load", ctypes.c_uint32), ("profile", ctypes.c_uint32),
                ("poison_cache", ctypes.c_uint32), ("reserved", ctypes.c_uint32), ("piece", ctypes.c_int64)]


class Session:
    """A session with two sequences, through the C interface; the second is used."""

    def __init__(self, library, model, vocabulary):
        self.library, self.vocabulary, self.handle = library, vocabulary, ctypes.c_void_p()
        options = SessionOptions(ctypes.sizeof(SessionOptions), sequences=2, poison_cache=1, piece=1)
        message = ctypes.create_string_buffer(1024)
        if library.moe_session_create(model, ctypes.byref(options), ctypes.byref(self.handle), message, ctypes.c_size_t(1024)):
            raise Failure(message.value.decode())

    def forward(self, ids):
        tokens, of = np.array(ids, np.int32), np.ones(len(ids), np.int32)
        logits = np.empty((len(ids), self.vocabulary), np.float32)
        if self.library.moe_session_forward(self.handle, tokens.ctypes, None, of.ctypes, ctypes.c_int64(len(ids)),
                                            ctypes.c_int64(0), logits.ctypes, ctypes.c_int64(logits.size)):
            raise Failure("moe_session_forward fails")
        return logits

    def generate(self, token, count):
        ids, produced = np.empty(count, np.int32), ctypes.c_int64()
        if self.library.moe_session_generate(self.handle, ctypes.c_int64(1), ctypes.c_int32(token), ctypes.c_int64(count),
                                             ctypes.c_uint32(1), ids.ctypes, ctypes.byref(produced)):
            raise Failure("moe_session_generate fails")
        return ids[:produced.value].tolist()


def test(tools, scratch, arguments):
    folder, driver, flags = arguments[0], arguments[1], arguments[2:]
    expected = harness.safetensors.load(os.path.join(folder, "expected.safetensors"))
    prompt, stored = expected["prompt"].tolist(), expected["generated"].tolist()
    # The text ends at its eighth token at the latest; 20 more steps are queued.
    end = next(i for i in range(7, -1, -1) if stored[i] not in stored[:i])
    shutil.rmtree(scratch, ignore_errors=True)
    checkpoint = os.path.join(scratch, "checkpoint")
    shutil.copytree(folder, checkpoint)
    with open(os.path.join(checkpoint, "config.json")) as file:
        config = json.load(file)
    config["eos_token_id"] = stored[end]
    with open(os.path.join(checkpoint, "config.json"), "w") as file:
        json.dump(config, file)
    path = os.path.join(scratch, "libmodel.so")
    harness.run([os.path.join(tools, "moe-compile"), checkpoint, "--emit=shared", "-o", path, *flags])
    library, model = ctypes.CDLL(path), ctypes.c_void_p()
    options = OpenOptions(ctypes.sizeof(OpenOptions), driver=driver.encode())
    message = ctypes.create_string_buffer(1024)
    if library.moe_open(ctypes.byref(options), ctypes.byref(model), message, ctypes.c_size_t(1024)):
        raise Failure(message.value.decode())

    vocabulary = config["vocab_size"]
    decoded, fed = Session(library, model, vocabulary), Session(library, model, vocabulary)
    decoded.forward(prompt[:-1])
    ids = decoded.generate(prompt[-1], 20)
    if ids != stored[:end + 1]:
        raise Failure(f"greedy tokens {ids}, expected {stored[:end + 1]}")
    fed.forward(prompt + ids[:-1])
    harness.check_bits("what follows", decoded.forward(ids[-1:] + [7, 8]), fed.forward(ids[-1:] + [7, 8]))
    print(f"{os.path.basename(folder)}: the same bits behind the end of a text")


if __name__ == "__main__":
    harness.main(test, __doc__)
