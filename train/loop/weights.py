"""What becomes of the codes of quantised weights during a training: how many are zero, how many ever move."""

__all__ = ["CodeWatch"]

from typing import Any

import torch
from torch import Tensor, nn

from tetrit import formats
from tetrit.train.qat import quantized_weights


class CodeWatch:
    """The codes of all quantised weights at the start, and which of them have been seen to differ from it.

    Parameters
    ----------
    model : nn.Module
        As `tetrit.train.prepare` has left it.
    """

    def __init__(self, model: nn.Module) -> None:
        self.first: dict[str, Tensor] = {}
        self.moved: dict[str, Tensor] = {}
        for name, q in quantized_weights(model):
            self.first[name] = torch.from_numpy(q.codes.astype("int64")).to(torch.int32)
            self.moved[name] = torch.zeros(q.codes.shape, dtype=torch.bool)

    def look(self, model: nn.Module) -> dict[str, Any]:
        """Compare the codes of now, and return the figures for each layer and for all weights together.

        Returns
        -------
        dict
            Under each layer's name, and ``"all"``: ``weights``, their number; ``zero``, the share whose code is a zero
            of either sign (the dead zone of a ternary quantiser); ``unmoved``, the share whose code was the same at the
            start and at every look since.
        """
        figures: dict[str, Any] = {}
        total = [0, 0, 0]
        for name, q in quantized_weights(model):
            codes = torch.from_numpy(q.codes.astype("int64")).to(torch.int32)
            self.moved[name] |= codes != self.first[name]
            zero = int((formats.get(q.format).values == 0)[q.codes].sum())
            counts = [codes.numel(), zero, int((~self.moved[name]).sum())]
            figures[name] = _shares(counts)
            total = [a + b for a, b in zip(total, counts, strict=True)]
        return figures | {"all": _shares(total)} if figures else {}

    def state_dict(self) -> dict[str, Any]:
        """Return the codes of the start and what has moved, by layer."""
        return {"first": self.first, "moved": self.moved}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to what `state_dict` gave; raises KeyError if the layers are others."""
        self.first = {name: state["first"][name] for name in self.first}
        self.moved = {name: state["moved"][name] for name in self.moved}


def _shares(counts: list[int]) -> dict[str, Any]:
    weights, zero, unmoved = counts
    return {"weights": weights, "zero": zero / weights, "unmoved": unmoved / weights}
