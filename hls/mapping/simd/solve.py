"""The best mapping of a product onto a SIMD engine: which operand lies on the rows, and blocks of tiles.

The engine cuts a product into tiles of its own size, n within m, and keeps each sum in its quire to the end, so what is
left to choose is

- which operand goes along the rows: activations, or weights, so that the engine computes the transposed product. Both
  operands are codes of the same formats, and the result comes out transposed;
- blocks of whole tiles, each run as a product of its own, so that operands are reused from the scratchpads. A block
  begins when the last result of the one before has left;
- the order of the blocks.

All of them are looked at, in a branch and bound: steps and drains of all tiles, and the fill and drain that every
further block adds, bound the cycles from below.
"""

__all__ = ["SimdTiling", "solve"]

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from tetrit import checks
from tetrit.formats import get
from tetrit.hardware import SimdEngine
from tetrit.hls.mapping.layer import Settings, Solution
from tetrit.hls.mapping.memory import Moved, Traffic, moved, off_chip_bits, operand_room
from tetrit.hls.mapping.shift._kernels import fetches
from tetrit.hls.mapping.simd import _kernels
from tetrit.sim import Workload
from tetrit.sim.cost import SimdPrices
from tetrit.sim.simd import cycles as model
from tetrit.sim.simd.events import of_shape


@dataclass(frozen=True, kw_only=True)
class SimdTiling:
    """How a product runs on a SIMD engine.

    Attributes
    ----------
    transposed : bool
        Whether weights lie along the rows and activations along the columns.
    group_m, group_n : int
        Tiles of a block along the rows and along the columns.
    outer : {"m", "n"}
        Whether the loop over blocks along the rows is the outer one, or that along the columns.
    """

    transposed: bool = False
    group_m: int = 1
    group_n: int = 1
    outer: Literal["m", "n"] = "m"

    def __post_init__(self) -> None:
        for name in ("group_m", "group_n"):
            object.__setattr__(self, name, checks.integer(name, getattr(self, name)))
        checks.choice("outer", self.outer, ("m", "n"))

    def blocks(self, workload: Workload, machine: SimdEngine) -> list[Workload]:
        """Return the products that are run, in order; m is the extent along the rows."""
        m, n = (workload.n, workload.m) if self.transposed else (workload.m, workload.n)
        of_m, of_n = (
            [min(step, extent - start) for start in range(0, extent, step)]
            for extent, step in ((m, self.group_m * machine.rows), (n, self.group_n * machine.cols))
        )
        pairs = [(a, b) for a in of_m for b in of_n] if self.outer == "m" else [(a, b) for b in of_n for a in of_m]
        return [Workload(m=a, k=workload.k, n=b) for a, b in pairs]


@lru_cache(maxsize=4096)
def solve(workload: Workload, machine: SimdEngine, settings: Settings) -> Solution:
    """Return the mapping of least cost of a product; see `tetrit.hls.map_network`.

    Raises
    ------
    InvalidValueError
        The machine lacks a format.
    """
    found = [_solve(workload, machine, settings, transposed) for transposed in (False, True)]
    best = min(found, key=lambda solution: solution.cost(settings.cost))
    bound = min(solution.bound for solution in found)
    optimal = all(solution.optimal for solution in found)
    return Solution(**{**vars(best), "bound": bound, "optimal": optimal})


def timing(machine: SimdEngine) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return size, intervals and delays of the recurrence of `tetrit.sim.simd.cycles`."""
    first = max(
        machine.act_memory.latency_cycles + machine.act_words,
        machine.weight_memory.latency_cycles + machine.weight_words,
    )
    return np.array(
        [
            machine.rows,
            machine.cols,
            first,
            max(machine.act_words, machine.weight_words),
            machine.result_words,
            machine.mac_latency,
            machine.pipeline_depth + machine.result_words + 1,
        ],
        dtype=np.int64,
    )


def _solve(workload: Workload, machine: SimdEngine, settings: Settings, transposed: bool) -> Solution:
    names = (settings.act_format, settings.weight_format)[:: -1 if transposed else 1]
    m, k, n = workload.m, workload.k, workload.n
    if transposed:
        m, n = n, m
    turned = Workload(m=m, k=k, n=n)
    lanes = machine.mode(*names).lanes
    steps, off = model.steps(turned, machine, *names), settings.off_chip
    table, clock = SimdPrices.modelled(machine, *names), timing(machine)
    bits = {"act": get(names[0]).bits, "weight": get(names[1]).bits, "result": get(settings.act_format).bits}
    sizes = np.array(
        [
            *(machine.rows, machine.cols, 0, operand_room(machine.act_memory), operand_room(machine.weight_memory)),
            *(
                bits["act"],
                bits["weight"],
                bits["result"],
                off_chip_bits(off),
                0 if off is None else off.latency_cycles,
            ),
        ],
        dtype=np.int64,
    )
    known = table.breakdown(of_shape(turned, machine, n_steps=steps, n_cycles=0), machine)
    one = table.breakdown(of_shape(turned, machine, n_steps=steps, n_cycles=1), machine)
    beyond = (0.0, 0.0, 0.0)
    if off is not None:
        beyond = (
            off.read_pj_per_bit + machine.act_memory.write_pj_per_bit,
            off.read_pj_per_bit + machine.weight_memory.write_pj_per_bit,
            off.write_pj_per_bit,
        )
    prices = np.array([sum(known.values()), sum(one.values()) - sum(known.values()), *beyond])
    choice, cost, complete = np.zeros(_kernels.CHOICE, dtype=np.int64), np.inf, False
    for fine in (False, True):
        cost, complete = _kernels.best(
            *(m, k, n, steps, clock, sizes, prices, settings.kind, fine, choice, cost), settings.limit
        )
    n_cycles = int(_kernels.cycles(m, n, steps, choice, clock))
    happened = of_shape(turned, machine, n_steps=steps, n_cycles=n_cycles)
    group_m, group_n, n_outer = choice.tolist()
    nest = np.array([machine.rows, k, machine.cols, group_m, group_n, n_outer], dtype=np.int64)
    act, weight = (int(times) for times in fetches(m, k, n, nest, sizes))
    least = int(_kernels.block_bound(m, n, steps, 1, clock))
    bound = cost if complete else float(_kernels.price(m, k, n, least, 1, 1, sizes, prices, settings.kind))
    return Solution(
        tiling=SimdTiling(transposed=transposed, group_m=group_m, group_n=group_n, outer="n" if n_outer else "m"),
        array_cycles=n_cycles,
        **_moved(turned, machine, settings, table, happened, bits, act, weight),
        peak_macs=float(machine.rows * machine.cols * lanes),
        optimal=bool(complete),
        bound=float(bound),
    )


def _moved(
    workload: Workload,
    machine: SimdEngine,
    settings: Settings,
    table: SimdPrices,
    happened: dict[str, int],
    bits: dict[str, int],
    act: int,
    weight: int,
) -> Moved:
    """Return energy, traffic and off-chip cycles."""
    written = -(-happened["result_write_word"] * machine.result_word_bits // 8)
    return moved(
        workload,
        machine,
        settings.off_chip,
        breakdown=table.breakdown(happened, machine),
        happened=happened,
        bits=bits,
        fetched={"act": act, "weight": weight},
        results={"result memory": Traffic(read_bytes=0, write_bytes=written)},
    )
