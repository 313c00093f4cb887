"""Resizing by nearest neighbours or linearly, axis by axis."""

__all__: list[str] = []

from collections.abc import Callable

import numpy as np

from tetrit.hls.graph.ir import Node
from tetrit.hls.graph.operators.common import Array, operator

_NEAREST: dict[str, Callable[[Array], Array]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _places(node: Node, size: int, out: int, scale: float) -> Array:
    """Return where in the input every output element lies."""
    mode = node.attributes.get("coordinate_transformation_mode", "half_pixel")
    place = np.arange(out, dtype=np.float64)
    if mode == "half_pixel":
        return (place + 0.5) / scale - 0.5
    if mode == "half_pixel_symmetric":
        return size / 2 * (1 - out / (scale * size)) + (place + 0.5) / scale - 0.5
    if mode == "pytorch_half_pixel":
        return (place + 0.5) / scale - 0.5 if out > 1 else np.zeros(out)
    if mode == "asymmetric":
        return place / scale
    # align_corners: ONNX counts with the size before it is rounded down
    return place * (size - 1) / (scale * size - 1) if out > 1 else np.zeros(out)


@operator("Resize")
def resize(
    node: Node, x: Array, roi: Array | None = None, scales: Array | None = None, sizes: Array | None = None
) -> Array:
    mode = node.attributes.get("mode", "nearest")
    axes = [axis % x.ndim for axis in node.attributes.get("axes") or range(x.ndim)]
    for place, axis in enumerate(axes):
        size = x.shape[axis]
        if scales is not None and scales.size:
            scale = float(scales[place])
            out = int(size * scale)
        else:
            out = size if sizes is None else int(sizes[place])
            scale = out / size
        if out == size and scale == 1:
            continue
        x = _along(node, x, axis, _places(node, size, out, scale), mode)
    return x


def _along(node: Node, x: Array, axis: int, places: Array, mode: str) -> Array:
    last = x.shape[axis] - 1
    if mode == "nearest":
        rounding = _NEAREST[node.attributes.get("nearest_mode", "round_prefer_floor")]
        return np.asarray(np.take(x, np.clip(rounding(places), 0, last).astype(np.int64), axis=axis))
    places = np.clip(places, 0, last)
    low = np.floor(places).astype(np.int64)
    weight = (places - low).astype(x.dtype).reshape(-1, *(1,) * (x.ndim - axis - 1))
    below, above = np.take(x, low, axis=axis), np.take(x, np.minimum(low + 1, last), axis=axis)
    return np.asarray(below * (1 - weight) + above * weight).astype(x.dtype, copy=False)
