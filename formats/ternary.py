"""Signed-zero ternary."""

__all__ = ["SignedZeroTernary"]

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tetrit.errors import InvalidValueError
from tetrit.formats._steps import Steps, steps_from_borders
from tetrit.formats.real import RealFormat


@dataclass(frozen=True, kw_only=True)
class SignedZeroTernary(RealFormat):
    """00 = +0, 01 = +1, 10 = -0, 11 = -1: bit 1 is the sign, bit 0 says nonzero.

    The code that plain two-bit ternary leaves unused keeps the sign of zero, which survives decoding as IEEE -0.0.
    `encode` rounds to nearest: up to 1/2 in magnitude goes to the zero of the input's sign.

    Notes
    -----
    Source of the idea: SZT (arXiv 2508.05905). The assignment of codes is our reconstruction.

    Examples
    --------
    >>> from tetrit import formats
    >>> formats.get("szt").encode([0.2, 0.8, -0.2, -0.8]).tolist()
    [0, 1, 2, 3]
    """

    name: str = "szt"
    bits: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bits != 2:
            raise InvalidValueError(f"`bits` of signed-zero ternary is 2, got {self.bits}")

    def _make_values(self) -> NDArray[Any]:
        return np.array([0.0, 1.0, -0.0, -1.0])

    def _make_steps(self) -> Steps:
        return steps_from_borders([3, 2, 0, 1], [-0.5, 0.0, 0.5])
