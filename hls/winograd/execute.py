"""Convolutions by tiles: exactly in integers, and rounded as formats round them.

Layouts are those of ONNX: inputs (batch, channels, height, width), weights (outputs, channels / groups, rows, columns);
steps and dilation are 1, and nothing is mirrored (a correlation, as in all networks).
"""

__all__ = [
    "FLOATS",
    "Layer",
    "conv2d",
    "conv2d_exact",
    "cut",
    "direct",
    "output_shape",
    "products",
    "rounding",
    "tiles",
    "together",
    "transformed",
    "two_sided",
]

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit import checks, formats
from tetrit.errors import InvalidValueError, unknown_name
from tetrit.hls.winograd.transform import Transform
from tetrit.hls.winograd.widths import Range, widths

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Padding = tuple[int, int, int, int]
FLOATS: dict[str, int] = {"float64": 53, "float32": 24, "float16": 11, "bf16": 8}
"""Floating-point arithmetics, and the bits of their significands."""

_BY_RMS = "posit"
"""Formats whose steps are finest at 1: scaled to a root mean square of 1 instead of to the largest value."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A convolution cut into tiles.

    Attributes
    ----------
    x : ndarray, shape (batch, groups, channels, tiles down, tiles across, n, n)
        Overlapping tiles of the input.
    w : ndarray, shape (groups, outputs, channels, rows, columns)
        Weights, outputs and channels those of a group.
    height, width : int
        Of the output.
    """

    x: Array
    w: Array
    height: int
    width: int


