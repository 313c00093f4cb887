"""Running a compiled program: layer after layer, requantised to integers in between."""

__all__ = ["Chip", "LayerRun", "check_memory", "execute", "needs_calibration"]

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, overload

import numpy as np
import numpy.typing as npt

from tetrit import checks, formats, noise
from tetrit.errors import InvalidValueError
from tetrit.hardware import Crossbar, ShiftArray
from tetrit.sim.cost import AnalogPrices
from tetrit.sim.crossbar import CrossbarEngine, memory
from tetrit.sim.crossbar.chain import ReadNoise
from tetrit.sim.crossbar.fault_maps import layer_faults
from tetrit.sim.crossbar.mapping import Layout
from tetrit.sim.crossbar.wires.effective import free_bytes
from tetrit.sim.program import CompiledLayer, Program, SimdProgram
from tetrit.sim.requantize import requantize, requantize_real
from tetrit.sim.run import Run
from tetrit.sim.shift import ShiftEngine
from tetrit.sim.simd.execute import SimdLayerRun, execute_simd

Ints = npt.NDArray[np.int64]

_LAYER = 6  # which quantity a key draws, see `crossbar.arrays.ARRAY`: the arrays of a layer


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerRun:
    """One layer of a program, run.

    Attributes
    ----------
    layer : CompiledLayer
        What ran.
    input : ndarray of int64, shape (batch, k)
        Activations in.
    run : Run
        Accumulators, cycles, events, energy. On a crossbar its output is float64 and without the bias.
    output : ndarray of int64, shape (batch, n)
        Activations out, after requantisation.
    """

    layer: CompiledLayer
    input: Ints
    run: Run
    output: Ints


class Chip:
    """One chip with a program for a crossbar: every layer on arrays of its own, programmed once and read at any time.

    The same seed is the same chip. Chips of other seeds take the same program: nothing is compiled again. Another
    temperature is another machine: with ``machine = program.crossbar.replace(temperature_k=350.0)``, a chip of
    ``dataclasses.replace(program, machine=machine)`` and the same seed is the same chip at that temperature.

    Parameters
    ----------
    program : Program
        Compiled for a crossbar.
    seed : int, default 0
        The chip: from 0 to 2^64 - 1.
    prices : AnalogPrices, optional
        Energy per event; by default the committed table's.
    faults : mapping of str or int to array_like of int, optional
        Stuck cells of layers, by their names or numbers, as `CrossbarEngine.load` takes them; those of other layers are
        drawn as the machine says.

    Raises
    ------
    TypeError, InvalidValueError
        As `tetrit.sim.crossbar.fault_maps.layer_faults`.

    Attributes
    ----------
    program, seed
        As given.
    engines : tuple of CrossbarEngine
        One a layer.
    time_s : float
        Since programming.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit import hardware, hls, sim
    >>> layer = sim.QuantizedLinear(
    ...     name="one", weight=np.array([[1, 3], [2, 15]], np.uint8), weight_format="int4",
    ...     weight_scale=np.ones(2), bias=np.array([0.0, 10.0]), in_format="int8", in_scale=1.0,
    ...     out_format="int8", out_scale=2.0, relu=False,
    ... )  # code 15 is -1
    >>> machine = hardware.Crossbar(rows=4, cols=8, weight_format="int4", adc_bits=None)
    >>> chip = Chip(hls.compile_network([layer], machine, batch=1), seed=3)
    >>> chip.run(np.array([[5, 7]]))[-1].output  # (19, 8 + 10) / 2, half up
    array([[10,  9]])
    """

    def __init__(
        self,
        program: Program,
        seed: int = 0,
        prices: AnalogPrices | None = None,
        *,
        faults: Mapping[Any, npt.ArrayLike] | None = None,
    ) -> None:
        machine = program.crossbar
        self.program = program
        self.seed = checks.integer("seed", seed, minimum=0, maximum=noise.MAX_SEED)
        maps = layer_faults(
            {} if faults is None else faults, machine, [(layer.name, *layer.weight.shape) for layer in program.layers]
        )
        self.engines = tuple(
            CrossbarEngine(machine, noise.key(self.seed, _LAYER, index), prices).load(layer.weight, faults=found)
            for index, (layer, found) in enumerate(zip(program.layers, maps, strict=True))
        )
        self.time_s = machine.time_s

    @property
    def calibrates(self) -> bool:
        """Whether the converters take their ranges from `calibrate`, which must then come before `run`."""
        return needs_calibration(self.program.crossbar)

    def at(self, time_s: float) -> Self:
        """Let the chip be read `time_s` after programming; calibrations are kept.

        Raises
        ------
        InvalidValueError
            A negative time.
        """
        if time_s != self.time_s:
            for engine in self.engines:
                engine.at(time_s)
            self.time_s = float(time_s)
        return self

    def calibrate(self, x: Ints) -> Self:
        """Set the converters' ranges, layer after layer, from a batch of inputs and what the chip makes of it.

        Each layer's inputs are what the calibrated layers before it give without read noise. Does nothing where the
        converters' ranges are not calibrated.

        Parameters
        ----------
        x : ndarray of int64, shape (batch, n_in)
            Integer inputs of the first layer.

        Raises
        ------
        TypeError, InvalidValueError
            As `CrossbarEngine.calibrate`.
        """
        if not self.calibrates:
            return self
        for engine, layer in zip(self.engines, self.program.layers, strict=True):
            engine.calibrate(x)
            x = _analog(engine, layer, x, "off").output
        return self

    def run(self, x: Ints, *, read_noise: ReadNoise = "output") -> list[LayerRun]:
        """Run a batch through all layers.

        Parameters
        ----------
        x : ndarray of int64, shape (batch, n_in)
            Integer inputs of the first layer.
        read_noise : {"output", "per_cell", "off"}
            See `CrossbarEngine.matmul`. Every run of a chip draws new noise.

        Returns
        -------
        list of LayerRun
            One per layer; the last one's `output` is the network's.

        Raises
        ------
        InvalidValueError
            Converters that need calibration and have none, or `x` that does not fit.
        """
        runs: list[LayerRun] = []
        for engine, layer in zip(self.engines, self.program.layers, strict=True):
            runs.append(_analog(engine, layer, x, read_noise))
            x = runs[-1].output
        return runs


