"""MoGE: s = softmax over all experts, the best of each of 4 groups, weight s_e c_e; plus a shared expert."""
import numpy as np

E, GROUPS = 8, 4


def softmax(z):
    p = np.exp(z - z.max())
    return p / p.sum()


def oracle(weights, x):
    y = np.zeros_like(x)
    for t, row in enumerate(x):
        s = softmax(weights["router"] @ row).astype(np.float32)  # where both of a group are 0 in it, the first is chosen
        y[t] = np.maximum(weights["shared"] @ row, 0)
        for group in range(GROUPS):
            members = range(group * E // GROUPS, (group + 1) * E // GROUPS)
            e = max(members, key=lambda e: (s[e], -e))
            y[t] += np.float64(s[e]) * weights["scale"][e] * np.maximum(weights["expert"][e] @ row, 0)
    return y


def choose(system, logits, function):
    return system.run({"logits": np.array(logits, np.float32)}, function)


def trap_every_group_gets_the_same_number_of_rows(system):
    rng = np.random.default_rng(4)
    for logits in (rng.standard_normal((50, E)), np.zeros((50, E)), np.tile([9, 8, 7, 6, 5, 4, 3, 2], (50, 1))):
        ids = choose(system, logits, "choice")["ids"]
        assert (np.sort(ids // (E // GROUPS), -1) == np.arange(GROUPS)).all()


def trap_not_group_limited(system):
    """Choosing groups first and experts in them takes both experts of the two best groups."""
    z = [[9, 8, 7, 6, 1, 0, 1, 0]]
    assert choose(system, z, "choice")["ids"].tolist() == [[0, 2, 4, 6]]
    assert choose(system, z, "group_limited")["ids"].tolist() == [[0, 1, 2, 3]]


def trap_one_group_is_raw_top_k(system):
    rng = np.random.default_rng(5)
    logits = rng.standard_normal((50, E))
    one, top = choose(system, logits, "one_group"), choose(system, logits, "top_4")
    for name in one:
        system.compare(name, one[name], top[name], exact=True)


def trap_weights_are_shares_of_all_experts(system):
    rng = np.random.default_rng(6)
    logits = rng.standard_normal((50, E)).astype(np.float32)
    got = choose(system, logits, "choice")
    s = np.stack([softmax(row) for row in logits.astype(np.float64)])
    system.compare("weights", got["weights"], np.take_along_axis(s, got["ids"].astype(np.int64), -1))
    assert (got["weights"].sum(-1) < 1).all()


def trap_ties_and_nan(system):
    assert choose(system, np.zeros((1, E)), "choice")["ids"].tolist() == [[0, 2, 4, 6]]
    assert choose(system, np.full((1, E), np.nan), "choice")["ids"].tolist() == [[0, 2, 4, 6]]


def trap_a_vote_couples_the_batch(system):
    """Each group keeps the expert that most tokens prefer; without company, or where all agree, nothing changes."""
    rng = np.random.default_rng(7)
    logits = rng.standard_normal((51, E)).astype(np.float32)
    got = choose(system, logits, "voted")
    pairs = logits.reshape(51, GROUPS, 2)
    second = (pairs[:, :, 1] > pairs[:, :, 0]).sum(0) > 51 - (pairs[:, :, 1] > pairs[:, :, 0]).sum(0)
    winners = 2 * np.arange(GROUPS) + second
    system.compare("ids", got["ids"], np.tile(winners, (51, 1)))
    system.compare("weights", got["weights"], np.stack([softmax(row)[winners] for row in logits.astype(np.float64)]))
    alone = [choose(system, logits[t : t + 1], "voted") for t in range(3)]
    for t, own in enumerate(alone):
        without = choose(system, logits[t : t + 1], "choice")
        system.compare("a token alone", own["ids"], without["ids"])
        system.compare("a token alone", own["weights"], without["weights"], exact=True)
    assert any((own["ids"] != winners).any() for own in alone)
    system.compare("ties and no tokens", choose(system, np.zeros((2, E)), "voted")["ids"], np.tile([0, 2, 4, 6], (2, 1)))
    assert choose(system, np.zeros((0, E)), "voted")["ids"].shape == (0, GROUPS)
