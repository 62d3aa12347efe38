"""Peers that need torch, or transformers beside it."""
from peers import Missing, Peer


class Loop(Peer):
    """An expert after the other, its rows found on the device: torch as people write it first."""

    name, graph = "torch, loop over experts", False

    def __call__(self, x, ids, shares):
        torch, data = self.torch, self.data
        y = torch.zeros(x.shape, dtype=torch.float32, device=x.device)
        for expert in range(self.model.experts):
            tokens, slots = torch.where(ids == expert)
            if not len(tokens):
                continue
            gate, up = (x[tokens] @ data.w13[expert].T).chunk(2, -1)
            out = (torch.nn.functional.silu(gate) * up) @ data.w2[expert].T
            y.index_add_(0, tokens, out * shares[tokens, slots, None])
        return y.to(x.dtype)


class Grouped(Peer):
    """torch's grouped product, with sorting, SwiGLU and the combine in torch."""

    name = "torch grouped_mm"

    def __init__(self, data):
        super().__init__(data)
        functional = self.torch.nn.functional
        self.product = getattr(functional, "grouped_mm", None) or getattr(self.torch, "_grouped_mm", None)
        if self.product is None:
            raise Missing("this torch has no grouped_mm")

    def __call__(self, x, ids, shares):
        torch, data, slots = self.torch, self.data, ids.shape[1]
        order = torch.argsort(ids.reshape(-1), stable=True)
        # The number of ids below each bound: no step waits for the host.
        bounds = torch.arange(1, self.model.experts + 1, device=x.device)
        offsets = torch.searchsorted(ids.reshape(-1)[order], bounds).int()
        tokens = order // slots
        gate, up = self.product(x[tokens], data.w13.transpose(1, 2), offs=offsets).chunk(2, -1)
        out = self.product(torch.nn.functional.silu(gate) * up, data.w2.transpose(1, 2), offs=offsets)
        y = torch.zeros(x.shape, dtype=torch.float32, device=x.device)
        return y.index_add_(0, tokens, out * shares.reshape(-1)[order, None]).to(x.dtype)


class Even(Peer):
    """Two batched products on groups of one size and the activation between: no routing, no combine, hence a bound."""

    name, regions = "torch bmm, even groups", ("experts",)
    bound_only = "an upper bound: no gather, no combine"

    def __call__(self, x, ids, shares):
        torch, data, model = self.torch, self.data, self.model
        rows = ids.numel() // model.experts
        if not rows:
            raise Missing("fewer rows than experts")
        groups = x.repeat(-(-rows * model.experts // len(x)), 1)[: rows * model.experts]
        gate, up = torch.bmm(groups.view(model.experts, rows, -1), data.w13.transpose(1, 2)).chunk(2, -1)
        return torch.bmm(torch.nn.functional.silu(gate) * up, data.w2.transpose(1, 2))


class Transformers(Peer):
    """The experts and, for whole layers, the router of transformers' modelling code."""

    routes, implementation = True, "grouped_mm"
    graph = False  # its own documentation promises none

    def __init__(self, data):
        super().__init__(data)
        model = self.model
        if model.groups:
            from transformers.models.deepseek_v3 import DeepseekV3Config as Config
            from transformers.models.deepseek_v3 import modeling_deepseek_v3 as code
            kinds = code.DeepseekV3TopkRouter, getattr(code, "DeepseekV3Experts", None) or code.DeepseekV3NaiveMoe
            more = {"n_routed_experts": model.experts, "n_group": model.groups, "topk_group": model.kept,
                    "routed_scaling_factor": model.scale}
        else:
            from transformers.models.qwen3_moe import Qwen3MoeConfig as Config
            from transformers.models.qwen3_moe import modeling_qwen3_moe as code
            kinds, more = (code.Qwen3MoeTopKRouter, code.Qwen3MoeExperts), {"num_experts": model.experts}
        config = Config(hidden_size=model.hidden, moe_intermediate_size=model.width, num_experts_per_tok=model.slots,
                        norm_topk_prob=True, **more)
        config._experts_implementation = self.implementation
        with self.torch.device("meta"):
            self.router, self.experts = (kind(config) for kind in kinds)
        self.put(self.router, "weight", data.router)
        self.put(self.experts, "gate_up_proj", data.w13)
        self.put(self.experts, "down_proj", data.w2)
        if model.groups:
            self.router.e_score_correction_bias = self.torch.zeros(model.experts, device=data.device)

    def put(self, module, name, value):
        setattr(module, name, self.torch.nn.Parameter(value, requires_grad=False))

    def __call__(self, x, ids=None, shares=None):
        if ids is None:
            _, shares, ids = self.router(x)
        return self.experts(x, ids, shares.to(x.dtype))


class TransformersGrouped(Transformers):
    name = "transformers grouped_mm"


class TransformersEager(Transformers):
    name, implementation = "transformers eager", "eager"


class TransformersBatched(Transformers):
    """Copies the weights of each token's experts, so only for few tokens."""

    name, implementation = "transformers batched_mm", "batched_mm"

    def __init__(self, data):
        copies = 6 * data.ids.numel() * data.model.hidden * data.model.width
        if copies > 8 << 30:
            raise Missing(f"would copy {copies >> 30} GiB of weights")
        super().__init__(data)


TORCH = (Loop, Grouped, Even, TransformersGrouped, TransformersEager, TransformersBatched)
