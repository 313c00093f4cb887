"""Running a compiled program: layer after layer in integers, requantised in between."""

__all__ = ["LayerRun", "execute"]

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tetrit import formats
from tetrit.hardware import ShiftArray
from tetrit.sim.program import CompiledLayer, Program
from tetrit.sim.requantize import requantize
from tetrit.sim.run import Run
from tetrit.sim.shift import ShiftEngine


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
        Accumulators, cycles, events, energy.
    output : ndarray of int64, shape (batch, n)
        Activations out, after requantisation.
    """

    layer: CompiledLayer
    input: npt.NDArray[np.int64]
    run: Run
    output: npt.NDArray[np.int64]


def execute(program: Program, x: npt.NDArray[np.int64]) -> list[LayerRun]:
    """Run a program on its machine, bit-exactly.

    Parameters
    ----------
    program : Program
        Compiled layers.
    x : ndarray of int64, shape (batch, n_in)
        Integer inputs of the first layer.

    Returns
    -------
    list of LayerRun
        One per layer; the last one's `output` is the network's.
    """
    runs: list[LayerRun] = []
    for layer in program.layers:
        run = ShiftEngine(program.machine).load(layer.weight).matmul(x, bias=layer.bias, mapping=layer.mapping)
        run = replace(run, events={**run.events, "act_write_word": _written_words(layer, run, program.machine)})
        output = requantize(run.output, layer.multiplier, layer.shift, out_format=layer.out_format, relu=layer.relu)
        runs.append(LayerRun(layer=layer, input=x, run=run, output=output))
        x = output
    return runs


def _written_words(layer: CompiledLayer, run: Run, machine: ShiftArray) -> int:
    """Words that the activations of a layer fill: a vector of `cols` of them starts at a word."""
    vectors = len(run.output) * -(-run.output.shape[1] // layer.mapping.tile_n)
    bits = machine.cols * formats.get(layer.out_format).bits
    words: int = vectors * -(-bits // machine.act_word_bits)
    return words
