"""Router product, selection and plan on a device: how many launches each policy takes, and what they give.

routings.py TOOLS SCRATCH launches SPEC
    counts the launches of every policy in the table of docs/Spec.md, which says how many there are
routings.py TOOLS SCRATCH numbers --driver=FILE
    on the chip "host", the threads in three orders: what is chosen against the plain path on the CPU, the plan against
    NumPy
"""
import os
import re

import numpy as np

import harness
from harness import safetensors

HEAD = """
#rows = affine_map<(m, n, k) -> (m, k)>
#weight = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
"""

ROUTE = """
ml_program.global private @router(#moe.source<"router", tensor<{E}x{H}xf32>>) : tensor<{E}x{H}xf32>
func.func @route(%x: tensor<?x{H}xf32> {{moe.name = "x"}}{parameters})
    -> (tensor<?x{k}xi32> {{moe.name = "ids"}}, tensor<{ends}xi64> {{moe.name = "offsets"}},
        tensor<?xi64> {{moe.name = "tokens"}}, tensor<?x{k}xi64> {{moe.name = "slots"}}) {{
{casts}  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %router = ml_program.global_load_const @router : tensor<{E}x{H}xf32>
  %count = tensor.dim %x, %c0 : tensor<?x{H}xf32>
  %empty = tensor.empty(%count) : tensor<?x{E}xf32>
  %zeros = linalg.fill ins(%zero : f32) outs(%empty : tensor<?x{E}xf32>) -> tensor<?x{E}xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %router : tensor<?x{H}xf32>, tensor<{E}x{H}xf32>) outs(%zeros : tensor<?x{E}xf32>) -> tensor<?x{E}xf32>
  %routing = moe.select %logits policy(#moe.{policy}) {given} score(#moe.{score}) normalize(#moe.{normalize})
    : tensor<?x{E}xf32> -> !moe.routing<? x {E}, slots = {k}>
  %offsets, %tokens, %slots = moe.plan %routing : !moe.routing<? x {E}, slots = {k}>
    -> tensor<{ends}xindex>, tensor<?xindex>, tensor<?x{k}xindex>
  %ids, %weights = moe.routing_parts %routing : !moe.routing<? x {E}, slots = {k}> -> tensor<?x{k}xi32>, tensor<?x{k}xf32>
{results}
  return %ids, %o, %t, %s : tensor<?x{k}xi32>, tensor<{ends}xi64>, tensor<?xi64>, tensor<?x{k}xi64>
}}
"""

# Routing from outside.
SORT = """
func.func @sort(%ids: tensor<?x{k}xi32> {{moe.name = "ids"}}, %weights: tensor<?x{k}xf32> {{moe.name = "weights"}})
    -> (tensor<{ends}xi64> {{moe.name = "offsets"}}, tensor<?xi64> {{moe.name = "tokens"}},
        tensor<?x{k}xi64> {{moe.name = "slots"}}) {{
  %routing = moe.make_routing %ids, %weights : tensor<?x{k}xi32>, tensor<?x{k}xf32> -> !moe.routing<? x {E}, slots = {k}>
  %offsets, %tokens, %slots = moe.plan %routing : !moe.routing<? x {E}, slots = {k}>
    -> tensor<{ends}xindex>, tensor<?xindex>, tensor<?x{k}xindex>
{results}
  return %o, %t, %s : tensor<{ends}xi64>, tensor<?xi64>, tensor<?x{k}xi64>
}}
"""

RESULTS = """  %o = arith.index_cast %offsets : tensor<{ends}xindex> to tensor<{ends}xi64>
  %t = arith.index_cast %tokens : tensor<?xindex> to tensor<?xi64>
  %s = arith.index_cast %slots : tensor<?x{k}xindex> to tensor<?x{k}xi64>"""

