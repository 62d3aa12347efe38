"""The peers: transformers' own expert implementations on a checkpoint folder, with all CPUs of this process.

peer.py FOLDER IDS.npy DECODE_TOKENS IMPLEMENTATION OUT.npy
Writes the logits of the whole prompt in float32; if DECODE_TOKENS is not 0, prints one JSON object with times in
milliseconds.
Run it with a Python that has torch and transformers.
"""
import json
import os
import statistics
import sys
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import numpy as np
import torch
import transformers

WARM_UP, REPEATS = 1, 3


def timed(call):
    begin = time.perf_counter()
    result = call()
    return (time.perf_counter() - begin) * 1e3, result


@torch.no_grad()
def main():
    folder, ids_path, count, implementation, out = sys.argv[1:]
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    threads = len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    ids = torch.tensor(np.load(ids_path))[None]
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="sdpa", experts_implementation=implementation
    ).eval()
    np.save(out, model(ids, use_cache=False).logits[0].numpy())
    if int(count) == 0:  # the logits were all that was asked for
        return

    prefill = []
    for repeat in range(WARM_UP + REPEATS):
        took, output = timed(lambda: model(ids, use_cache=True, logits_to_keep=1))
        if repeat >= WARM_UP:
            prefill.append(took)
    cache, decode = output.past_key_values, []
    for _ in range(int(count)):
        following = output.logits[0, -1].argmax()[None, None]
        took, output = timed(lambda: model(following, past_key_values=cache, use_cache=True))
        decode.append(took)
    print(json.dumps({
        "prefill_ms": statistics.median(prefill), "decode_ms_per_token": statistics.median(decode), "threads": threads,
        "torch": torch.__version__, "transformers": transformers.__version__,
    }))


if __name__ == "__main__":
    main()
