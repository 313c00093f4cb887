"""Shape rules of operators that work element by element, broadcast, or keep the shape of their input."""

__all__: list[str] = []

from tetrit.errors import unknown_name
from tetrit.hls.graph.ir import Node
from tetrit.hls.graph.rules.common import Fact, Made, axis_of, broadcast, content, rank, refuse, rule


@rule(
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Celu", "Cos", "Cosh", "Elu", "Erf",
    "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity", "LRN", "LeakyRelu", "Log", "LpNormalization",
    "MeanVarianceNormalization", "Mish", "Neg", "Not", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid",
    "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Swish", "Tan", "Tanh", "ThresholdedRelu",
)  # fmt: skip
def same(node: Node, x: Fact) -> Made:
    return [(x.shape, x.dtype)]


@rule("Clip")
def clip(node: Node, x: Fact, low: Fact | None = None, high: Fact | None = None) -> Made:
    for bound in filter(None, (low, high)):
        if bound.value.size != 1:
            refuse(node, f"the bound '{bound.value.name}' must be one number, got shape {list(bound.shape)}")
    return [(x.shape, x.dtype)]


@rule("IsInf", "IsNaN")
def test(node: Node, x: Fact) -> Made:
    return [(x.shape, "bool")]


@rule("Add", "Div", "Max", "Mean", "Min", "Mod", "Mul", "Sub", "Sum")
def arithmetic(node: Node, first: Fact, *others: Fact) -> Made:
    xs = (first, *others)
    if len({x.dtype for x in xs}) > 1:
        refuse(node, f"its inputs must have one dtype, got {' and '.join(x.dtype for x in xs)}")
    return [(broadcast(node, *(x.shape for x in xs)), first.dtype)]


@rule("Pow", "PRelu")
def first_dtype(node: Node, x: Fact, y: Fact) -> Made:
    shape = broadcast(node, x.shape, y.shape)
    if node.op == "PRelu" and shape != x.shape:
        refuse(node, f"the slope {list(y.shape)} must broadcast to the input {list(x.shape)}")
    return [(shape, x.dtype)]


@rule("And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Or", "Xor")
def comparison(node: Node, x: Fact, y: Fact) -> Made:
    return [(broadcast(node, x.shape, y.shape), "bool")]


@rule("Where")
def where(node: Node, condition: Fact, x: Fact, y: Fact) -> Made:
    if x.dtype != y.dtype:
        refuse(node, f"its branches must have one dtype, got {x.dtype} and {y.dtype}")
    return [(broadcast(node, condition.shape, x.shape, y.shape), x.dtype)]


@rule("Dropout")
def dropout(node: Node, x: Fact, ratio: Fact | None = None, training: Fact | None = None) -> Made:
    if training is not None and content(node, training).item():
        refuse(node, "it is in training mode; export the network in evaluation mode")
    return [(x.shape, x.dtype), (x.shape, "bool")]


@rule("Hardmax", "LogSoftmax", "Softmax")
def along_axis(node: Node, x: Fact) -> Made:
    rank(node, x, 1)
    axis_of(node, node.attributes.get("axis", -1), len(x.shape))
    return [(x.shape, x.dtype)]


@rule("CumSum")
def cumulative(node: Node, x: Fact, axis: Fact) -> Made:
    return [(x.shape, x.dtype)]


@rule("BatchNormalization")
def batch_normalization(node: Node, x: Fact, scale: Fact, bias: Fact, mean: Fact, variance: Fact) -> Made:
    rank(node, x, 2)
    for parameter in (scale, bias, mean, variance):
        if parameter.shape != (x.shape[1],):
            refuse(
                node,
                f"'{parameter.value.name}' must have the {x.shape[1]} channels of its input, "
                f"got shape {list(parameter.shape)}",
            )
    if node.attributes.get("training_mode", 0):
        refuse(node, "it is in training mode; export the network in evaluation mode")
    return [(x.shape, x.dtype)]