class Policy:
    """How a policy is written, and what it reads at run time: name, type, and an array for so many tokens."""

    def __init__(self, text, experts, slots, *parameters, score="softmax", normalize="keep"):
        self.text, self.experts, self.slots, self.parameters = text, experts, slots, parameters
        self.score, self.normalize = score, normalize

    def source(self, hidden):
        names = {"E": self.experts, "H": hidden, "k": self.slots, "ends": self.experts + 1}
        # Numbers of the type index do not leave or enter a program in tensors.
        casts = [(name, type, type.replace("index", "i64")) for name, type, _ in self.parameters if "index" in type]
        self.casts = len(casts) + 3
        declared = "".join(f", %{name}{'64' if 'index' in type else ''}: {type.replace('index', 'i64')}"
                           f' {{moe.name = "{name}"}}' for name, type, _ in self.parameters)
        given = ", ".join(f"{name} = %{name} : {type}" for name, type, _ in self.parameters)
        return HEAD + ROUTE.format(
            **names, parameters=declared, policy=self.text, score=self.score, normalize=self.normalize,
            given=f"with({given})" if given else "",
            casts="".join(f"  %{n} = arith.index_cast %{n}64 : {wide} to {type}\n" for n, type, wide in casts), results=RESULTS.format(**names),
        ) + SORT.format(**names, results=RESULTS.format(**names))

    def inputs(self, random, tokens):
        return {name: make(random, tokens) for name, _, make in self.parameters}


def numbers(low, high, dtype=np.int32):
    return lambda random, tokens: random.integers(low, high, tokens).astype(dtype)


def fractions(scale):
    return lambda random, tokens: (random.random(tokens) * scale).astype(np.float32)


