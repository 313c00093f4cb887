"""Long short-term memory out of plain linear layers, so that its projections can be quantised."""

__all__ = ["LSTM", "Cell"]

import torch
from torch import Tensor, nn


class Cell(nn.Module):
    """One layer: the gates are the sum of a projection of the input and one of the state before.

    Parameters
    ----------
    n_in, width : int
        Sizes of the input and of the state.

    Notes
    -----
    Hochreiter, Schmidhuber, "Long Short-Term Memory", Neural Computation 9 (1997), with the forget gate of Gers et al.
    (2000), whose offset starts at 1. The formulas and the order of the gates (input, forget, cell, output) are those of
    ``torch.nn.LSTM``; here one offset serves both projections.
    """

    def __init__(self, *, n_in: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.from_input = nn.Linear(n_in, 4 * width)
        self.from_state = nn.Linear(width, 4 * width, bias=False)
        for projection in (self.from_input, self.from_state):
            nn.init.uniform_(projection.weight, -(width**-0.5), width**-0.5)
        nn.init.zeros_(self.from_input.bias)
        nn.init.ones_(self.from_input.bias[width : 2 * width])

    def forward(self, x: Tensor) -> Tensor:
        """Return the states, shape (batch, time, width), of inputs, shape (batch, time, n_in), from a zero state."""
        state = cell = x.new_zeros(len(x), self.width)
        states = []
        for gates in self.from_input(x).unbind(1):  # (batch, 4 width); all inputs are projected at once
            i, f, g, o = (gates + self.from_state(state)).chunk(4, -1)
            cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
            state = o.sigmoid() * cell.tanh()
            states.append(state)
        return torch.stack(states, 1)


class LSTM(nn.Module):
    """A character language model.

    Parameters
    ----------
    symbols : int
        Size of the alphabet.
    layers, width : int

    Examples
    --------
    >>> import torch
    >>> from tetrit.train.models.lstm import LSTM
    >>> LSTM(symbols=96, layers=2, width=32)(torch.zeros(3, 16, dtype=torch.long)).shape
    torch.Size([3, 16, 96])
    """

    def __init__(self, *, symbols: int, layers: int, width: int) -> None:
        super().__init__()
        self.symbol = nn.Embedding(symbols, width)
        self.cells = nn.Sequential(*(Cell(n_in=width, width=width) for _ in range(layers)))
        self.head = nn.Linear(width, symbols)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores of each next symbol, shape (batch, time, symbols), of symbols, shape (batch, time)."""
        y: Tensor = self.head(self.cells(self.symbol(x)))
        return y
