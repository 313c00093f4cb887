"""Matrix products, convolutions and normalisations."""

__all__ = ["linear"]

from typing import Any

import numpy as np

from tetrit.hls.importers.aten.context import Args, Context, Fixed, Ref, UnsupportedError, handles


def linear(c: Context, x: Any, weight: Any, bias: Any, shape: tuple[int, ...], suffix: str = "") -> Ref:
    """Return ``x @ weight.T + bias``: Gemm of matrices, MatMul and Add of all else."""
    if len(x.shape) == 2 and len(weight.shape) == 2:
        return c.emit("Gemm", [x, weight, bias], shape, suffix=suffix, transB=1)
    turned = c.transpose(weight, (1, 0), ".transposed") if len(weight.shape) == 2 else weight
    if bias is None:
        return c.emit("MatMul", [x, turned], shape, suffix=suffix)
    product = c.emit("MatMul", [x, turned], shape, suffix=suffix)
    return c.emit("Add", [product, bias], shape, suffix=f"{suffix}.bias")


@handles("linear")
def _linear(c: Context, a: Args) -> Ref:
    return linear(c, a["input"], a["weight"], a["bias"], c.out[0][0])


@handles("matmul", "mm", "bmm")
def _matmul(c: Context, a: Args) -> Ref:
    return c.emit("MatMul", [a["self"], a.get("other", a.get("mat2"))])


@handles("addmm")
def _addmm(c: Context, a: Args) -> Ref:
    return c.emit("Gemm", [a["mat1"], a["mat2"], a["self"]], alpha=float(a["alpha"]), beta=float(a["beta"]))


@handles("conv1d", "conv2d", "conv3d")
def _conv(c: Context, a: Args) -> Ref:
    return _convolve(c, a, a["stride"], a["padding"], a["dilation"], a["groups"])


@handles("convolution")
def _convolution(c: Context, a: Args) -> Ref:
    if a["transposed"]:
        return _transposed(c, {**a, "weight": a["weight"]}, a["output_padding"])
    return _convolve(c, a, a["stride"], a["padding"], a["dilation"], a["groups"])


def _convolve(c: Context, a: Args, stride: Any, padding: Any, dilation: Any, groups: int) -> Ref:
    x, weight = a["input"], a["weight"]
    kernel = tuple(weight.shape[2:])
    axes = len(kernel)
    if len(x.shape) != axes + 2:
        raise UnsupportedError(f"its input must have a batch, got shape {x.shape}")
    strides, dilations = _each(stride, axes), _each(dilation, axes)
    if isinstance(padding, str):
        total = [(k - 1) * d if padding == "same" else 0 for k, d in zip(kernel, dilations, strict=True)]
        pads = (*(t // 2 for t in total), *(t - t // 2 for t in total))
    else:
        pads = _each(padding, axes) * 2
    return c.emit(
        "Conv",
        [x, weight, a["bias"]],
        kernel_shape=kernel,
        strides=strides,
        pads=pads,
        dilations=dilations,
        group=int(groups),
    )


@handles("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def _conv_transpose(c: Context, a: Args) -> Ref:
    return _transposed(c, a, a["output_padding"])


def _transposed(c: Context, a: Args, output_padding: Any) -> Ref:
    kernel = tuple(a["weight"].shape[2:])
    axes = len(kernel)
    return c.emit(
        "ConvTranspose",
        [a["input"], a["weight"], a["bias"]],
        kernel_shape=kernel,
        strides=_each(a["stride"], axes),
        pads=_each(a["padding"], axes) * 2,
        dilations=_each(a["dilation"], axes),
        output_padding=_each(output_padding, axes),
        group=int(a["groups"]),
    )


def _each(value: Any, axes: int) -> tuple[int, ...]:
    numbers = [int(v) for v in (value if isinstance(value, list | tuple) else [value])]
    return tuple(numbers * axes if len(numbers) == 1 else numbers)


@handles("batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm", "native_batch_norm")
def _batch_norm(c: Context, a: Args) -> Any:
    if a.get("training") or a.get("train") or a["running_mean"] is None:
        raise UnsupportedError("it normalises by the batch at hand: it must be in evaluation mode, with statistics")
    channels = a["running_mean"].shape
    weight = np.ones(channels, np.float32) if a["weight"] is None else a["weight"]
    bias = np.zeros(channels, np.float32) if a["bias"] is None else a["bias"]
    x = a["input"]
    result = c.emit(
        "BatchNormalization", [x, weight, bias, a["running_mean"], a["running_var"]], x.shape, epsilon=float(a["eps"])
    )
    return result if len(c.out) == 1 else (result, None, None)


@handles("layer_norm", "native_layer_norm")
def _layer_norm(c: Context, a: Args) -> Any:
    shape = tuple(a["normalized_shape"])
    weight = np.ones(shape, np.float32) if a["weight"] is None else a["weight"]
    result = c.emit(
        "LayerNormalization",
        [a["input"], weight, a["bias"]],
        a["input"].shape,
        axis=-len(shape),
        epsilon=float(a["eps"]),
    )
    return result if len(c.out) == 1 else (result, None, None)


@handles("group_norm")
def _group_norm(c: Context, a: Args) -> Ref:
    x = a["input"]
    channels = x.shape[1]
    # in groups of one axis each, then by its own numbers: the form that every version of ONNX has
    weight, bias = a["weight"], a["bias"]
    if any(isinstance(value, Ref) for value in (weight, bias)):
        raise UnsupportedError("its factors must be parameters")
    groups = int(a["num_groups"])
    folded = c.reshape(x, (x.shape[0], groups, -1), ".groups")
    ones = np.ones(groups, np.float32)
    normal = c.emit(
        "InstanceNormalization",
        [folded, ones, np.zeros(groups, np.float32)],
        (x.shape[0], groups, int(np.prod(x.shape[1:])) // groups),
        suffix=".normal",
        epsilon=float(a["eps"]),
    )
    result = c.reshape(normal, x.shape, ".ungrouped" if weight is not None else "")
    if weight is None:
        return result
    around = (channels, *(1,) * (len(x.shape) - 2))
    scaled = c.emit("Mul", [result, _array(weight).reshape(around)], x.shape, suffix="" if bias is None else ".scaled")
    return scaled if bias is None else c.emit("Add", [scaled, _array(bias).reshape(around)], x.shape)


@handles("instance_norm")
def _instance_norm(c: Context, a: Args) -> Ref:
    x = a["input"]
    if not a["use_input_stats"]:
        raise UnsupportedError("it must use the statistics of its input")
    weight = np.ones(x.shape[1], np.float32) if a["weight"] is None else a["weight"]
    bias = np.zeros(x.shape[1], np.float32) if a["bias"] is None else a["bias"]
    return c.emit("InstanceNormalization", [x, weight, bias], epsilon=float(a["eps"]))


def _array(value: Fixed) -> Any:
    return value.array