KEY = ("key", "tensor<1xi32>", lambda random, tokens: np.array([17], np.int32))
COUNTER = ("counter", "tensor<?xi32>", lambda random, tokens: np.arange(tokens, dtype=np.int32))
POLICIES = {
    "top_k": [Policy("top_k<4>", 16, 4, normalize="sum_to_one"),
              Policy("top_k<4>", 16, 4, ("k", "tensor<?xi32>", numbers(0, 5))),
              Policy("top_k<1>", 1, 1), Policy("top_k<1>", 7, 1), Policy("top_k<7>", 7, 7),
              Policy("top_k<8>", 256, 8, score="sigmoid")],
    "group_limited_top_k": [Policy("group_limited_top_k<k = 4, groups = 4, keep = 2, judge = top2_sum>", 16, 4,
                                   score="sigmoid", normalize="sum_to_one")],
    "per_group_top_k": [Policy("per_group_top_k<k = 1, groups = 4>", 16, 4)],
    "top_p": [Policy("top_p<slots = 6>", 16, 6, ("p", "tensor<?xf32>", fractions(1)))],
    "gap": [Policy("gap", 16, 2, ("gap", "tensor<?xf32>", fractions(0.2)))],
    "threshold": [Policy("threshold<slots = 6, otherwise = nothing>", 16, 6, (
        "thresholds", "tensor<?x16xf32>", lambda random, tokens: (random.random((tokens, 16)) * 0.3).astype(np.float32)))],
    "ranks": [Policy("ranks<[1, 3]>", 16, 2)],
    "sequential_masked": [Policy("sequential_masked<k = 2, jitter = 1.0e-2 : f32>", 16, 2, score="identity")],
    "random": [Policy("random", 16, 1, KEY, COUNTER)],
    "sample": [Policy("sample", 16, 1, KEY, COUNTER)],
    "all": [Policy("all", 5, 5)],
    "expert_choice": [Policy("expert_choice", 6, 6, (
        "capacity", "tensor<1xindex>", lambda random, tokens: np.array([tokens // 3], np.int64)))],
}
HIDDEN = 24


# Launches ---------------------------------------------------------------------------------------------------------


def read_table(path):
    """Launches of each policy, as the specification says."""
    with open(path) as file:
        text = file.read()
    table = text[text.index("| policy |") :].split("\n\n")[0]
    return dict(re.findall(r"^\| `(\w+)[^|]*\|(?:[^|]*\|){4} (\S+) \|$", table, re.M))


def count_launches(tools, scratch, policy):
    path = os.path.join(scratch, "policy.mlir")
    with open(path, "w") as file:
        file.write(policy.source(HIDDEN))
    text = harness.run([os.path.join(tools, "moe-compile"), path, "--target=nvptx", "--stop-after=kernels", "-o", "-"])
    body = text[text.index("func.func @route(") : text.index("func.func @sort(")]
    # Less those that only the types of parameters and results cost.
    return body.count("gpu.launch_func") - policy.casts


def test_launches(tools, scratch, spec):
    want = read_table(spec)
    if set(want) != set(POLICIES):
        raise harness.Failure(f"the table has {sorted(want)}, this test {sorted(POLICIES)}: expected the same policies")
    for name, policies in POLICIES.items():
        for policy in policies:
            got = count_launches(tools, scratch, policy)
            if str(got) != want[name]:
                raise harness.Failure(f"{name} ({policy.text}): {got} launches, docs/Spec.md says {want[name]}")
        print(f"{name}: {want[name]}")


# Numbers ----------------------------------------------------------------------------------------------------------


def plan(ids, experts):
    """Pairs by expert, then token, then slot; those without an expert nowhere."""
    tokens, slots = ids.shape
    pairs = ids.reshape(-1).astype(np.int64)
    taken = (pairs >= 0) & (pairs < experts)
    order = np.flatnonzero(taken)[np.argsort(pairs[taken], kind="stable")]
    rows = np.full(tokens * slots, -1, np.int64)
    rows[order] = np.arange(len(order))
    of_rows = np.zeros(tokens * slots, np.int64)
    of_rows[: len(order)] = order // slots
    offsets = np.concatenate([[0], np.cumsum(np.bincount(pairs[taken], minlength=experts))]).astype(np.int64)
    return {"offsets": offsets, "tokens": of_rows, "slots": rows.reshape(ids.shape)}


def check_plan(title, got, ids, experts):
    for name, want in plan(ids, experts).items():
        harness.check_equal(f"{title}: {name}", got[name], want)


def make_rows(random, tokens):
    """Small integers, so that many logits are equal; a row of NaN."""
    x = random.integers(-1, 2, (tokens, HIDDEN)).astype(np.float32)
    if tokens > 4:
        x[3] = np.nan
    return x


def given_ids(random, tokens, experts, slots):
    """Ids from anywhere: empty slots, ids of no expert, all of one expert."""
    yield random.integers(-1, experts, (tokens, slots)).astype(np.int32)
    yield random.choice(np.array([-(2**31), -7, -1, 0, experts - 1, experts, 2**31 - 1], np.int32), (tokens, slots))
    yield np.full((tokens, slots), experts - 1, np.int32)
    yield np.full((tokens, slots), -1, np.int32)


def test_policy(tools, scratch, policy, driver, random):
    source, weights = (os.path.join(scratch, name) for name in ("policy.mlir", "weights.safetensors"))
    with open(source, "w") as file:
        file.write(policy.source(HIDDEN))
    safetensors.save(weights, {"router": random.integers(-1, 2, (policy.experts, HIDDEN)).astype(np.float32)})
    plain = harness.compile_program(tools, source, os.path.join(scratch, "plain"), [f"--weights={weights}", "--moe-reference"])
    device = harness.compile_program(tools, source, os.path.join(scratch, "device"),
                                     [f"--weights={weights}", "--target=nvptx", "--chip=host", driver])
    for tokens, order in ((0, "forward"), (1, "reverse"), (15, "forward"), (16, "shuffle"), (17, "reverse"), (100, "shuffle")):
        os.environ["MOE_STAND_IN"] = f"order={order}"
        title = f"{policy.text} of {policy.experts}, {tokens} tokens, {order}"
        inputs = {"x": make_rows(random, tokens), **policy.inputs(random, tokens)}
        want, got = plain.call("route", inputs), device.call("route", inputs)
        harness.check_equal(f"{title}: ids", got["ids"], want["ids"])
        check_plan(title, got, want["ids"], policy.experts)
        for ids in given_ids(random, tokens, policy.experts, policy.slots):
            check_plan(f"{title}, ids from outside", device.call("sort", {"ids": ids, "weights": np.zeros(ids.shape, np.float32)}),
                       ids, policy.experts)


def test_numbers(tools, scratch, driver):
    random = np.random.default_rng(11)
    for name, policies in POLICIES.items():
        for policy in policies:
            test_policy(tools, scratch, policy, driver, random)
        print(f"{name}: ids and plans as expected")


def test(tools, scratch, arguments):
    if arguments[0] == "launches":
        test_launches(tools, scratch, arguments[1])
    else:
        test_numbers(tools, scratch, arguments[1])


if __name__ == "__main__":
    harness.main(test, __doc__)
