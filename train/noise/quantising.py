"""The values of quantised weights in training: those of the quantiser, on PyTorch's threads where that is simple."""

__all__ = ["quantised"]

import torch
from torch import Tensor

from tetrit.estimators.uniform import STE
from tetrit.train.noise import threads
from tetrit.train.quantizers import Quantizer


def quantised(quantizer: Quantizer, weight: Tensor) -> Tensor:
    """Return ``quantizer.values(weight)``, the same bits.

    The quantiser's own loops stay on one thread up to a size that few layers have, see `tetrit.parallel.undivided`.
    """
    e = quantizer.estimator
    plain = weight.dtype == torch.float32 and weight.is_cpu and weight.is_contiguous() and weight.numel() > 0
    if not (plain and quantizer.training and type(e) is STE and e.axis == 0):
        return quantizer.values(weight)
    n, found = len(weight), torch.empty_like(weight)
    n_in = weight.numel() // n
    words = weight.data_ptr(), n, n_in, *e.ends, found.data_ptr()
    return found if threads.QUANTISE(n, n_in, *words) else quantizer.values(weight)  # which says what is not finite
