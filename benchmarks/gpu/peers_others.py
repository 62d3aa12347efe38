"""Peers with kernels of their own. Written after their documentation; none of them was at hand when this was written,
so one whose interface has moved shows as failed, with what it said. Results are checked before anything is timed."""
from peers import Missing, Peer


class VLLM(Peer):
    name = "vLLM fused_experts (Triton)"

    def __init__(self, data):
        super().__init__(data)
        from vllm.model_executor.layers.fused_moe import fused_experts

        self.experts = fused_experts

    def __call__(self, x, ids, shares):
        return self.experts(x, self.data.w13, self.data.w2, shares, ids.int())


class SGLang(Peer):
    name = "SGLang fused_experts (Triton)"

    def __init__(self, data):
        super().__init__(data)
        from sglang.srt.layers.moe.fused_moe_triton.fused_moe import fused_experts_impl

        self.experts = fused_experts_impl

    def __call__(self, x, ids, shares):
        return self.experts(x, self.data.w13, self.data.w2, shares, ids.int(), inplace=False)


class DeepGEMM(Peer):
    """The two grouped products of DeepGEMM; sorting into padded groups, activation and combine in torch."""

    name = "DeepGEMM bf16, the rest in torch"

    def __init__(self, data):
        super().__init__(data)
        import deep_gemm

        self.product = deep_gemm.m_grouped_bf16_gemm_nt_contiguous
        self.alignment = deep_gemm.get_m_alignment_for_contiguous_layout()

    def __call__(self, x, ids, shares):
        torch, data, slots, experts = self.torch, self.data, ids.shape[1], self.model.experts
        flat = ids.reshape(-1)
        order = torch.argsort(flat, stable=True)
        sorted_ids = flat[order]
        ends = torch.searchsorted(sorted_ids, torch.arange(1, experts + 1, device=x.device))
        rows = torch.diff(ends, prepend=ends.new_zeros(1))
        padding = -rows % self.alignment
        places = torch.arange(len(flat), device=x.device) + (padding.cumsum(0) - padding)[sorted_ids]
        total = len(flat) + min(len(flat), experts) * (self.alignment - 1)
        total = -(-total // self.alignment) * self.alignment
        groups = torch.full((total,), -1, dtype=torch.int32, device=x.device)
        groups[places] = sorted_ids.int()
        padded = x.new_empty(total, x.shape[1])
        padded[places] = x[order // slots]
        both, out = x.new_empty(total, data.w13.shape[1]), x.new_empty(total, x.shape[1])
        self.product(padded, data.w13, both, groups)
        gate, up = both.chunk(2, -1)
        self.product(torch.nn.functional.silu(gate) * up, data.w2, out, groups)
        y = torch.zeros(x.shape, dtype=torch.float32, device=x.device)
        return y.index_add_(0, order // slots, out[places] * shares.reshape(-1)[order, None]).to(x.dtype)


class SonicMoE(Peer):
    name = "SonicMoE"

    def __init__(self, data):
        super().__init__(data)
        import sonicmoe
        from sonicmoe.enums import ActivationType

        self.experts, self.activation = sonicmoe.moe_general_routing_inputs, ActivationType.SWIGLU

    def __call__(self, x, ids, shares):
        torch, data = self.torch, self.data
        tokens = torch.arange(len(x), device=x.device, dtype=torch.int32).repeat_interleave(ids.shape[1])
        y, _ = self.experts(x, shares.reshape(-1).to(x.dtype), tokens, ids.reshape(-1).int(),
                            data.w13.permute(1, 2, 0), None, data.w2.permute(1, 2, 0), None, E=self.model.experts,
                            activation_type=self.activation, is_inference_mode_enabled=True, concat_layout=True,
                            stream_id=None)
        return y


class FlashInferCutlass(Peer):
    name = "FlashInfer cutlass_fused_moe"

    def __init__(self, data):
        super().__init__(data)
        from flashinfer.fused_moe import cutlass_fused_moe

        self.experts = cutlass_fused_moe
        gate, up = data.w13.chunk(2, 1)
        self.w31 = self.torch.cat([up, gate], 1)  # its order

    def __call__(self, x, ids, shares):
        out = self.experts(x, ids.int(), shares, self.w31, self.data.w2, x.dtype, quant_scales=[])
        return out[0] if isinstance(out, (list, tuple)) else out


class FlashInferDsl(Peer):
    """Its documentation names no order of gate and up; that of the checkpoint is tried, and the check decides."""

    name = "FlashInfer cute_dsl_fused_moe_bf16"

    def __init__(self, data):
        super().__init__(data)
        from flashinfer.fused_moe.cute_dsl import cute_dsl_fused_moe_bf16

        self.experts = cute_dsl_fused_moe_bf16

    def __call__(self, x, ids, shares):
        return self.experts(x, ids.int(), shares, self.data.w13, self.data.w2, self.model.experts, self.model.slots)


class TileOPs(Peer):
    name, regions, routes = "TileOPs FusedMoe", ("layer",), True

    def __init__(self, data):
        super().__init__(data)
        from tileops.ops.moe.fused_moe import FusedMoeFwdOp

        model = self.model
        if model.groups:
            raise Missing("it has no choice that is limited to groups")
        self.experts = FusedMoeFwdOp(len(data.x), model.experts, model.slots, model.hidden, model.width,
                                     renormalize=True)

    def __call__(self, x):
        return self.experts(x, x @ self.data.router.T, self.data.w13, self.data.w2)


OTHERS = (VLLM, SGLang, DeepGEMM, SonicMoE, FlashInferCutlass, FlashInferDsl, TileOPs)
