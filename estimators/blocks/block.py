"""Block formats as quantisers for training: the authority for their gradient; `tetrit.formats` has the rounding."""

__all__ = ["BlockQuantizer", "rounded", "speaking_of_w"]

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit import checks, formats
from tetrit.errors import InvalidValueError
from tetrit.estimators._rows import copied, gradient, gradient_out, latent
from tetrit.estimators._run import run
from tetrit.estimators._values import checked, stored
from tetrit.estimators.base import Estimator, Quantized
from tetrit.estimators.blocks import _kernels
from tetrit.formats import BlockFormat
from tetrit.parallel import run_items


@dataclass(frozen=True, kw_only=True)
class BlockQuantizer(Estimator):
    """A block format with the straight-through gradient.

    Forward: the rounding of `tetrit.formats.BlockFormat`, blocks along the last axis, which for a weight matrix
    (outputs, inputs) is the axis that products are summed over. Lower a convolution to such a matrix first. Backward:
    grad_w = grad_out; with `clip`, 0 where |w| lies beyond the largest value of its block, where an element saturates.

    Codes: those of the format's elements, with ``block`` neighbours to a scale (`Quantized.block`); scales are the real
    ones, block scale times tensor scale.

    Contract: bit-exact.

    Parameters
    ----------
    format : {"mxfp4", "nvfp4", "bfp12", "dfp16"}, default "mxfp4"
        A block format of `tetrit.formats`.
    block : int or None, default None
        Another number of elements per scale than the format's own.
    tensor_scale : bool, default True
        For `nvfp4`: whether a float32 scale per tensor, `BlockFormat.tensor_scale` of the latent, brings its largest
        magnitude to the top of the range of the block scales, which end at 2^-9. The other formats have none.
    clip : bool, default False
        Whether the gradient ends where elements saturate.

    Raises
    ------
    TypeError
        If an array is not float16, float32 or float64.
    InvalidValueError
        If a call is given a NaN or an infinity in `w` (the message names its index), or if `grad_out` has another shape
        than `w`. Without `clip`, `backward` reads the shape of `w` only, never its values.

    Notes
    -----
    Sources of the formats: see `BlockFormat`. The gradient is **our choice**. The scale follows the largest magnitude,
    so a saturated element lies less than a step (E2M1: a third) beyond the range, and a gradient of 0 there would stop
    the very elements that set the scale; hence `clip` is off by default.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.estimators.blocks import BlockQuantizer
    >>> e = BlockQuantizer(format="mxfp4", block=4, clip=True)
    >>> w = np.array([0.1, -0.5, 0.75, 3.5, 0.02, 0.01])
    >>> e(w).scale
    array([0.5       , 0.00390625])
    >>> e(w).values.round(4)
    array([ 0.    , -0.5   ,  0.75  ,  3.    ,  0.0234,  0.0117])
    >>> e.backward(w, np.ones(6))
    array([1., 1., 1., 0., 1., 1.])
    """

    name: ClassVar[str] = "block"

    format: str = "mxfp4"
    block: int | None = None
    tensor_scale: bool = True
    clip: bool = False

    def __post_init__(self) -> None:
        checks.choice("format", self.format, formats.block_names())
        if self.block is not None:
            object.__setattr__(self, "block", checks.integer("block", self.block))
        for flag in ("tensor_scale", "clip"):
            if not isinstance(getattr(self, flag), bool):
                raise TypeError(f"`{flag}` must be True or False, got {getattr(self, flag)!r}")

    def __call__(self, w: ArrayLike) -> Quantized:
        """Quantise `w`; codes are uint8, or uint16 for `dfp16`, of the same shape."""
        x = latent(w)
        fmt = self.block_format
        with speaking_of_w(x):
            unit = self._unit(x)
            codes, scales = fmt.encode(x, tensor_scale=unit)
        real = np.asarray(fmt.scale_values[scales] * unit)
        return Quantized(codes=codes, scale=real, format=fmt.element.name, block=fmt.block)

    def forward(self, w: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return the values of the codes, in float64 or in `out`, without making the codes."""
        x = latent(w)
        with speaking_of_w(x):
            return rounded(self.block_format, x, self._unit(x), out)

    def backward(self, w: ArrayLike, grad_out: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return a copy of `grad_out`; with `clip`, with 0 where an element saturates."""
        x = latent(w)
        if not self.clip:
            return copied(grad_out, x.shape, out)
        g = gradient(grad_out, x.shape)
        fmt = self.block_format
        with speaking_of_w(x):
            unit = self._unit(x)
            codes = fmt.scales(x, tensor_scale=unit)
        limits = np.asarray(fmt.scale_values[codes] * (unit * fmt.element.max_value))
        length = x.size if fmt.block is None or x.ndim == 0 else x.shape[-1]
        rows = np.ascontiguousarray(x).reshape(-1 if length else 0, length)
        block = max(length, 1) if fmt.block is None else fmt.block

        def clipped(grad: NDArray[Any], into: NDArray[Any]) -> None:
            shape = rows.shape
            run(_kernels.block_band_backward, rows, grad.reshape(shape), block, limits.reshape(-1), into.reshape(shape))

        return gradient_out(g, None, out, clipped, w=x)

    @property
    def straight_through(self) -> bool:
        """Whether the gradient passes everywhere: without `clip`."""
        return not self.clip

    @property
    def block_format(self) -> BlockFormat:
        """The format, with the number of elements per scale that was asked for."""
        return formats.block_format(self.format, block=self.block)

    def _unit(self, x: NDArray[Any]) -> float:
        """Return the scale of the tensor."""
        return self.block_format.tensor_scale(x) if self.tensor_scale and self.format == "nvfp4" else 1.0


@contextmanager
def speaking_of_w(x: NDArray[Any]) -> Iterator[None]:
    """Let an error about an array that is not finite name it `w`, not `x`."""
    try:
        yield
    except InvalidValueError:
        checks.finite("w", x)
        raise


def rounded(fmt: BlockFormat, x: NDArray[Any], unit: float, out: NDArray[Any] | None) -> NDArray[Any]:
    """Return the values that the format gives `x`, in float64 or in `out`, of any memory order."""
    direct = out is None or (checked(out, x.shape).flags.c_contiguous and not np.may_share_memory(out, x))
    if fmt.scale == "e8m0" and fmt.block is not None and x.ndim:
        into = out if direct and out is not None and out.dtype != np.float16 else np.empty(x.shape)
        _round_by_powers(fmt, x, into)
    else:
        into = fmt.quantize(x, tensor_scale=unit, out=out if direct else None)
    return into if into is out else stored(into, out)


def _round_by_powers(fmt: BlockFormat, x: NDArray[Any], out: NDArray[Any]) -> None:
    """Do what ``fmt.quantize(x, out=out)`` does, of a format whose blocks have powers of two as scales, in one pass."""
    shape = -1 if x.size else 0, x.shape[-1]
    rows, target = np.ascontiguousarray(x).reshape(shape), out.reshape(shape)
    block = min(fmt.block or 1, max(x.shape[-1], 1))
    info = np.finfo(rows.dtype)
    words = rows.view(f"u{rows.itemsize}")
    fraction = words.dtype.type(info.nmant)
    table = _power_scales(fmt, rows.dtype.name)
    largest = fmt.element.max_value if isinstance(fmt.element, formats.Integer) else 0.0
    anchor = 0.5 / float(info.eps)
    infinite: list[int] = []

    def task(first: int, last: int) -> None:
        worst = _kernels.block_rounded(rows, words, block, fraction, table, largest, anchor, target, first, last)
        if worst >> fraction == table.size - 1:
            infinite.append(first)

    run_items(task, len(rows) * -(-x.shape[-1] // block), block)
    if infinite:
        checks.finite("w", x)


@cache
def _power_scales(fmt: BlockFormat, dtype: str) -> NDArray[Any]:
    """Return the scale that the format gives a block, by the exponent field of its largest magnitude in this type."""
    info = np.finfo(dtype)
    words = np.arange(1 << info.bits - 1 - info.nmant, dtype=f"u{info.bits // 8}") << info.nmant
    scales = np.ones(words.size, dtype)  # the last field is that of infinities and NaN
    scales[:-1] = fmt.scale_values[replace(fmt, block=1).scales(words[:-1].view(dtype))]
    return scales
