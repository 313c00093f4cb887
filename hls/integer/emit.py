"""From steps with float weights to nodes in integers: codes, biases in accumulator units, dyadic numbers, tables."""

__all__ = ["emit"]

from collections.abc import Mapping

import numpy as np

from tetrit import formats
from tetrit.errors import InvalidValueError
from tetrit.estimators import Estimator
from tetrit.hls.integer.base import IntegerNode
from tetrit.hls.integer.graph import IntegerGraph
from tetrit.hls.integer.lowering import Function, Given, Lowered, Step
from tetrit.hls.integer.tensor import IntegerTensor
from tetrit.hls.integer.types import AveragePool, Concat, Lookup, MaxPool, Product, Reshape, Sum
from tetrit.hls.integer.weights import arranged, quantized
from tetrit.sim.requantize import dyadic


def emit(
    lowered: Lowered,
    scales: Mapping[str, Given],
    estimators: Mapping[str, Estimator],
    *,
    acc_bits: int,
    multiplier_bits: int,
) -> IntegerGraph:
    """Return the integer network of steps whose values have these quantisations."""
    maker = _Maker(lowered, scales, estimators, acc_bits, multiplier_bits)
    for name, shape in lowered.inputs.items():
        maker.input(name, shape, scales[name])
    for step in lowered.steps:
        try:
            maker.step(step)
        except InvalidValueError as error:
            raise InvalidValueError(f"node '{step.name}': {error}") from None
    return IntegerGraph(
        name=lowered.graph.name,
        inputs=tuple(lowered.inputs),
        outputs=tuple(maker.names[value] for value in dict.fromkeys(lowered.outputs.values())),
        nodes=tuple(maker.nodes),
        tensors=maker.tensors,
        acc_bits=acc_bits,
        multiplier_bits=multiplier_bits,
    )


