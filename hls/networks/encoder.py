"""The stack of encoder layers of BERT-base."""

__all__ = ["bert_base"]

import numpy as np

from tetrit.hls.graph import Graph
from tetrit.hls.graph.build import Builder


def bert_base(steps: int = 512, layers: int = 12) -> Graph:
    """Return the encoder of BERT-base (Devlin et al., arXiv 1810.04805): 12 layers of 768, 12 heads, 512 tokens."""
    b = Builder("bert_base")
    width, n_heads = 768, 12
    x = b.input("embedded", (1, steps, width))
    scale = b.constant(np.float32((width // n_heads) ** -0.5))
    for _ in range(layers):
        query, key, value = (
            b.transpose(b.reshape(b.linear(x, width), (1, steps, n_heads, width // n_heads)), order)
            for order in ((0, 2, 1, 3), (0, 2, 3, 1), (0, 2, 1, 3))
        )
        weights = b.softmax(b.node("Mul", [b.matmul(query, key), scale]))
        mixed = b.reshape(b.transpose(b.matmul(weights, value), (0, 2, 1, 3)), (1, steps, width))
        x = b.layer_norm(b.add(x, b.linear(mixed, width)))
        x = b.layer_norm(b.add(x, b.linear(b.gelu(b.linear(x, 4 * width)), width)))
    return b.build([x])
