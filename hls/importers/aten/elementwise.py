"""Functions of single numbers, arithmetic and comparison."""

__all__: list[str] = []

from typing import Any

import numpy as np

from tetrit.hls.importers.aten.context import Args, Context, Ref, UnsupportedError, handles

_UNARY = {
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "hardswish": "HardSwish",
    "mish": "Mish",
    "neg": "Neg",
    "abs": "Abs",
    "exp": "Exp",
    "log": "Log",
    "sqrt": "Sqrt",
    "reciprocal": "Reciprocal",
    "erf": "Erf",
    "sin": "Sin",
    "cos": "Cos",
    "tan": "Tan",
    "atan": "Atan",
    "floor": "Floor",
    "ceil": "Ceil",
    "round": "Round",
    "sign": "Sign",
    "logical_not": "Not",
}
_PASSING = ("alias", "contiguous", "clone", "detach", "lift_fresh_copy", "dropout", "feature_dropout", "alpha_dropout")


def _unary(op: str) -> Any:
    def handler(c: Context, a: Args) -> Ref:
        return c.emit(op, [a["self"]])

    return handler


for _name, _op in _UNARY.items():
    handles(_name)(_unary(_op))


@handles(*_PASSING)
def _passing(c: Context, a: Args) -> Any:
    if a.get("train"):
        raise UnsupportedError("it drops values: the module must be in evaluation mode")
    return a["self"] if "self" in a else a["input"]


@handles("to", "_to_copy", "type_as")
def _to(c: Context, a: Args) -> Any:
    x = a["self"]
    return x if x.dtype == c.out[0][1] else c.cast(x, c.out[0][1])


@handles("hardsigmoid")
def _hardsigmoid(c: Context, a: Args) -> Ref:
    return c.emit("HardSigmoid", [a["self"]], alpha=1 / 6, beta=0.5)


@handles("leaky_relu")
def _leaky_relu(c: Context, a: Args) -> Ref:
    return c.emit("LeakyRelu", [a["self"]], alpha=float(a["negative_slope"]))


@handles("elu")
def _elu(c: Context, a: Args) -> Ref:
    if a["scale"] != 1 or a["input_scale"] != 1:
        raise UnsupportedError("`scale` and `input_scale` must be 1")
    return c.emit("Elu", [a["self"]], alpha=float(a["alpha"]))


@handles("selu")
def _selu(c: Context, a: Args) -> Ref:
    return c.emit("Selu", [a["self"]])


@handles("celu")
def _celu(c: Context, a: Args) -> Ref:
    return c.emit("Celu", [a["self"]], alpha=float(a["alpha"]))


@handles("gelu")
def _gelu(c: Context, a: Args) -> Ref:
    return c.emit("Gelu", [a["self"]], approximate=a["approximate"])


@handles("silu")
def _silu(c: Context, a: Args) -> Ref:
    return c.emit("Mul", [a["self"], c.emit("Sigmoid", [a["self"]], suffix=".sigmoid")])


@handles("softplus")
def _softplus(c: Context, a: Args) -> Ref:
    # PyTorch is linear above the threshold, where the function differs from that by less than exp(-20)
    if a["beta"] != 1 or a["threshold"] != 20:
        raise UnsupportedError("`beta` must be 1 and `threshold` 20")
    return c.emit("Softplus", [a["self"]])


@handles("prelu", "_prelu_kernel")
def _prelu(c: Context, a: Args) -> Ref:
    x, weight = a["self"], a["weight"]
    if isinstance(weight, Ref):
        raise UnsupportedError("its slopes must be parameters")
    if weight.tensor.numel() == 1 or len(x.shape) < 2:
        return c.emit("PRelu", [x, weight.array.reshape(-1)])
    shape = (-1, *(1,) * (len(x.shape) - 2))
    return c.emit("PRelu", [x, weight.array.reshape(shape)])


