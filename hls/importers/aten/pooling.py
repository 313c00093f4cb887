"""Pooling and resizing."""

__all__: list[str] = []

from typing import Any

import numpy as np

from tetrit.hls.importers.aten.context import Args, Context, Ref, UnsupportedError, handles


def _each(value: Any, axes: int) -> tuple[int, ...]:
    numbers = [int(v) for v in (value if isinstance(value, list | tuple) else [value])]
    return tuple(numbers * axes if len(numbers) == 1 else numbers)


def _axes(c: Context, a: Args, axes: int) -> tuple[int, ...]:
    if len(a["self"].shape) != axes + 2:
        raise UnsupportedError(f"its input must have a batch, got shape {a['self'].shape}")
    return _each(a["kernel_size"], axes)


def _max_pool(axes: int) -> Any:
    def handler(c: Context, a: Args) -> Ref | tuple[Ref, None]:
        kernel = _axes(c, a, axes)
        result = c.emit(
            "MaxPool",
            [a["self"]],
            c.out[0][0],
            kernel_shape=kernel,
            strides=_each(a["stride"] or kernel, axes),
            pads=_each(a["padding"], axes) * 2,
            dilations=_each(a["dilation"], axes),
            ceil_mode=int(bool(a["ceil_mode"])),
        )
        return result if len(c.out) == 1 else (result, None)

    return handler


def _avg_pool(axes: int) -> Any:
    def handler(c: Context, a: Args) -> Ref:
        kernel = _axes(c, a, axes)
        if a.get("divisor_override") is not None:
            raise UnsupportedError("`divisor_override` is not supported")
        return c.emit(
            "AveragePool",
            [a["self"]],
            kernel_shape=kernel,
            strides=_each(a["stride"] or kernel, axes),
            pads=_each(a["padding"], axes) * 2,
            ceil_mode=int(bool(a["ceil_mode"])),
            count_include_pad=int(bool(a["count_include_pad"])),
        )

    return handler


def _adaptive(axes: int, op: str, many: bool) -> Any:
    def handler(c: Context, a: Args) -> Ref | tuple[Ref, None]:
        size, out = a["self"].shape[-axes:], _each(a["output_size"], axes)
        if len(a["self"].shape) != axes + 2:
            raise UnsupportedError(f"its input must have a batch, got shape {a['self'].shape}")
        if any(n % o for n, o in zip(size, out, strict=True)):
            raise UnsupportedError(f"its output {list(out)} must divide its input {list(size)}")
        kernel = tuple(n // o for n, o in zip(size, out, strict=True))
        if all(o == 1 for o in out):
            result = c.emit(f"Global{op}", [a["self"]], c.out[0][0])
        else:
            result = c.emit(op, [a["self"]], c.out[0][0], kernel_shape=kernel, strides=kernel)
        return (result, None) if many and len(c.out) > 1 else result

    return handler


for _n in (1, 2, 3):
    handles(f"max_pool{_n}d", f"max_pool{_n}d_with_indices")(_max_pool(_n))
    handles(f"avg_pool{_n}d")(_avg_pool(_n))
    handles(f"adaptive_avg_pool{_n}d", f"_adaptive_avg_pool{_n}d")(_adaptive(_n, "AveragePool", False))
    handles(f"adaptive_max_pool{_n}d")(_adaptive(_n, "MaxPool", True))


@handles("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d")
def _nearest(c: Context, a: Args) -> Ref:
    size = a["input" if "input" in a else "self"].shape
    out = c.out[0][0]
    if any(o % n for n, o in zip(size, out, strict=True)):
        raise UnsupportedError("it must enlarge by whole factors")
    scales = np.array([o / n for n, o in zip(size, out, strict=True)], dtype=np.float32)
    return c.emit(
        "Resize",
        [a["input" if "input" in a else "self"], None, scales],
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


@handles("pixel_shuffle")
def _pixel_shuffle(c: Context, a: Args) -> Ref:
    return c.emit("DepthToSpace", [a["self"]], blocksize=int(a["upscale_factor"]), mode="CRD")
