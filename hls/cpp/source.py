"""Where C++ comes from: programs and integer graphs brought into one form, with their golden runs beside them."""

__all__ = ["CodesProduct", "Golden", "Signal", "Source", "source_of"]

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit import formats
from tetrit.errors import InvalidValueError
from tetrit.hls.integer import IntegerGraph, IntegerNode, IntegerTensor, Product
from tetrit.sim import execute
from tetrit.sim.program import CompiledSimdLayer, Program, SimdProgram

Ints = npt.NDArray[np.int64]
Arrays = Mapping[str, npt.NDArray[Any]]
Golden = Callable[[dict[str, npt.NDArray[Any]]], dict[str, npt.NDArray[Any]]]


@dataclass(frozen=True, kw_only=True)
class Signal:
    """A tensor on its way between layers.

    Attributes
    ----------
    name : str
    shape : tuple of int
        Without the batch; channels last.
    format : str
        Of its integers or codes.
    codes : bool
        Whether it carries codes, unsigned, and not integers.
    """

    name: str
    shape: tuple[int, ...]
    format: str
    codes: bool = False

    @property
    def bits(self) -> int:
        """Width of a value."""
        return formats.get(self.format).bits if self.codes else int(self.format[3:])

    @property
    def count(self) -> int:
        """Values of a pixel, or of the vector: those that travel together."""
        return self.shape[-1] if self.shape else 1

    @property
    def groups(self) -> int:
        """How many pixels there are."""
        return int(np.prod(self.shape[:-1], dtype=np.int64))

    @property
    def size(self) -> int:
        """Values in all."""
        return self.count * self.groups


@dataclass(frozen=True, kw_only=True, eq=False)
class CodesProduct:
    """A layer of a SIMD engine's program with the tensors around it.

    Attributes
    ----------
    layer : CompiledSimdLayer
    input, output : str
        Names of tensors.
    """

    layer: CompiledSimdLayer
    input: str
    output: str

    @property
    def name(self) -> str:
        """Of the layer."""
        return self.layer.name

    @property
    def sources(self) -> tuple[str, ...]:
        """The tensors that it takes."""
        return (self.input,)


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """A network that C++ is written for.

    Attributes
    ----------
    inputs, outputs : tuple of str
        Names of tensors.
    nodes : tuple of IntegerNode or CodesProduct
        In an order in which they can run.
    signals : mapping of str to Signal
        All tensors.
    acc_bits : mapping of str to int
        Width of the sums of integer nodes that have any, see `IntegerGraph.accumulator_bits`.
    golden : callable
        The reference run: arrays by input with a leading batch axis in, arrays by output out.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[IntegerNode | CodesProduct, ...]
    signals: Mapping[str, Signal]
    acc_bits: Mapping[str, int]
    golden: Golden

    def samples(self, count: int) -> dict[str, npt.NDArray[Any]]:
        """Return inputs drawn evenly from what each one can be, the same every time."""
        rng = np.random.default_rng(0)
        drawn = {}
        for name in self.inputs:
            signal = self.signals[name]
            if signal.codes:
                usable = np.flatnonzero(~np.isnan(formats.get(signal.format).values))
                drawn[name] = rng.choice(usable, size=(count, *signal.shape))
            else:
                half = 2 ** (signal.bits - 1)
                drawn[name] = rng.integers(-half, half, size=(count, *signal.shape))
        return drawn


def source_of(network: Any) -> Source:
    """Bring a network into the one form.

    Parameters
    ----------
    network : Program, SimdProgram or IntegerGraph
        A program must be one for a digital machine.

    Raises
    ------
    TypeError
        Anything else.
    InvalidValueError
        A program for a crossbar; parts of a graph that no output needs.
    """
    if isinstance(network, Program):
        return _of_program(network)
    if isinstance(network, SimdProgram):
        return _of_simd(network)
    if isinstance(network, IntegerGraph):
        return _of_graph(network, network.run)
    raise TypeError(f"`network` must be a Program, a SimdProgram or an IntegerGraph, got {network!r}")


def _of_graph(graph: IntegerGraph, golden: Golden) -> Source:
    used = set(graph.outputs)
    kept: list[IntegerNode] = []
    for node in reversed(graph.nodes):
        if node.output in used:
            used.update(node.sources)
            kept.append(node)
    for name in graph.inputs:
        if name not in used:
            raise InvalidValueError(f"input '{name}' is needed by no output: leave it out")
        if name in graph.outputs:
            raise InvalidValueError(f"'{name}' is both an input and an output: there is nothing to compute")
    return Source(
        inputs=graph.inputs,
        outputs=graph.outputs,
        nodes=tuple(reversed(kept)),
        signals={t.name: Signal(name=t.name, shape=t.shape, format=t.format) for t in graph.tensors.values()},
        acc_bits=graph.accumulator_bits(),
        golden=golden,
    )


def _of_program(program: Program) -> Source:
    machine = program.shift_array
    first = program.layers[0].weight.shape[0]
    tensors = [IntegerTensor(name="input", shape=(first,), format=machine.act_format, scale=1.0)]
    nodes = []
    for place, layer in enumerate(program.layers):
        name = f"{layer.name}_out" if place < len(program.layers) - 1 else "output"
        nodes.append(
            Product(
                name=layer.name,
                input=tensors[-1].name,
                output=name,
                weight=layer.weight,
                weight_format=machine.weight_format,
                bias=layer.bias,
                multiplier=layer.multiplier,
                shift=layer.shift,
                relu=bool(layer.relu),
            )
        )
        tensors.append(IntegerTensor(name=name, shape=(layer.weight.shape[1],), format=layer.out_format, scale=1.0))
    graph = IntegerGraph(
        name="program",
        inputs=("input",),
        outputs=("output",),
        nodes=tuple(nodes),
        tensors={t.name: t for t in tensors},
        acc_bits=machine.acc_bits,
        multiplier_bits=machine.multiplier_bits,
    )

    def golden(arrays: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        return {"output": execute.execute(program, arrays["input"])[-1].output}

    return _of_graph(graph, golden)


def _of_simd(program: SimdProgram) -> Source:
    first = program.layers[0]
    known: set[str] = set()
    for layer in program.layers:
        if layer.name in known:
            raise InvalidValueError(f"layer '{layer.name}' occurs twice")
        known.add(layer.name)
    signals = [Signal(name="input", shape=(first.weight.shape[0],), format=first.act_format, codes=True)]
    nodes: list[CodesProduct] = []
    for place, layer in enumerate(program.layers):
        name = f"{layer.name}_out" if place < len(program.layers) - 1 else "output"
        nodes.append(CodesProduct(layer=layer, input=signals[-1].name, output=name))
        signals.append(Signal(name=name, shape=(layer.weight.shape[1],), format=layer.out_format, codes=True))

    def golden(arrays: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        return {"output": execute.execute(program, arrays["input"])[-1].output}

    return Source(
        inputs=("input",),
        outputs=("output",),
        nodes=tuple(nodes),
        signals={signal.name: signal for signal in signals},
        acc_bits={},
        golden=golden,
    )