@rule("LayerNormalization")
def layer_normalization(node: Node, x: Fact, scale: Fact, bias: Fact | None = None) -> Made:
    axis = axis_of(node, node.attributes.get("axis", -1), len(x.shape))
    for parameter in filter(None, (scale, bias)):
        if broadcast(node, x.shape, parameter.shape) != x.shape:
            refuse(node, f"'{parameter.value.name}' {list(parameter.shape)} must broadcast to {list(x.shape)}")
    reduced = x.shape[:axis] + (1,) * (len(x.shape) - axis)
    return [(x.shape, x.dtype), (reduced, "float32"), (reduced, "float32")]


@rule("RMSNormalization")
def rms_normalization(node: Node, x: Fact, scale: Fact) -> Made:
    axis_of(node, node.attributes.get("axis", -1), len(x.shape))
    if broadcast(node, x.shape, scale.shape) != x.shape:
        refuse(node, f"'{scale.value.name}' {list(scale.shape)} must broadcast to {list(x.shape)}")
    return [(x.shape, x.dtype)]


@rule("GroupNormalization", "InstanceNormalization")
def group_normalization(node: Node, x: Fact, scale: Fact, bias: Fact) -> Made:
    rank(node, x, 2)
    groups = node.attributes.get("num_groups", x.shape[1])
    if groups < 1 or x.shape[1] % groups:
        refuse(node, f"{x.shape[1]} channels cannot be divided into {groups} groups")
    for parameter in (scale, bias):
        if parameter.shape != (x.shape[1],):
            refuse(node, f"'{parameter.value.name}' must have {x.shape[1]} entries, got {list(parameter.shape)}")
    return [(x.shape, x.dtype)]


STORED = {f"{sign}int{bits}": f"{sign}int{max(bits, 8)}" for sign in ("", "u") for bits in (2, 4, 8, 16)}
"""Integer type that QuantizeLinear makes -> dtype that holds it; those narrower than a byte are kept in bytes."""

ROUNDING_MODES = ("ROUND", "HALF_EVEN", "CEIL", "FLOOR", "UP", "DOWN", "HALF_UP", "HALF_DOWN")
"""Of QONNX nodes, in upper or lower case."""


@rule("QuantizeLinear")
def quantize_linear(node: Node, x: Fact, scale: Fact, zero: Fact | None = None) -> Made:
    wanted = node.attributes.get("output_dtype") or ("uint8" if zero is None else zero.dtype)
    if wanted not in STORED:
        refuse(node, str(unknown_name("integer type", wanted, STORED)))
    return [(x.shape, STORED[wanted] if zero is None else zero.dtype)]


@rule("DequantizeLinear")
def dequantize_linear(node: Node, x: Fact, scale: Fact, zero: Fact | None = None) -> Made:
    return [(x.shape, node.attributes.get("output_dtype") or scale.dtype)]


@rule("DynamicQuantizeLinear")
def dynamic_quantize_linear(node: Node, x: Fact) -> Made:
    return [(x.shape, "uint8"), ((), "float32"), ((), "uint8")]


@rule("BipolarQuant")
def bipolar_quant(node: Node, x: Fact, scale: Fact) -> Made:
    return _qonnx(node, x, scale)


@rule("Quant")
def quant(node: Node, x: Fact, scale: Fact, zero: Fact, bits: Fact) -> Made:
    return _qonnx(node, x, scale, zero, bits)


@rule("Trunc")
def trunc(node: Node, x: Fact, scale: Fact, zero: Fact, in_bits: Fact, out: Fact, out_bits: Fact | None = None) -> Made:
    return _qonnx(node, x, scale, zero, in_bits, out, *([out_bits] if out_bits else []))


def _qonnx(node: Node, x: Fact, *parameters: Fact) -> Made:
    mode = str(node.attributes.get("rounding_mode", "ROUND"))
    if mode.upper() not in ROUNDING_MODES:
        refuse(node, str(unknown_name("rounding mode", mode, ROUNDING_MODES)))
    for parameter in parameters:
        if broadcast(node, x.shape, parameter.shape) != x.shape:
            refuse(node, f"'{parameter.value.name}' {list(parameter.shape)} must broadcast to {list(x.shape)}")
    return [(x.shape, x.dtype)]