class _Maker:
    def __init__(
        self,
        lowered: Lowered,
        scales: Mapping[str, Given],
        estimators: Mapping[str, Estimator],
        acc_bits: int,
        multiplier_bits: int,
    ) -> None:
        self.nodes: list[IntegerNode] = []
        self.tensors: dict[str, IntegerTensor] = {}
        self._scales, self._estimators = scales, estimators
        self._acc_bits, self._multiplier_bits = acc_bits, multiplier_bits
        # a result has the name that the float graph gives it, where that is free
        self.names = {name: name for name in (*lowered.inputs, *(step.output for step in lowered.steps))}
        for output, value in lowered.outputs.items():
            if value not in lowered.inputs and self.names[value] == value and output not in self.names:
                self.names[value] = output

    def tensor(self, name: str, shape: tuple[int, ...], quantisation: Given) -> IntegerTensor:
        made = IntegerTensor(name=name, shape=shape, format=quantisation.format, scale=quantisation.scale)
        self.tensors[name] = made
        return made

    def input(self, name: str, shape: tuple[int, ...], quantisation: Given) -> None:
        """Add an input; where it may not hold all integers of its format, a table cuts it."""
        x = self.tensor(name, shape, quantisation)
        if (quantisation.low, quantisation.high) != (x.low, x.high):
            self.names[name] = f"{name}/bounded"
            out = self.tensor(self.names[name], shape, quantisation)
            table = _table(Function(), x, out, quantisation.low, quantisation.high)
            self.nodes.append(Lookup(name=f"{name}/bounds", input=name, output=out.name, table=table))

    def step(self, step: Step) -> None:
        given = self._scales[step.output]
        sources = tuple(self.names[name] for name in step.inputs)
        inputs = [self.tensors[name] for name in sources]
        name = self.names[step.output]
        low, high = self._ends(step, given)
        if step.kind == "lookup":
            assert step.function is not None
            out = self.tensor(name, step.shape, given)
            table = _table(step.function, inputs[0], out, low, high)
            self.nodes.append(Lookup(name=step.name, input=sources[0], output=name, table=table))
            return
        whole = -(2 ** (int(given.format[3:]) - 1)), 2 ** (int(given.format[3:]) - 1) - 1
        relu = step.kind in ("product", "sum") and (step.relu or low == 0)
        reached = (0 if relu else whole[0], whole[1])
        bounded = step.kind in ("product", "sum", "average") and reached != (low, high)
        out = self.tensor(f"{name}/unbounded" if bounded else name, step.shape, given)
        self.nodes.append(self._node(step, sources, inputs, out, relu))
        if bounded:
            last = self.tensor(name, step.shape, given)
            table = _table(Function(), out, last, low, high)
            self.nodes.append(Lookup(name=f"{step.name}/bounds", input=out.name, output=name, table=table))

    @staticmethod
    def _ends(step: Step, given: Given) -> tuple[int, int]:
        """Return the least and the greatest integer that a step may give."""
        low = max(given.low, 0) if step.relu else given.low
        high = given.high
        if step.cap is not None:
            high = min(high, round(step.cap / given.scale))
        return low, high

    def _node(
        self, step: Step, sources: tuple[str, ...], inputs: list[IntegerTensor], out: IntegerTensor, relu: bool
    ) -> IntegerNode:
        if step.kind == "product":
            return self._product(step, inputs[0], out, relu)
        if step.kind == "sum":
            ratios = np.array([x.scale / out.scale for x in inputs])
            _, shift = self._dyadic(np.asarray(ratios.max()))
            sizes = np.floor(np.ldexp(ratios, int(shift)) + 0.5).astype(np.int64)
            multipliers = tuple(int(m) * sign for m, sign in zip(sizes, step.signs, strict=True))
            return Sum(
                name=step.name, inputs=sources, output=out.name, multipliers=multipliers, shift=int(shift), relu=relu
            )
        if step.kind == "concat":
            return Concat(name=step.name, inputs=sources, output=out.name, axis=step.axis)
        if step.kind == "reshape":
            return Reshape(name=step.name, input=sources[0], output=out.name)
        assert step.window is not None
        if step.kind == "max":
            return MaxPool(name=step.name, input=sources[0], output=out.name, window=step.window)
        places = step.window.kernel[0] * step.window.kernel[1]
        multiplier, shift = self._dyadic(np.asarray(inputs[0].scale / (places * out.scale)))
        return AveragePool(
            name=step.name,
            input=sources[0],
            output=out.name,
            window=step.window,
            multiplier=int(multiplier),
            shift=int(shift),
        )

    def _product(self, step: Step, x: IntegerTensor, out: IntegerTensor, relu: bool) -> Product:
        assert step.weights is not None and step.bias is not None
        wide = out.bits > 16
        codes, scale, fmt = quantized(step.weights, self._estimators[step.name], one_scale=wide)
        unit = x.scale * scale * 2.0 ** formats.get(fmt).lsb_exponent
        bias = np.rint(step.bias / unit)
        if (np.abs(bias) >= 2.0**62).any():
            raise InvalidValueError(f"the largest bias is {np.abs(bias).max():.3g} accumulator units, too many")
        multiplier, shift = (None, None) if wide else self._dyadic(unit / out.scale)
        if wide:
            self.tensors[out.name] = IntegerTensor(
                name=out.name, shape=out.shape, format=out.format, scale=float(unit[0])
            )
        return Product(
            name=step.name,
            input=x.name,
            output=out.name,
            weight=arranged(codes, 1 if step.window is None else step.window.groups),
            weight_format=fmt,
            bias=bias.astype(np.int64),
            multiplier=multiplier,
            shift=shift,
            relu=relu,
            window=step.window,
        )

    def _dyadic(self, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return dyadic(scale, multiplier_bits=self._multiplier_bits, acc_bits=self._acc_bits)


def _table(function: Function, x: IntegerTensor, out: IntegerTensor, low: int, high: int) -> np.ndarray:
    """Return the integers of a function of all integers of a format: nearest, half to even, saturating."""
    if x.bits > 16:
        raise InvalidValueError(f"a table needs an input of at most 16 bits, got {x.format}")
    values = function(np.arange(x.low, x.high + 1, dtype=np.float64) * x.scale)
    if np.isnan(values).any():
        where = int(np.argmax(np.isnan(values)))
        raise InvalidValueError(f"the function must be a number everywhere, got NaN at {(x.low + where) * x.scale:g}")
    return np.clip(np.rint(values / out.scale), low, high).astype(np.int64)
