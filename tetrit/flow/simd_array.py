"""A whole SIMD array in gates on real operands: what its skew registers, gearboxes and control take."""

__all__ = ["ArrayRun", "measure_array"]

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit.errors import InvalidValueError
from tetrit.hardware import SimdEngine
from tetrit.rtl import Synthesis, simulate
from tetrit.rtl.flat import flatten
from tetrit.rtl.simd.modes import FORMAT_CODES
from tetrit.sim import Workload
from tetrit.sim.shift.words import to_words
from tetrit.sim.simd import SimdSimulator, cycles
from tetrit.sim.simd.operands import Operand
from tetrit.sim.simd.streams import Streams, streams

Bits = npt.NDArray[np.uint8]

EDGE = ("SimdArray", "Upsizer", "Downsizer")
"""Modules outside elements and read-outs."""

_RESULT_MODE_BITS = 14
"""Bits of `tetrit.rtl.simd.readout.ResultMode`."""


@dataclass(frozen=True, kw_only=True)
class ArrayRun:
    """What the netlist of an array took for a product.

    Attributes
    ----------
    cycles : int
    edge_pj, total_pj : float
        Energy outside elements and read-outs, and of everything.
    mismatches : int
        Results that are not the golden ones, or not in their cycle.
    """

    cycles: int
    edge_pj: float
    total_pj: float
    mismatches: int


def measure_array(
    array: Synthesis, machine: SimdEngine, acts: Any, weight: Any, act_format: str, weight_format: str
) -> ArrayRun:
    """Run a product without biases on the netlist of a `SimdArray`, rounded to the activations' format.

    Parameters
    ----------
    array : Synthesis
        Of the machine's array.
    machine : SimdEngine
        With memories that hand out a vector a cycle.
    acts, weight : array of int, shapes (m, k), (k, n)
        Codes.
    act_format, weight_format : str

    Raises
    ------
    InvalidValueError
        A vector takes more than one word.
    """
    if max(machine.act_words, machine.weight_words, machine.result_words) > 1:
        raise InvalidValueError("vectors must take one word each")
    run = SimdSimulator(machine).load(weight, weight_format=weight_format)
    output = run.matmul(acts, act_format=act_format, out_format=act_format).output
    left, above = Operand.of("acts", acts, act_format), Operand.of("weight", weight, weight_format)
    sent = streams(left, above, output, machine)
    (m, k), n = acts.shape, weight.shape[1]
    plan = cycles.schedule(Workload(m=m, k=k, n=n), machine, act_format, weight_format)
    if (
        FORMAT_CODES[act_format] | FORMAT_CODES[weight_format]
    ):  # other formats than after reset: it is set to them first
        plan = replace(
            plan, steps=plan.steps + machine.mode_switch_cycles, results=plan.results + machine.mode_switch_cycles
        )
    mode = FORMAT_CODES[act_format] | FORMAT_CODES[weight_format] << 2 | FORMAT_CODES[act_format] << 4
    inputs = _inputs(sent, plan, machine, mode, [min(machine.rows, m - row) for row in range(0, m, machine.rows)])
    inputs["tiles__payload"] = _padded(inputs["tiles__payload"], len(flatten(array.structure).inputs["tiles__payload"]))
    activity = simulate(array.structure, inputs)
    energy = activity.energy(1000.0 / machine.clock_mhz)
    edge = sum(pj for module, pj in energy.by_module.items() if module.split("_")[0] in EDGE)
    left_at = np.flatnonzero(activity.outputs["results__valid"][:, 0])
    count = min(len(left_at), len(plan.results))
    words = activity.outputs["results__payload"][left_at[:count], : machine.result_vector_bits]
    lanes = words.reshape(count, machine.cols, machine.port_bits)
    codes = lanes.astype(np.int64) @ (1 << np.arange(machine.port_bits, dtype=np.int64))
    used = np.concatenate(
        [np.arange(machine.cols) < min(machine.cols, n - first) for first in _first_columns(sent, plan)]
    )
    wrong = (codes != sent.results[:count]) & used.reshape(-1, machine.cols)[:count]
    return ArrayRun(
        cycles=plan.cycles,
        edge_pj=edge * plan.cycles,
        total_pj=energy.total_pj * plan.cycles,
        mismatches=int((wrong.any(axis=1) | (left_at[:count] != plan.results[:count])).sum())
        + abs(len(left_at) - len(plan.results)),
    )


def _first_columns(sent: Streams, plan: cycles.Schedule) -> npt.NDArray[np.int64]:
    """Return the first column of each result's tile."""
    tile: npt.NDArray[np.int64] = np.cumsum(sent.results_last, dtype=np.int64) - sent.results_last
    assert len(tile) == len(plan.results)
    return sent.first_columns[tile]


def _inputs(
    sent: Streams, plan: cycles.Schedule, machine: SimdEngine, mode: int, rows: list[int]
) -> dict[str, npt.NDArray[Any]]:
    """Return the array's ports cycle by cycle, from memories that never idle."""
    n_cycles, taken = plan.cycles, plan.steps
    accepted = np.concatenate([[0], taken[:-1]])  # a gearbox takes a vector when it hands on the one before
    at = np.minimum(np.searchsorted(accepted, np.arange(n_cycles)), len(taken) - 1)
    offered = (np.arange(n_cycles) <= accepted[-1]).astype(np.uint8)
    found: dict[str, npt.NDArray[Any]] = {"results__ready": np.ones(n_cycles, dtype=np.uint8)}
    for name, vectors, word_bits in (
        ("activations", sent.activations, machine.act_word_bits),
        ("weights", sent.weights, machine.weight_word_bits),
    ):
        found[f"{name}__payload"] = to_words(vectors.astype(np.int64), machine.port_bits, word_bits, sent.last)[at]
        found[f"{name}__valid"] = offered
    in_row = len(sent.first_columns) // len(rows)
    tile = np.minimum(np.searchsorted(taken[sent.last], np.arange(n_cycles)), len(sent.first_columns) - 1)
    payload = mode | (np.repeat(rows, in_row)[tile] - 1).astype(np.int64) << _RESULT_MODE_BITS
    found["tiles__payload"] = ((payload[:, np.newaxis] >> np.arange(32)) & 1).astype(np.uint8)
    found["tiles__valid"] = np.ones(n_cycles, dtype=np.uint8)
    return found


def _padded(bits: Bits, width: int) -> Bits:
    """Return bits with zeros above, biases among them."""
    found = np.zeros((len(bits), width), dtype=np.uint8)
    found[:, : bits.shape[1]] = bits[:, :width]
    return found
