"""One point evaluated: its machine built, its workload run or priced on it, and what may go wrong recorded."""

__all__ = ["Task", "evaluate"]

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tetrit import hls
from tetrit.errors import InvalidValueError
from tetrit.explore import area, products
from tetrit.explore.figures import Figures, Result, versions
from tetrit.explore.machines import Variant, variant
from tetrit.explore.workload import DigitsWorkload, GemmWorkload, Workloads
from tetrit.flow import chips
from tetrit.hardware import Crossbar, Machine, ShiftArray, SimdEngine
from tetrit.montecarlo import network
from tetrit.montecarlo.network import Network
from tetrit.sim import Chip
from tetrit.sim.execute import execute
from tetrit.sim.run import summed
from tetrit.train.digits import IN_SCALE
from tetrit.train.network import one_thread


@dataclass(frozen=True, kw_only=True)
class Task:
    """A point with all that its evaluation needs.

    Attributes
    ----------
    number : int
        Of the point.
    base : Machine
    parameters : dict
        In place of fields of `base`.
    workload : GemmWorkload or DigitsWorkload
    area : {"table", "synthesised"}
    seed : int
        Of chips and of random codes.
    network : Network, Path or None
        Of a workload with data; a path is read once in a process.
    trouble : str
        Why there is no network.
    """

    number: int
    base: Machine
    parameters: dict[str, Any]
    workload: Workloads
    area: str
    seed: int
    network: Network | Path | None = field(default=None, compare=False)
    trouble: str = ""


def evaluate(task: Task, stopped: Callable[[], bool] | None = None) -> Result:
    """Return what a point is found to be; a machine that cannot be is a result too, with its error.

    Raises
    ------
    KeyboardInterrupt
        If it is to stop between two chips.
    """
    begin = time.perf_counter()
    try:
        found = variant(task.base, task.parameters)
        figures: Figures | None = _figures(task, found, stopped)
        error = ""
    except InvalidValueError as refused:
        figures, error = None, " ".join(str(refused).split())
    seconds = round(time.perf_counter() - begin, 6)
    return Result(number=task.number, figures=figures, error=error, seconds=seconds, versions=versions())


def _figures(task: Task, found: Variant, stopped: Callable[[], bool] | None) -> Figures:
    machine, work = found.machine, task.workload
    if isinstance(work, GemmWorkload):
        if isinstance(machine, ShiftArray):
            return products.shift(work, machine, area_mode=task.area)
        if isinstance(machine, SimdEngine):
            return products.simd(work, machine, found.act_format, found.weight_format, area_mode=task.area)
        return products.crossbar(work, machine, seed=task.seed)
    if task.trouble:
        raise InvalidValueError(task.trouble)
    assert task.network is not None
    trained = _read(task.network) if isinstance(task.network, Path) else task.network
    with one_thread():
        if isinstance(machine, Crossbar):
            return _crossbar(work, machine, trained, task.seed, stopped)
        return _digital(machine, trained, task.area)


@functools.lru_cache(maxsize=8)
def _read(path: Path) -> Network:
    return network.load(path)


def _digital(machine: ShiftArray | SimdEngine, trained: Network, area_mode: str) -> Figures:
    """Run the images on a digital machine, bit-exactly."""
    program: Any = hls.compile_network(trained.layers, machine, batch=len(trained.images))
    if isinstance(machine, SimdEngine):
        runs: Any = execute(program, program.encode(trained.images * IN_SCALE))
        right = program.decode(runs[-1].output).argmax(axis=1) == trained.labels
        lanes = np.mean([machine.mode(layer.in_format, layer.weight_format).lanes for layer in trained.layers])
        found = area.simd(machine, area_mode)
    else:
        runs = execute(program, trained.images)
        right = runs[-1].output.argmax(axis=1) == trained.labels
        lanes = np.float64(1.0)
        found = area.shift(machine, area_mode)
    cycles = sum(run.run.cycles for run in runs)
    macs = len(trained.images) * sum(layer.weight.size for layer in trained.layers)
    prices = "sim.cost's tables for sg13g2"
    return Figures(
        cycles=cycles,
        latency_us=cycles / machine.clock_mhz,
        utilization=float(macs / (cycles * machine.rows * machine.cols * lanes)),
        energy_uj=summed((run.run.breakdown for run in runs), unit=1e-6),
        area_mm2={name: um2 * 1e-6 for name, um2 in found.um2.items()},
        accuracy=float(right.mean()),
        sources={
            "latency_us": f"{products.LATENCY}, all {len(trained.images)} images",
            "energy_uj": f"modelled: {prices}, the network's own weights; memories: their own fields; without "
            "requantisation",
            "accuracy": f"{len(trained.images)} held-out images, run bit-exactly",
        }
        | {f"area_mm2: {name}": source for name, source in found.sources.items()},
    )


def _crossbar(
    work: DigitsWorkload, machine: Crossbar, trained: Network, seed: int, stopped: Callable[[], bool] | None
) -> Figures:
    """Run the images on chips; cycles and energy are those of the first one."""
    program = hls.compile_network(trained.layers, machine, batch=len(trained.images))
    scores, first, arrays = [], None, 0
    for number in range(work.chips):
        if stopped is not None and stopped():
            raise KeyboardInterrupt
        chip = Chip(program, seed + number).calibrate(trained.calibration)
        runs = chip.run(trained.images)
        scores.append(chips.accuracy(runs, trained.labels))
        if first is None:
            first = runs
            arrays = sum(engine.layout.row_arrays * engine.layout.col_arrays for engine in chip.engines)
    assert first is not None
    cycles = sum(run.run.cycles for run in first)
    cells = arrays * machine.rows * machine.cols
    weights = sum(layer.weight.size for layer in trained.layers) * machine.columns_per_output
    found = area.crossbar(machine, arrays)
    return Figures(
        cycles=cycles,
        latency_us=cycles / machine.clock_mhz,
        utilization=weights / cells,
        energy_uj=summed((run.run.breakdown for run in first), unit=1e-6),
        area_mm2={name: um2 * 1e-6 for name, um2 in found.um2.items()},
        accuracy=float(np.mean(scores)),
        sources={
            "latency_us": f"{products.LATENCY}, all {len(trained.images)} images, layers one after the other",
            "energy_uj": "modelled: sim.cost's analog.toml; cells: V^2 g t of the run itself; without requantisation "
            "and memories",
            "accuracy": f"{len(trained.images)} held-out images, mean of {work.chips} chips",
        }
        | {f"area_mm2: {name}": source for name, source in found.sources.items()},
    )
