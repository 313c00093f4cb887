"""The cycle model of the SIMD array: exact for the documented handshake, a function of shape, formats and memories.

Notation: a vector of stream s takes ``w_s = ceil(vector bits / word bits)`` words and cycles; reading starts after the
memory's latency ``l_s``. R x C is the array, L the lanes of the pair of formats. An operand memory is double-buffered:
it hands out one tile while the next one is written, so writing costs no cycle here.

A product (m, k) x (k, n) is cut into tiles of R x C outputs, n tiles within m tiles, the last of each side smaller.
Tile i takes ``K = ceil(k / L)`` steps, one vector of activations and one of weights each, and drains m_i rows. However
long k is, the tile keeps its quires: sums are never split.

- steps are ``I = max(w_act, w_weight)`` apart, the first one in cycle ``max(l_act + w_act, l_weight + w_weight)``;
- a tile's last step waits until the drain of the tile before has ended, since each element keeps one finished sum;
- the drain starts when the first element's quires are done, `mac_latency` after the last step, and not before w_result
  after the last row of the tile before; rows are w_result apart, as fast as the result memory takes them.

So a long run of equal tiles costs ``max(K I, (m - 1) w_result + max(w_result, mac_latency))`` cycles per tile. The
last word of a result leaves ``pipeline_depth + w_result`` after its row started to drain: the first column's read-out,
the skew of the other columns, and the words of the vector. Every count ends with the last one, plus one since cycles
are numbered from 0.

A change of formats costs `mode_switch_cycles` in which no step is taken. Biases are there when they are needed.

The recurrences are our own, as the dataflow is, see `tetrit.hardware.simd_engine`.
"""

__all__ = ["Schedule", "bound", "count", "count_all", "schedule", "steps", "tiles"]

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from tetrit.errors import InvalidValueError
from tetrit.hardware.simd_engine import SimdEngine
from tetrit.sim.program import Workload
from tetrit.sim.simd import _kernels

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Schedule:
    """When the array takes each step, and hands out each result.

    Attributes
    ----------
    steps : ndarray of int64
        Cycle in which each vector of activations is taken, and one of weights with it, in order.
    results : ndarray of int64
        Cycle in which the last word of each drained row leaves, in order.
    """

    steps: Ints
    results: Ints

    @property
    def cycles(self) -> int:
        """Length of the run: cycles are numbered from 0."""
        return int(self.results[-1]) + 1


