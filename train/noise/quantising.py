"""The values of quantised weights in training: those of the quantiser, in fewer calls where that is simple."""

__all__ = ["quantised"]

import torch
from torch import Tensor

from tetrit.estimators.uniform import STE
from tetrit.train.noise import tasks
from tetrit.train.quantizers import Quantizer

_MAGNITUDE = 0x7FFFFFFF
"""The bits of a float32 without its sign."""


def quantised(quantizer: Quantizer, weight: Tensor) -> Tensor:
    """Return ``quantizer.values(weight)``, the same bits.

    For a small layer the calls that lead to the quantiser's loop take as long as the loop.
    """
    e = quantizer.estimator
    plain = weight.dtype == torch.float32 and weight.is_cpu and weight.is_contiguous() and weight.numel() > 0
    if not (plain and quantizer.training and type(e) is STE and e.axis == 0):
        return quantizer.values(weight)
    n, found, work = len(weight), torch.empty_like(weight), torch.empty(2, len(weight), dtype=torch.float64)
    n_in = weight.numel() // n
    x, magnitudes, limits = (weight.data_ptr(), n, n_in), (work.data_ptr(), n), (work[1].data_ptr(), n)
    words = *x, *x, _MAGNITUDE, *magnitudes, *magnitudes, *e.ends, *limits, found.data_ptr(), n, n_in
    return found if tasks.QUANTISE(n, n_in, *words) else quantizer.values(weight)  # which says what is not finite