def check_memory(machine: Crossbar, widths: Sequence[int], *, chips: int = 1) -> None:
    """Raise an error that says what would fit unless chips with a network fit into the memory that is free.

    Parameters
    ----------
    machine : Crossbar
    widths : sequence of int
        Inputs of every layer, and outputs of the last.
    chips : int, default 1
        How many are simulated at the same time.

    Raises
    ------
    InvalidValueError
        They do not fit: by `tetrit.sim.crossbar.memory.needed_bytes`, and before anything is allocated.
    """
    layouts = [Layout(machine=machine, n_in=n_in, n_out=n_out) for n_in, n_out in itertools.pairwise(widths)]
    for layout in layouts:
        memory.check_memory(layout)
    needed, free = sum(memory.needed_bytes(layout) for layout in layouts), free_bytes()
    if free is None or chips * needed <= free:
        return
    raise InvalidValueError(
        f"{chips} at a time of chips with layers of {' x '.join(map(str, widths))} need about "
        f"{chips * needed / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB are free; {free // needed or 'none'} would "
        "fit"
    )


def needs_calibration(machine: Crossbar) -> bool:
    """Whether a crossbar's converters take their ranges from a batch."""
    return machine.adc_bits is not None and machine.adc.range.startswith("calibrated")


@overload
def execute(
    program: Program, x: Ints, *, seed: int = 0, time_s: float | None = None, calibration: Ints | None = None
) -> list[LayerRun]: ...


@overload
def execute(program: SimdProgram, x: npt.ArrayLike) -> list[SimdLayerRun]: ...


def execute(
    program: Program | SimdProgram,
    x: Any,
    *,
    seed: int = 0,
    time_s: float | None = None,
    calibration: Ints | None = None,
) -> Any:
    """Run a program on its machine: bit-exactly on a digital one, as one chip on a crossbar.

    Parameters
    ----------
    program : Program or SimdProgram
        Compiled layers.
    x : ndarray of int, shape (batch, n_in)
        Integer inputs of the first layer; for a SIMD engine their codes, see `SimdProgram.encode`.
    seed : int, default 0
        The chip, see `Chip`; a digital machine has no use for it, nor for the others.
    time_s : float, optional
        From programming to reading; by default the machine's.
    calibration : ndarray of int64, shape (batch, n_in), optional
        Inputs that the converters' ranges are set from, where they are calibrated; done at the time of programming.

    Returns
    -------
    list of LayerRun, or of SimdLayerRun
        One per layer; the last one's `output` is the network's.

    Raises
    ------
    InvalidValueError
        Inputs that do not fit, or a crossbar that needs `calibration`.
    """
    if isinstance(program, SimdProgram):
        return execute_simd(program, x)
    if isinstance(program.machine, ShiftArray):
        return _digital(program, program.machine, x)
    chip = Chip(program, seed)
    if chip.calibrates:
        if calibration is None:
            raise InvalidValueError(
                f"`calibration` is needed: the converters' `range` is '{program.machine.adc.range}'"
            )
        chip.calibrate(calibration)
    return chip.at(chip.time_s if time_s is None else time_s).run(x)


def _digital(program: Program, machine: ShiftArray, x: Ints) -> list[LayerRun]:
    runs: list[LayerRun] = []
    for layer in program.layers:
        run = ShiftEngine(machine).load(layer.weight).matmul(x, bias=layer.bias, mapping=layer.mapping)
        run = replace(run, events={**run.events, "act_write_word": _written_words(layer, run, machine)})
        output = requantize(run.output, layer.multiplier, layer.shift, out_format=layer.out_format, relu=layer.relu)
        runs.append(LayerRun(layer=layer, input=x, run=run, output=output))
        x = output
    return runs


def _analog(engine: CrossbarEngine, layer: CompiledLayer, x: Ints, read_noise: ReadNoise) -> LayerRun:
    run = engine.matmul(x, read_noise=read_noise)
    output = requantize_real(
        run.output + layer.bias, layer.multiplier, layer.shift, out_format=layer.out_format, relu=layer.relu
    )
    return LayerRun(layer=layer, input=x, run=run, output=output)


def _written_words(layer: CompiledLayer, run: Run, machine: ShiftArray) -> int:
    """Words that the activations of a layer fill: a vector of `cols` of them starts at a word."""
    vectors = len(run.output) * -(-run.output.shape[1] // layer.tiling.tile_n)
    bits = machine.cols * formats.get(layer.out_format).bits
    words: int = vectors * -(-bits // machine.act_word_bits)
    return words
