"""A small causal transformer whose projections are plain linear layers, so that each can be quantised."""

__all__ = ["GPT", "Attention", "Layer"]

import torch
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """Causal self-attention with the projections as four linear layers.

    Parameters
    ----------
    width : int
        A multiple of `heads`.
    heads : int
    """

    def __init__(self, *, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return, for each place of `x`, shape (batch, time, width), a mixture over it and the places before it."""
        # (batch, time, width) -> (batch, heads, time, width / heads)
        q, k, v = (
            projection(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projection in (self.query, self.key, self.value)
        )
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        y: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return y


class Layer(nn.Module):
    """Attention and a two-layer perceptron, each on the normalised stream and added to it.

    Parameters
    ----------
    width, heads : int
    dropout : float
        On what is added.
    """

    def __init__(self, *, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.attention = Attention(width=width, heads=heads)
        self.norm_perceptron = nn.LayerNorm(width)
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, time, width) to the same shape."""
        x = x + self.dropout(self.attention(self.norm_attention(x)))
        y: Tensor = x + self.dropout(self.perceptron(self.norm_perceptron(x)))
        return y


class GPT(nn.Module):
    """A character language model.

    Parameters
    ----------
    symbols : int
        Size of the alphabet.
    context : int
        Most symbols in a row; each place has a learned embedding.
    layers, heads, width : int
    dropout : float

    Notes
    -----
    After Radford et al., "Language Models are Unsupervised Multitask Learners" (2019): normalisation before each branch
    and at the end, GELU, perceptrons four times as wide. Weights start from N(0, 0.02), those that end a branch divided
    by sqrt(2 layers), as there. Attention has three separate projections in the place of their joint one.

    Examples
    --------
    >>> import torch
    >>> from tetrit.train.models.gpt import GPT
    >>> model = GPT(symbols=96, context=16, layers=2, heads=2, width=32, dropout=0.0)
    >>> model(torch.zeros(3, 16, dtype=torch.long)).shape
    torch.Size([3, 16, 96])
    """

    def __init__(self, *, symbols: int, context: int, layers: int, heads: int, width: int, dropout: float) -> None:
        super().__init__()
        self.symbol = nn.Embedding(symbols, width)
        self.place = nn.Embedding(context, width)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.Sequential(*(Layer(width=width, heads=heads, dropout=dropout) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, symbols, bias=False)
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                ends_branch = name.endswith(("attention.out", "perceptron.2"))
                nn.init.normal_(module.weight, std=0.02 / (2 * layers) ** 0.5 if ends_branch else 0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores of each next symbol, shape (batch, time, symbols), of symbols, shape (batch, time)."""
        places = torch.arange(x.shape[1], device=x.device)
        y: Tensor = self.head(self.norm(self.layers(self.dropout(self.symbol(x) + self.place(places)))))
        return y