def conv2d_exact(
    x: npt.ArrayLike,
    w: npt.ArrayLike,
    vertical: Transform,
    horizontal: Transform | None = None,
    *,
    padding: int | Padding = 0,
    groups: int = 1,
    act: Range | None = None,
    weight: Range | None = None,
) -> npt.NDArray[np.int64]:
    """Convolve integers by tiles, exactly.

    Contract: equal to the direct convolution, in every bit. The transforms are in integers and the one division at the
    end leaves no remainder.

    Parameters
    ----------
    x : array_like of int, shape (batch, channels, height, width)
    w : array_like of int, shape (outputs, channels / groups, rows, columns)
    vertical, horizontal : Transform
        Along height and width; the second is the first if left out.
    padding : int or (int, int, int, int)
        Zeros around the input, or at its top, left, bottom and right.
    groups : int
    act, weight : (int, int), optional
        What inputs and weights may reach, for the widths; by default what these reach.

    Returns
    -------
    ndarray of int64, shape (batch, outputs, height, width)

    Raises
    ------
    TypeError
        What is no integer.
    InvalidValueError
        Shapes that do not fit, values outside of the given range, or sums that 63 bits may not hold.

    Examples
    --------
    >>> from tetrit.hls.winograd import transform
    >>> x = np.arange(16).reshape(1, 1, 4, 4)
    >>> conv2d_exact(x, np.ones((1, 1, 3, 3), int), transform(2, 3))[0, 0]
    array([[45, 54],
           [81, 90]])
    """
    xs, ws = (_integers(name, array) for name, array in (("x", x), ("w", w)))
    horizontal = vertical if horizontal is None else horizontal
    layer = cut(xs, ws, vertical, horizontal, padding, groups)
    limits = []
    for name, array, given in (("act", xs, act), ("weight", ws, weight)):
        found = (int(array.min(initial=0)), int(array.max(initial=0)))
        if given is not None and not (given[0] <= found[0] and found[1] <= given[1]):
            raise InvalidValueError(f"`{name}` must contain all values, {found[0]} to {found[1]}, got {given}")
        limits.append(found if given is None else given)
    needed = widths(vertical, horizontal, act=limits[0], weight=limits[1], channels=ws.shape[1])
    most = max(needed.output_bits, needed.acc_bits)
    if most > 63:
        raise InvalidValueError(
            f"{vertical} needs sums of up to {most} bits here, 63 can be had: take fewer outputs a tile or other points"
        )
    kind: Any = np.float64 if most <= 53 else np.int64  # BLAS adds integers below 2^53 without rounding
    v, h = vertical.integer, horizontal.integer
    u = two_sided(v.b.astype(kind), layer.x.astype(kind), h.b.astype(kind))
    g = two_sided(v.g.astype(kind), layer.w.astype(kind), h.g.astype(kind))
    y = two_sided(v.a.astype(kind), products(u, g), h.a.astype(kind))
    return together(y.astype(np.int64) // needed.denominator, layer)


def conv2d(
    x: npt.ArrayLike,
    w: npt.ArrayLike,
    vertical: Transform,
    horizontal: Transform | None = None,
    *,
    arithmetic: str = "float32",
    padding: int | Padding = 0,
    groups: int = 1,
) -> Floats:
    """Convolve by tiles, rounding as an arithmetic rounds.

    Parameters
    ----------
    x : array_like of float, shape (batch, channels, height, width)
    w : array_like of float, shape (outputs, channels / groups, rows, columns)
    vertical, horizontal : Transform
        Along height and width; the second is the first if left out.
    arithmetic : str
        ``float64``, ``float32``, ``float16``, ``bf16``, or another real format of `tetrit.formats`.
    padding, groups
        As for `conv2d_exact`.

    Returns
    -------
    ndarray of float64, shape (batch, outputs, height, width)
        Values of the arithmetic where it is a floating-point one; infinities and NaN where it overflows.

    Raises
    ------
    TypeError, InvalidValueError
        Shapes that do not fit, values that are not finite, an unknown arithmetic.

    Notes
    -----
    **Our model.** *float64*, *float32*: every step in that type. *float16*, *bf16*: inputs and weights are rounded,
    each of the two one-sided products of a transform is computed in float32 and rounded, products are summed in
    float32, the output transform is in float32, and the result is rounded. *Another format*: transforms are exact
    (float64), each of the n x n places of transformed inputs and weights has a scale of its own (its largest value
    becomes the format's largest; of posits, its root mean square becomes 1), is rounded to the format, and the rest is
    exact: what an array with exact accumulators does that multiplies in this format.
    """
    xs, ws = (_reals(name, array) for name, array in (("x", x), ("w", w)))
    horizontal = vertical if horizontal is None else horizontal
    layer = cut(xs, ws, vertical, horizontal, padding, groups)
    u, g = _operands(layer, vertical, horizontal, arithmetic)
    stage, wide = (
        (rounding(arithmetic), _wide(arithmetic)) if arithmetic in FLOATS else (rounding("float64"), np.float64)
    )
    y = two_sided(vertical.floats[0].astype(wide), products(u, g), horizontal.floats[0].astype(wide))
    return together(stage(y).astype(np.float64), layer)


def _operands(layer: Layer, vertical: Transform, horizontal: Transform, arithmetic: str) -> tuple[Array, Array]:
    """Return transformed inputs and weights as an arithmetic has them."""
    (_, vg, vb), (_, hg, hb) = vertical.floats, horizontal.floats
    if arithmetic not in FLOATS:
        known = _format(arithmetic)
        return (
            _rounded(known, two_sided(vb, layer.x, hb), layer.x.ndim - 2),
            _rounded(known, two_sided(vg, layer.w, hg), layer.w.ndim - 2),
        )
    stage, wide = rounding(arithmetic), _wide(arithmetic)
    u = two_sided(vb.astype(wide), stage(layer.x), hb.astype(wide), stage)
    g = two_sided(vg.astype(wide), stage(layer.w), hg.astype(wide), stage)
    return u, g


def transformed(
    x: npt.ArrayLike,
    w: npt.ArrayLike,
    vertical: Transform,
    horizontal: Transform,
    *,
    arithmetic: str,
    padding: int | Padding = 0,
    groups: int = 1,
) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats], Layer]:
    """Return transformed inputs and transformed weights, each exact (float64) and with its errors; and the tiles."""
    xs, ws = (_reals(name, array) for name, array in (("x", x), ("w", w)))
    layer = cut(xs, ws, vertical, horizontal, padding, groups)
    rounded = _operands(layer, vertical, horizontal, arithmetic)
    exact = _operands(layer, vertical, horizontal, "float64")
    u, g = ((whole, part.astype(np.float64) - whole) for whole, part in zip(exact, rounded, strict=True))
    return u, g, layer


