"""What the operators share: the registry and the dtype that sums run in."""

__all__ = ["OPERATORS", "Array", "Kernel", "converted", "operator", "sum_dtype"]

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Kernel = Callable[..., Any]
"""Called with the node and, for every input, an array or None where it is absent; returns an array, or a tuple."""

OPERATORS: dict[str, Kernel] = {}
"""Operator -> function."""


def operator(*ops: str) -> Callable[[Kernel], Kernel]:
    """Register the function of operators."""

    def register(function: Kernel) -> Kernel:
        for op in ops:
            assert op not in OPERATORS, op
            OPERATORS[op] = function
        return function

    return register


def converted(x: Any, dtype: Any) -> Array:
    """Return `x` as an array of `dtype`, itself if it is one."""
    return np.asarray(x).astype(dtype, copy=False)


def sum_dtype(dtype: Any) -> Any:
    """Return the dtype that products and sums of `dtype` run in: float16 in float32, rounded once at the end."""
    return np.float32 if dtype == np.float16 else dtype
