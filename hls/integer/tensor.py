"""Integer tensors: the authority for what an activation of an integer network is, and which integers it may hold."""

__all__ = ["IntegerTensor"]

import math
import re
from dataclasses import dataclass

from tetrit import checks
from tetrit.errors import InvalidValueError

_FORMAT = re.compile(r"int([1-9][0-9]?)")
_MOST = 2**40


@dataclass(frozen=True, kw_only=True)
class IntegerTensor:
    """An activation: integers whose real values are ``scale`` times them.

    Attributes
    ----------
    name : str
        Unique within a graph.
    shape : tuple of int
        Without the batch. A feature map is (height, width, channels), so that the channels of a pixel lie side by side;
        a vector is (length,).
    format : str
        ``int2`` .. ``int16``, two's complement, for what hardware stores between layers; up to ``int63`` for
        accumulators that a network gives as they are.
    scale : float
        Positive: the real value of 1.

    Examples
    --------
    >>> from tetrit.hls.integer import IntegerTensor
    >>> x = IntegerTensor(name="x", shape=(8, 8, 3), format="int8", scale=0.5)
    >>> x.low, x.high, x.size
    (-128, 127, 192)
    """

    name: str
    shape: tuple[int, ...]
    format: str
    scale: float

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"`name` of a tensor must be a string, got {self.name!r}")
        if not self.name:
            raise InvalidValueError("`name` of a tensor must not be empty")
        if not isinstance(self.shape, tuple | list):
            raise TypeError(f"`shape` of tensor '{self.name}' must be a tuple of integers, got {self.shape!r}")
        where = f"shape` of tensor `{self.name}"
        object.__setattr__(self, "shape", tuple(checks.integer(where, n, maximum=_MOST) for n in self.shape))
        if self.size >= _MOST:
            raise InvalidValueError(f"`shape` of tensor '{self.name}' is too large: {self.shape}")
        if not isinstance(self.format, str):
            raise TypeError(f"`format` of tensor '{self.name}' must be a string, got {self.format!r}")
        found = _FORMAT.fullmatch(self.format)
        if found is None or not 2 <= int(found[1]) <= 63:
            raise InvalidValueError(f"`format` of tensor '{self.name}' must be int2 .. int63, got '{self.format}'")
        where = f"scale` of tensor `{self.name}"
        object.__setattr__(self, "scale", checks.real(where, self.scale, minimum=0.0, exclusive=True))

    @property
    def bits(self) -> int:
        """Width of an integer."""
        return int(self.format[3:])

    @property
    def low(self) -> int:
        """The least integer."""
        return -(1 << self.bits - 1)

    @property
    def high(self) -> int:
        """The greatest integer."""
        return (1 << self.bits - 1) - 1

    @property
    def size(self) -> int:
        """How many integers it holds, without the batch."""
        return math.prod(self.shape)
