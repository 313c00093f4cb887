"""Sliding windows of convolution and pooling: padding and output sizes as ONNX defines them."""

__all__ = ["Windows", "transposed_padding", "windows"]

from collections.abc import Sequence
from dataclasses import dataclass

from tetrit.errors import InvalidValueError
from tetrit.hls.graph.ir import Node

AUTO_PADS = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Where the windows of a convolution or pooling lie, per spatial axis.

    Attributes
    ----------
    size, kernel, stride, dilation : tuple of int
        Input size, window size, step between windows, step within a window.
    begin, end : tuple of int
        Zeros before and after the input.
    out : tuple of int
        Number of windows.
    """

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]
    out: tuple[int, ...]

    @property
    def extent(self) -> tuple[int, ...]:
        """Size of a window with the gaps that dilation leaves in it."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    @property
    def last(self) -> tuple[int, ...]:
        """Zeros after the input that the last window needs: `end`, more if windows hang over, fewer if cut."""
        rest = zip(self.out, self.stride, self.extent, self.size, self.begin, strict=True)
        return tuple((out - 1) * s + e - n - b for out, s, e, n, b in rest)


def _per_axis(node: Node, name: str, axes: int, default: int, minimum: int) -> tuple[int, ...]:
    given = node.attributes.get(name)
    values = (default,) * axes if given is None else tuple(int(v) for v in given)
    if len(values) != axes:
        raise InvalidValueError(f"{node}: `{name}` must have {axes} entries, got {list(values)}")
    if values and min(values) < minimum:
        raise InvalidValueError(f"{node}: `{name}` must be at least {minimum}, got {list(values)}")
    return values


def windows(node: Node, size: Sequence[int], kernel: Sequence[int]) -> Windows:
    """Return the windows of a Conv or pooling node.

    Parameters
    ----------
    node : Node
        With the attributes `strides`, `dilations`, `pads`, `auto_pad`, `ceil_mode`.
    size : sequence of int
        Spatial size of the input.
    kernel : sequence of int
        Of the window.

    Raises
    ------
    InvalidValueError
        If attributes do not fit the number of axes, or no window fits.
    """
    axes = len(size)
    if len(kernel) != axes:
        raise InvalidValueError(f"{node}: the kernel must have {axes} axes, got {list(kernel)}")
    if any(k < 1 for k in kernel):
        raise InvalidValueError(f"{node}: the kernel must be at least 1 on every axis, got {list(kernel)}")
    stride = _per_axis(node, "strides", axes, 1, 1)
    dilation = _per_axis(node, "dilations", axes, 1, 1)
    auto = node.attributes.get("auto_pad", "NOTSET") or "NOTSET"
    if auto not in AUTO_PADS:
        raise InvalidValueError(f"{node}: `auto_pad` must be one of {', '.join(AUTO_PADS)}, got '{auto}'")
    extent = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    begin = end = (0,) * axes
    if auto == "NOTSET":
        pads = _per_axis(node, "pads", 2 * axes, 0, 0)
        begin, end = pads[:axes], pads[axes:]
    elif auto != "VALID":
        totals = [max((-(-n // s) - 1) * s + e - n, 0) for n, s, e in zip(size, stride, extent, strict=True)]
        small, large = tuple(t // 2 for t in totals), tuple(t - t // 2 for t in totals)
        begin, end = (small, large) if auto == "SAME_UPPER" else (large, small)
    free = [n + b + f - e for n, b, f, e in zip(size, begin, end, extent, strict=True)]
    if any(f < 0 for f in free):
        raise InvalidValueError(f"{node}: a window of {list(extent)} does not fit into {list(size)} with its padding")
    out = [f // s + 1 for f, s in zip(free, stride, strict=True)]
    if node.attributes.get("ceil_mode", 0) and auto == "NOTSET":
        for axis, (f, s) in enumerate(zip(free, stride, strict=True)):
            ceil = -(-f // s) + 1
            # a window that would start in the padding after the input is left out
            out[axis] = ceil - (1 if (ceil - 1) * s >= size[axis] + begin[axis] else 0)
    return Windows(
        size=tuple(size),
        kernel=tuple(kernel),
        stride=stride,
        dilation=dilation,
        begin=begin,
        end=end,
        out=tuple(out),
    )


def transposed_padding(
    node: Node, size: Sequence[int], kernel: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Return (output size, cut before, stride, dilation) of a ConvTranspose node, per spatial axis."""
    axes = len(size)
    if len(kernel) != axes:
        raise InvalidValueError(f"{node}: the kernel must have {axes} axes, got {list(kernel)}")
    stride = _per_axis(node, "strides", axes, 1, 1)
    dilation = _per_axis(node, "dilations", axes, 1, 1)
    extra = _per_axis(node, "output_padding", axes, 0, 0)
    auto = node.attributes.get("auto_pad", "NOTSET") or "NOTSET"
    pads = _per_axis(node, "pads", 2 * axes, 0, 0)
    wanted = node.attributes.get("output_shape")
    full = [
        (n - 1) * s + (k - 1) * d + 1 + o for n, s, k, d, o in zip(size, stride, kernel, dilation, extra, strict=True)
    ]
    if wanted is None and auto in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [n * s for n, s in zip(size, stride, strict=True)]
    if wanted is not None:
        out = tuple(int(w) for w in list(wanted)[-axes:])
        total = [f - o for f, o in zip(full, out, strict=True)]
        begin = tuple(t - t // 2 if auto != "SAME_UPPER" else t // 2 for t in total)
        return out, begin, stride, dilation
    begin = pads[:axes] if auto == "NOTSET" else (0,) * axes
    end = pads[axes:] if auto == "NOTSET" else (0,) * axes
    out = tuple(f - b - e for f, b, e in zip(full, begin, end, strict=True))
    if any(o < 1 for o in out):
        raise InvalidValueError(f"{node}: the padding leaves no output, got {list(out)}")
    return out, begin, stride, dilation
