"""Transformers: the image classifier ViT-S/16, and a decoder of 7 billion parameters at both of its phases."""

__all__ = ["transformer_7b_decode", "transformer_7b_prefill", "vit_s"]

import numpy as np

from tetrit.hls.graph import Graph
from tetrit.hls.graph.build import Builder

_LLAMA = {"width": 4096, "n_heads": 32, "hidden": 11008, "vocabulary": 32000}


def vit_s(layers: int = 12) -> Graph:
    """Return ViT-S/16 (DeiT-S in Touvron et al., arXiv 2012.12877): width 384, 6 heads, 196 patches, a class token."""
    b = Builder("vit_s")
    width, n_heads = 384, 6
    patches = b.reshape(b.conv(b.input("image", (1, 3, 224, 224)), width, 16, 16, bias=True), (1, width, 196))
    token = b.constant(np.broadcast_to(np.float32(0), (1, 1, width)))
    x = b.concat([token, b.transpose(patches, (0, 2, 1))], axis=1)
    x = b.add(x, b.constant(np.broadcast_to(np.float32(0), (1, 197, width))))
    for _ in range(layers):
        x = b.add(x, _attention(b, b.layer_norm(x), 197, width, n_heads))
        x = b.add(x, b.linear(b.gelu(b.linear(b.layer_norm(x), 4 * width)), width))
    first = b.node("Gather", [b.layer_norm(x), b.constant(np.int64(0))], axis=1)
    return b.build([b.linear(first, 1000)])


def _attention(b: Builder, x: str, steps: int, width: int, n_heads: int) -> str:
    """Add self-attention over a whole sequence."""
    split, size = (1, steps, n_heads, width // n_heads), width // n_heads
    query, key, value = (
        b.transpose(b.reshape(b.linear(x, width), split), order) for order in ((0, 2, 1, 3), (0, 2, 3, 1), (0, 2, 1, 3))
    )
    scale = b.constant(np.float32(size**-0.5))
    weights = b.softmax(b.node("Mul", [b.matmul(query, key), scale]))
    return b.linear(b.reshape(b.transpose(b.matmul(weights, value), (0, 2, 1, 3)), (1, steps, width)), width)


def transformer_7b_prefill(steps: int = 2048, layers: int = 32) -> Graph:
    """Return a 7-billion-parameter decoder that reads a prompt of `steps` tokens at once.

    Sizes of LLaMA-7B (Touvron et al., arXiv 2302.13971): 32 layers of width 4096, 32 heads, gated feed-forward of
    11,008, 32,000 words. Keys and values of the prompt stay within the graph. Rotary embedding and the causal mask,
    which have no matrix product, are left out; scores are computed for the whole square. Logits are those of the last
    token.
    """
    return _decoder("transformer_7b_prefill", steps, 0, layers)


def transformer_7b_decode(past: int = 2047, layers: int = 32) -> Graph:
    """Return the same decoder making one token after `past` others, whose keys and values are inputs."""
    return _decoder("transformer_7b_decode", 1, past, layers)


def _decoder(name: str, steps: int, past: int, layers: int) -> Graph:
    b = Builder(name)
    width, n_heads, words = _LLAMA["width"], _LLAMA["n_heads"], _LLAMA["vocabulary"]
    size = width // n_heads
    table = b.constant(np.broadcast_to(np.float32(0), (words, width)))
    x = str(b.node("Gather", [table, b.input("tokens", (1, steps), "int64")], axis=0))
    scale = b.constant(np.float32(size**-0.5))
    gain = b.constant(np.broadcast_to(np.float32(1), (width,)))
    for layer in range(layers):
        y = str(b.node("RMSNormalization", [x, gain]))
        query, key, value = (
            b.transpose(b.reshape(b.linear(y, width, bias=False), (1, steps, n_heads, size)), order)
            for order in ((0, 2, 1, 3), (0, 2, 3, 1), (0, 2, 1, 3))
        )
        if past:
            key = b.concat([b.input(f"keys{layer}", (1, n_heads, size, past)), key], axis=3)
            value = b.concat([b.input(f"values{layer}", (1, n_heads, past, size)), value], axis=2)
        weights = b.softmax(b.node("Mul", [b.matmul(query, key), scale]))
        mixed = b.reshape(b.transpose(b.matmul(weights, value), (0, 2, 1, 3)), (1, steps, width))
        x = b.add(x, b.linear(mixed, width, bias=False))
        y = str(b.node("RMSNormalization", [x, gain]))
        gate = str(b.node("Swish", [b.linear(y, _LLAMA["hidden"], bias=False)]))
        opened = str(b.node("Mul", [gate, b.linear(y, _LLAMA["hidden"], bias=False)]))
        x = b.add(x, b.linear(opened, width, bias=False))
    last = b.node("Gather", [b.node("RMSNormalization", [x, gain]), b.constant(np.int64(steps - 1))], axis=1)
    return b.build([b.linear(last, words, bias=False)])