def direct(
    x: npt.ArrayLike,
    w: npt.ArrayLike,
    *,
    arithmetic: str = "float64",
    padding: int | Padding = 0,
    groups: int = 1,
) -> Floats:
    """Convolve without tiles, rounding as `conv2d` does: what its errors are compared with.

    Inputs and weights are rounded, in a format with one scale each, and summed in float32 (`float64` in itself, formats
    exactly); the result of a floating-point arithmetic is rounded.
    """
    xs, ws = (_reals(name, array) for name, array in (("x", x), ("w", w)))
    _check(xs, ws, groups)
    batch = len(xs)
    padded = np.pad(xs, _pads(padding))
    outputs, own, rows, columns = ws.shape
    windows = np.lib.stride_tricks.sliding_window_view(padded, (rows, columns), axis=(2, 3))
    height, width = windows.shape[2:4]
    under = windows.transpose(0, 2, 3, 1, 4, 5).reshape(batch, height * width, groups, own * rows * columns)
    taps = ws.reshape(groups, outputs // groups, -1)
    if arithmetic in FLOATS:
        stage = rounding(arithmetic)
        left, right = stage(under), stage(taps)
    else:
        known = _format(arithmetic)
        stage = rounding("float64")
        left, right = _rounded(known, under, under.ndim), _rounded(known, taps, taps.ndim)
    y = stage(left.transpose(0, 2, 1, 3) @ right.transpose(0, 2, 1))  # (batch, groups, places, outputs of a group)
    y = y.astype(np.float64).transpose(0, 1, 3, 2)
    return np.ascontiguousarray(y.reshape(batch, outputs, height, width))


def rounding(arithmetic: str) -> Callable[[Array], Array]:
    """Return what rounds an array to one of `FLOATS`, kept in the type that it is computed in."""
    wide = _wide(arithmetic)
    if arithmetic == "bf16":
        known = formats.get("bf16")
        return lambda array: known.quantize(array).astype(wide)
    narrow: Any = np.float16 if arithmetic == "float16" else wide

    def rounded(array: Array) -> Array:
        with np.errstate(over="ignore"):  # beyond the largest value lies infinity
            found: Array = array.astype(narrow).astype(wide)
        return found

    return rounded


def _wide(arithmetic: str) -> Any:
    """Return the type that an arithmetic is computed in."""
    return np.float64 if arithmetic == "float64" else np.float32


def tiles(shape: tuple[int, int], vertical: Transform, horizontal: Transform) -> tuple[int, int]:
    """Return how many tiles an output of a shape takes, down and across; those at the edge may reach beyond it."""
    return -(-shape[0] // vertical.m), -(-shape[1] // horizontal.m)


def output_shape(shape: tuple[int, int], kernel: tuple[int, int], padding: int | Padding = 0) -> tuple[int, int]:
    """Return height and width of the output of a convolution in steps of 1."""
    top, left, bottom, right = _four(padding)
    height, width = shape[0] + top + bottom - kernel[0] + 1, shape[1] + left + right - kernel[1] + 1
    if height < 1 or width < 1:
        raise InvalidValueError(f"`w` of {kernel[0]} x {kernel[1]} must fit the padded input")
    return height, width


def cut(x: Array, w: Array, vertical: Transform, horizontal: Transform, padding: int | Padding, groups: int) -> Layer:
    """Cut the input into overlapping tiles."""
    batch, channels = x.shape[:2]
    groups = _check(x, w, groups)
    outputs, own, rows, columns = w.shape
    for name, scheme, taps in (("vertical", vertical, rows), ("horizontal", horizontal, columns)):
        if not isinstance(scheme, Transform):
            raise TypeError(f"`{name}` must be a Transform, got {scheme!r}")
        if scheme.r != taps:
            raise InvalidValueError(f"`{name}` must be for the {taps} taps of `w`, got F({scheme.m},{scheme.r})")
    height, width = output_shape(x.shape[2:], (rows, columns), padding)
    down, across = tiles((height, width), vertical, horizontal)
    top, left, _, _ = _four(padding)
    full = np.zeros(
        (batch, channels, down * vertical.m + vertical.r - 1, across * horizontal.m + horizontal.r - 1), x.dtype
    )
    inside = full[:, :, top : top + x.shape[2], left : left + x.shape[3]]
    inside[...] = x[:, :, : inside.shape[2], : inside.shape[3]]
    cut = np.lib.stride_tricks.sliding_window_view(full, (vertical.n, horizontal.n), axis=(2, 3))
    cut = cut[:, :, :: vertical.m, :: horizontal.m]
    return Layer(
        x=cut.reshape(batch, groups, own, *cut.shape[2:]),
        w=w.reshape(groups, outputs // groups, own, rows, columns),
        height=height,
        width=width,
    )


def two_sided(left: Array, array: Array, right: Array, stage: Callable[[Array], Array] = lambda x: x) -> Array:
    """Return ``left @ array @ right.T`` over the last two axes, each product followed by `stage`."""
    with np.errstate(invalid="ignore"):  # infinities of an arithmetic that overflows
        return stage(stage(left @ array) @ right.T)


def products(u: Array, g: Array) -> Array:
    """Multiply place by place and sum over the channels: (batch, groups, outputs, down, across, n, n)."""
    batch, groups, own, down, across, rows, columns = u.shape
    left = g.transpose(0, 3, 4, 1, 2)  # groups, n, n, outputs, channels
    right = u.transpose(1, 5, 6, 2, 0, 3, 4).reshape(groups, rows, columns, own, batch * down * across)
    with np.errstate(invalid="ignore"):
        found = (left @ right).reshape(groups, rows, columns, g.shape[1], batch, down, across)
    return np.ascontiguousarray(found.transpose(4, 0, 3, 5, 6, 1, 2))


def together(y: Array, layer: Layer) -> Array:
    """Put tiles of outputs side by side, and cut off what is beyond the edge."""
    batch, groups, outputs, down, across, rows, columns = y.shape
    whole = y.transpose(0, 1, 2, 3, 5, 4, 6).reshape(batch, groups * outputs, down * rows, across * columns)
    return np.ascontiguousarray(whole[:, :, : layer.height, : layer.width])


def _check(x: Array, w: Array, groups: int) -> int:
    groups = checks.integer("groups", groups)
    if x.ndim != 4 or w.ndim != 4 or not w.size:
        raise InvalidValueError(
            f"`x` and `w` must have shapes (batch, channels, height, width) and (outputs, channels / groups, rows, "
            f"columns), got {x.shape} and {w.shape}"
        )
    if w.shape[1] * groups != x.shape[1] or w.shape[0] % groups:
        raise InvalidValueError(
            f"`w` of shape {w.shape} must have {x.shape[1]} channels in {groups} groups, and as many outputs in each"
        )
    return groups


def _four(padding: int | Padding) -> Padding:
    given = padding if isinstance(padding, tuple | list) else (padding,) * 4
    if len(given) != 4:
        raise InvalidValueError(f"`padding` must be one or four integers, got {padding!r}")
    top, left, bottom, right = (checks.integer("padding", side, minimum=0) for side in given)
    return top, left, bottom, right


def _pads(padding: int | Padding) -> list[tuple[int, int]]:
    top, left, bottom, right = _four(padding)
    return [(0, 0), (0, 0), (top, bottom), (left, right)]


def _integers(name: str, given: npt.ArrayLike) -> npt.NDArray[np.int64]:
    array = np.asarray(given)
    if not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"`{name}` must be integers, got {array.dtype}")
    return array.astype(np.int64)


def _reals(name: str, given: npt.ArrayLike) -> Floats:
    array = np.asarray(given, np.float64)
    checks.finite(name, array)
    return array


def _format(name: str) -> formats.RealFormat:
    if name not in formats.names():
        raise unknown_name("arithmetic", name, [*FLOATS, *formats.names()])
    known = formats.get(name)
    if not isinstance(known, formats.RealFormat):
        raise InvalidValueError(f"`arithmetic` must be a real format, got {name}")
    return known


def _rounded(known: formats.RealFormat, array: Floats, axes: int) -> Floats:
    """Round to a format, with a scale for each place of all axes but the first `axes`."""
    over = tuple(range(axes))
    if known.name.startswith(_BY_RMS):
        scale = np.sqrt((array**2).mean(axis=over, keepdims=True))
    else:
        scale = np.abs(array).max(axis=over, keepdims=True, initial=0.0) / known.max_value
    scale = np.where(scale > 0, scale, 1.0)
    found: Floats = known.quantize(array / scale) * scale
    return found
