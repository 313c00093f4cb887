"""Multi-head attention with quantised projections and inputs, in the place of torch's own."""

__all__ = ["LowBitMultiheadAttention", "avoid_fast_paths"]

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from tetrit.errors import InvalidValueError
from tetrit.train.qat.layers import LowBitLayer


class LowBitMultiheadAttention(LowBitLayer, nn.MultiheadAttention):
    """`torch.nn.MultiheadAttention` with quantisers; `out_proj` is a quantised Linear of its own.

    Query, key and value pass through the one `input_quantizer`, the same tensor once. Not for attention with
    ``add_bias_kv`` or ``add_zero_attn``, nor for nested tensors.
    """

    kind: ClassVar[str] = "attention"
    weights: ClassVar[tuple[str, ...]] = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Return output and attention weights as `torch.nn.MultiheadAttention` does, of quantised projections."""
        if is_causal and attn_mask is None:
            raise InvalidValueError("`attn_mask` must be given with `is_causal`, which is no more than a hint about it")
        batched = query.dim() == 3
        mask = self._mask(query, key, key_padding_mask, attn_mask)
        q, k, v = self._projected(query, key, value)
        if not batched:
            q, k, v = (x[None] for x in (q, k, v))
        elif not self.batch_first:
            q, k, v = (x.transpose(0, 1) for x in (q, k, v))
        # (batch, time, width) -> (batch, heads, time, width / heads)
        q, k, v = (x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for x in (q, k, v))
        dropout = self.dropout if self.training else 0.0
        shares = None
        if need_weights:
            scores = q @ k.transpose(-1, -2) * self.head_dim**-0.5
            shares = functional.dropout((scores if mask is None else scores + mask).softmax(-1), dropout)
            mixed = shares @ v
        else:
            mixed = functional.scaled_dot_product_attention(q, k, v, mask, dropout)
        y = mixed.transpose(1, 2).flatten(2)
        if not batched:
            y = y[0]
        elif not self.batch_first:
            y = y.transpose(0, 1)
        if shares is not None:
            shares = shares.mean(1) if average_attn_weights else shares
            shares = shares if batched else shares[0]
        return self.out_proj(y), shares

    def _projected(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, ...]:
        x = self.quantized_input(query)
        y = x if key is query else self.quantized_input(key)
        z = x if value is query else y if value is key else self.quantized_input(value)
        if self._qkv_same_embed_dim:
            weight, bias = self.weight_and_bias("in_proj_weight", "in_proj_bias")
            if x is y and y is z:
                return functional.linear(x, weight, bias).chunk(3, -1)
            weights, biases = weight.chunk(3), (None,) * 3 if bias is None else bias.chunk(3)
        else:
            offsets = (None,) * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
            pairs = [self.weight_and_bias(f"{name}_proj_weight", "") for name in "qkv"]
            weights = tuple(weight for weight, _ in pairs)
            biases = tuple(
                extra if offset is None else offset if extra is None else offset + extra
                for offset, (_, extra) in zip(offsets, pairs, strict=True)
            )
        return tuple(functional.linear(*args) for args in zip((x, y, z), weights, biases, strict=True))

    def _mask(self, query: Tensor, key: Tensor, padding: Tensor | None, attention: Tensor | None) -> Tensor | None:
        """Return what is added to the scores, broadcasting against (batch, heads, target, source)."""
        mask = None
        if attention is not None:
            mask = _added(attention, query.dtype)
            mask = mask if mask.dim() == 2 else mask.unflatten(0, (-1, self.num_heads))
        if padding is not None:
            ignored = _added(padding, query.dtype)
            ignored = ignored[:, None, None, :] if ignored.dim() == 2 else ignored
            mask = ignored if mask is None else mask + ignored
        return mask


def _added(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a mask to add to scores: -inf where a boolean one forbids."""
    if mask.dtype != torch.bool:
        return mask.to(dtype)
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(mask, -torch.inf)


def avoid_fast_paths(model: nn.Module) -> None:
    """Keep torch's transformer layers from their fused inference, which would read the latent weights themselves."""
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoderLayer) and _has_low_bit(module):
            module.activation_relu_or_gelu = 0  # "neither": without it there is no fused kernel
        elif isinstance(module, nn.TransformerEncoder) and _has_low_bit(module):
            module.use_nested_tensor = False


def _has_low_bit(module: nn.Module) -> bool:
    return any(isinstance(child, LowBitLayer) for child in module.modules())