def steps(workload: Workload, machine: SimdEngine, act_format: str, weight_format: str) -> int:
    """Return the steps of each tile, ``ceil(k / lanes)``."""
    return -(-workload.k // machine.mode(act_format, weight_format).lanes)


def tiles(workload: Workload, machine: SimdEngine) -> int:
    """Return the number of tiles."""
    return -(-workload.m // machine.rows) * -(-workload.n // machine.cols)


def count(workload: Workload, machine: SimdEngine, act_format: str, weight_format: str) -> int:
    """Return the cycles of one product, the machine being set to its formats.

    Parameters
    ----------
    workload : Workload
        Shape of the product.
    machine : SimdEngine
        The array with its memories.
    act_format, weight_format : str
        Formats of activations (m, k) and weights (k, n).

    Returns
    -------
    int

    Raises
    ------
    InvalidValueError
        The machine lacks a format.

    Examples
    --------
    Steps in cycles 1 to 64, the drain of 32 rows from cycle 67, read-out and skew of 35 cycles, and a last word:

    >>> from tetrit.hardware.simd_engine import SimdEngine
    >>> from tetrit.sim import Workload
    >>> from tetrit.sim.simd import cycles
    >>> cycles.count(Workload(m=32, k=128, n=32), SimdEngine(rows=32, cols=32), "posit8_0", "posit8_0")
    135
    """
    return int(count_all([workload], machine, act_format, weight_format)[0])


def count_all(
    workloads: Sequence[Workload],
    machine: SimdEngine,
    act_formats: str | Sequence[str],
    weight_formats: str | Sequence[str],
) -> Ints:
    """Return the cycles of each of several products that run one after the other.

    Each begins when the last result of the one before has left. Where its pair of formats differs from that one's, the
    switch is part of its cycles; the machine is set to the first one's beforehand.

    Parameters
    ----------
    workloads : sequence of Workload
        At least one.
    machine : SimdEngine
        The array with its memories.
    act_formats, weight_formats : str or sequence of str
        The same for all, or one for each.

    Returns
    -------
    ndarray of int64

    Raises
    ------
    InvalidValueError
        No workloads, another number of formats than of workloads, or a format that the machine lacks.
    """
    if not len(workloads):
        raise InvalidValueError("`workloads` must hold at least one workload, got none")
    pairs = list(
        zip(
            _each("act_formats", act_formats, len(workloads)),
            _each("weight_formats", weight_formats, len(workloads)),
            strict=True,
        )
    )
    lanes = {pair: machine.mode(*pair).lanes for pair in set(pairs)}
    shapes = np.array([(workload.m, workload.k, workload.n) for workload in workloads], dtype=np.int64)
    switched = np.array([False, *(one != other for one, other in pairwise(pairs))])
    last = np.empty(len(workloads), dtype=np.int64)
    _kernels.last_drains(
        np.ascontiguousarray(shapes[:, 0]),
        np.ascontiguousarray(shapes[:, 2]),
        -(-shapes[:, 1] // np.array([lanes[pair] for pair in pairs], dtype=np.int64)),
        _first_step(machine) + switched * np.int64(machine.mode_switch_cycles),
        machine.rows,
        machine.cols,
        _interval(machine),
        machine.result_words,
        machine.mac_latency,
        last,
    )
    return last + (machine.pipeline_depth + machine.result_words + 1)


def schedule(workload: Workload, machine: SimdEngine, act_format: str, weight_format: str) -> Schedule:
    """Return the schedule of one product, the machine being set to its formats."""
    n_steps, interval = steps(workload, machine, act_format, weight_format), _interval(machine)
    in_row = -(-workload.n // machine.cols)
    next_step, last_drain = _first_step(machine), -machine.result_words
    taken: list[Ints] = []
    drained: list[Ints] = []
    for tile in range(tiles(workload, machine)):
        times = next_step + np.arange(n_steps, dtype=np.int64) * interval
        times[-1] = max(int(times[-1]), last_drain)
        last_step = int(times[-1])
        begin = max(last_step + machine.mac_latency, last_drain + machine.result_words)
        rows = min(machine.rows, workload.m - tile // in_row * machine.rows)
        leaving = begin + np.arange(rows, dtype=np.int64) * machine.result_words
        taken.append(times)
        drained.append(leaving)
        next_step, last_drain = last_step + interval, int(leaving[-1])
    return Schedule(
        steps=np.concatenate(taken), results=np.concatenate(drained) + machine.pipeline_depth + machine.result_words
    )


def bound(workload: Workload, machine: SimdEngine, act_format: str, weight_format: str, n_cycles: int) -> str:
    """Name the busiest stream, ``compute`` if that is the array, ``latency`` if none is busy half the time."""
    n_steps = steps(workload, machine, act_format, weight_format) * tiles(workload, machine)
    busy = {
        "compute": n_steps,
        "weights": n_steps * machine.weight_words,
        "activations": n_steps * machine.act_words,
        "results": workload.m * -(-workload.n // machine.cols) * machine.result_words,
    }
    name = max(busy, key=lambda stream: busy[stream])
    return name if 2 * busy[name] >= n_cycles else "latency"


def _interval(machine: SimdEngine) -> int:
    return max(machine.act_words, machine.weight_words)


def _first_step(machine: SimdEngine) -> int:
    return max(
        machine.act_memory.latency_cycles + machine.act_words,
        machine.weight_memory.latency_cycles + machine.weight_words,
    )


def _each(name: str, given: str | Sequence[str], n: int) -> list[str]:
    names = [given] * n if isinstance(given, str) else list(given)
    if len(names) != n:
        raise InvalidValueError(f"`{name}` must be one name or one for each of {n} workloads, got {len(names)}")
    return names
