"""Running a compiled program on a SIMD engine: layer after layer in codes, product after product in one layer."""

__all__ = ["SimdLayerRun", "SimdProduct", "execute_simd", "products"]

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit.errors import InvalidValueError
from tetrit.hardware.simd_engine import SIMD_FORMATS, SimdEngine
from tetrit.sim.program import CompiledSimdLayer, SimdProgram
from tetrit.sim.run import Run, summed
from tetrit.sim.simd.engine import SimdSimulator

Codes = npt.NDArray[Any]

RESET_PAIR = SIMD_FORMATS[0], SIMD_FORMATS[0]
"""Formats that the array is set to after a reset."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SimdProduct:
    """The columns of a layer that share a shift, as the array runs them.

    Attributes
    ----------
    columns : ndarray of int
        Which columns of the layer.
    shift : int
        Theirs.
    switched : bool
        Whether the array was set to other formats before.
    """

    columns: npt.NDArray[np.intp]
    shift: int
    switched: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class SimdLayerRun:
    """One layer of a program, run.

    Attributes
    ----------
    layer : CompiledSimdLayer
        What ran.
    input : ndarray of unsigned int, shape (batch, k)
        Codes in.
    products : tuple of (SimdProduct, Run)
        What the array did, in order.
    run : Run
        The layer as a whole: codes out, cycles and events of its products added up.
    """

    layer: CompiledSimdLayer
    input: Codes
    products: tuple[tuple[SimdProduct, Run], ...]
    run: Run

    @property
    def output(self) -> Codes:
        """Codes out, shape (batch, n)."""
        return self.run.output


def products(layers: Sequence[CompiledSimdLayer]) -> Iterator[list[SimdProduct]]:
    """Yield the products of each layer; the array starts as a reset leaves it."""
    pair = RESET_PAIR
    for layer in layers:
        found = []
        for shift, columns in layer.groups():
            found.append(SimdProduct(columns=columns, shift=shift, switched=layer.pair != pair))
            pair = layer.pair
        yield found


def execute_simd(program: SimdProgram, x: npt.ArrayLike) -> list[SimdLayerRun]:
    """Run a program on its machine, bit-exactly.

    Products run one after the other: each starts when the last result of the one before has left.

    Parameters
    ----------
    program : SimdProgram
        Compiled layers.
    x : array_like of int, shape (batch, n_in)
        Codes of the first layer's `act_format`, see `SimdProgram.encode`.

    Returns
    -------
    list of SimdLayerRun
        One per layer; the last one's `output` holds the network's codes, see `SimdProgram.decode`.

    Raises
    ------
    TypeError, InvalidValueError
        Inputs that do not fit; the message names the layer.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit import hardware, hls, sim
    >>> layer = sim.QuantizedLinear(
    ...     name="one", weight=np.array([[2, 4], [10, 2]], np.uint8), weight_format="fp4_e2m1",
    ...     weight_scale=np.array([1.0, 0.25]), bias=np.array([0.5, 0.0]), in_format="posit8_0", in_scale=1.0,
    ...     out_format="posit8_0", out_scale=1.0, relu=False,
    ... )  # ((1, 2), (-1, 1)), the second column four times smaller
    >>> program = hls.compile_network([layer], hardware.load("simd_4x4"), batch=1)
    >>> [run] = sim.execute.execute(program, program.encode([[3.0, 1.0]]))
    >>> program.decode(run.output)  # 3 - 1 + 0.5, (6 + 1) / 4
    array([[2.5 , 1.75]])
    """
    engine = SimdSimulator(program.machine)
    codes: Any = x
    runs: list[SimdLayerRun] = []
    for layer, parts in zip(program.layers, products(program.layers), strict=True):
        try:
            done = [(part, _product(engine, layer, part, codes)) for part in parts]
        except InvalidValueError as error:
            raise InvalidValueError(f"layer '{layer.name}': {error}") from None
        whole = _together(done, layer, program.machine)
        runs.append(SimdLayerRun(layer=layer, input=np.asarray(codes), products=tuple(done), run=whole))
        codes = whole.output
    return runs


def _product(engine: SimdSimulator, layer: CompiledSimdLayer, part: SimdProduct, codes: Codes) -> Run:
    engine.load(layer.weight[:, part.columns], weight_format=layer.weight_format)
    return engine.matmul(
        codes,
        act_format=layer.act_format,
        out_format=layer.out_format,
        bias=layer.bias[part.columns],
        relu=layer.relu,
        shift=part.shift,
        switched=part.switched,
    )


def _together(done: list[tuple[SimdProduct, Run]], layer: CompiledSimdLayer, machine: SimdEngine) -> Run:
    """Return the products of a layer as one run."""
    first = done[0][1]
    output = np.empty((len(first.output), layer.weight.shape[1]), dtype=first.output.dtype)
    for part, run in done:
        output[:, part.columns] = run.output
    cycles = sum(run.cycles for _, run in done)
    macs = sum(run.events["mac"] for _, run in done)
    lanes = machine.mode(*layer.pair).lanes
    return Run(
        output=output,
        cycles=cycles,
        utilization=macs / (cycles * machine.rows * machine.cols * lanes),
        bound=max(done, key=lambda item: item[1].cycles)[1].bound,
        events={name: sum(run.events[name] for _, run in done) for name in first.events},
        price=partial(_breakdown, [run for _, run in done]),
    )


def _breakdown(runs: list[Run]) -> dict[str, float]:
    return summed(run.breakdown for run in runs)