@handles("hardtanh", "relu6", "clamp", "clamp_min", "clamp_max")
def _clamp(c: Context, a: Args) -> Ref:
    x = a["self"]
    low, high = a.get("min_val", a.get("min")), a.get("max_val", a.get("max"))
    if "min_val" not in a and "min" not in a and "max" not in a:
        low, high = 0, 6
    for end in (low, high):
        if isinstance(end, Ref):
            raise UnsupportedError("its ends must be numbers")
    ends = [None if end is None else c.like(end, x.dtype) for end in (low, high)]
    return c.emit("Clip", [x, *ends])


def _pair(c: Context, one: Any, two: Any, dtype: str) -> list[Any]:
    return [c.like(one, dtype), c.like(two, dtype)]


def _binary(op: str) -> Any:
    def handler(c: Context, a: Args) -> Ref:
        one, two = _pair(c, a["self"], a["other"], c.out[0][1])
        alpha = a.get("alpha", 1)
        if alpha != 1:
            two = c.emit("Mul", [two, c.like(alpha, c.out[0][1])], suffix=".scaled")
        return c.emit(op, [one, two])

    return handler


for _name, _op in {"add": "Add", "sub": "Sub", "mul": "Mul", "maximum": "Max", "minimum": "Min"}.items():
    handles(_name)(_binary(_op))


@handles("rsub")
def _rsub(c: Context, a: Args) -> Ref:
    if a.get("alpha", 1) != 1:
        raise UnsupportedError("`alpha` must be 1")
    return c.emit("Sub", _pair(c, a["other"], a["self"], c.out[0][1]))


@handles("div", "true_divide")
def _div(c: Context, a: Args) -> Ref:
    mode = a.get("rounding_mode")
    if mode not in (None, "floor") or (mode and not c.out[0][1].startswith("float")):
        raise UnsupportedError(f"`rounding_mode` {mode} is not supported")
    pair = _pair(c, a["self"], a["other"], c.out[0][1])
    if mode is None:
        return c.emit("Div", pair)
    return c.emit("Floor", [c.emit("Div", pair, suffix=".quotient")])


@handles("pow")
def _pow(c: Context, a: Args) -> Ref:
    return c.emit("Pow", _pair(c, a["self"], a["exponent"], c.out[0][1]))


@handles("square")
def _square(c: Context, a: Args) -> Ref:
    return c.emit("Mul", [a["self"], a["self"]])


@handles("rsqrt")
def _rsqrt(c: Context, a: Args) -> Ref:
    return c.emit("Reciprocal", [c.emit("Sqrt", [a["self"]], suffix=".root")])


_COMPARED = {"eq": "Equal", "gt": "Greater", "ge": "GreaterOrEqual", "lt": "Less", "le": "LessOrEqual"}


def _comparison(op: str) -> Any:
    def handler(c: Context, a: Args) -> Ref:
        one, two = a["self"], a["other"]
        dtype = one.dtype if isinstance(two, bool | int | float) else np.result_type(one.dtype, two.dtype).name
        if isinstance(two, float) and not dtype.startswith("float"):
            dtype = "float32"
        return c.emit(op, _pair(c, one, two, dtype), dtype="bool")

    return handler


for _name, _op in _COMPARED.items():
    handles(_name)(_comparison(_op))
for _name, _op in {"logical_and": "And", "logical_or": "Or", "logical_xor": "Xor"}.items():
    handles(_name)(_comparison(_op))


@handles("ne")
def _ne(c: Context, a: Args) -> Ref:
    one, two = a["self"], a["other"]
    dtype = one.dtype if isinstance(two, bool | int | float) else np.result_type(one.dtype, two.dtype).name
    return c.emit("Not", [c.emit("Equal", _pair(c, one, two, dtype), dtype="bool", suffix=".equal")])


@handles("where")
def _where(c: Context, a: Args) -> Ref:
    return c.emit("Where", [a["condition"], *_pair(c, a["self"], a["other"], c.out[0][1])])


@handles("masked_fill")
def _masked_fill(c: Context, a: Args) -> Ref:
    return c.emit("Where", [a["mask"], *_pair(c, a["value"], a["self"], c.out[0][1])])
