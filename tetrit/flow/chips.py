"""The analog side of a run: the trained network on chips of a crossbar, beside the digital machine."""

__all__ = ["accuracy", "evaluate", "exact_converters", "perfect", "perfect_cells", "without_wires"]

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit import hardware, hls
from tetrit.flow.crossbar_config import CrossbarConfig
from tetrit.hardware import Adc, Crossbar, Dac
from tetrit.sim import Chip, CrossbarEngine, Program, QuantizedLinear
from tetrit.sim.execute import LayerRun
from tetrit.sim.run import summed

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MAP_BLOCKS = 16
"""Blocks along each side of an error map, at most."""

COMPENSATIONS = ("none", "global")


def perfect_cells(machine: Crossbar) -> Crossbar:
    """Return the machine with cells of the same window that are what they are programmed to, at any time."""
    cell = machine.cell.replace(
        program_sigma_siemens=(),
        write_cycles=1,
        write_tolerance_siemens=None,
        device_spread=0.0,
        cycle_spread=0.0,
        drift_mean=None,
        drift_sigma=None,
        flicker=None,
        thermal=False,
        shot=False,
        temperature_per_k=0.0,
        sinh_volt=None,
        source="perfect cell",
    )
    return machine.replace(device=cell, stuck_on=0.0, stuck_off=0.0, drift_compensation="none", time_s=0.0)


def without_wires(machine: Crossbar) -> Crossbar:
    """Return the machine without any resistance but that of the cells."""
    return machine.replace(r_row_ohm=0.0, r_col_ohm=0.0, r_driver_ohm=0.0, r_sense_ohm=0.0)


def exact_converters(machine: Crossbar) -> Crossbar:
    """Return the machine with whole inputs, and currents taken as they are."""
    return machine.replace(dac_bits=None, adc_bits=None, dac=Dac(), adc=Adc())


def perfect(machine: Crossbar) -> Crossbar:
    """Return the machine with nothing left that is not exact."""
    return exact_converters(without_wires(perfect_cells(machine)))


def accuracy(runs: Sequence[LayerRun], labels: Ints) -> float:
    """Return the share of images whose class a run finds."""
    return float((runs[-1].output.argmax(axis=1) == labels).mean())


def evaluate(
    config: CrossbarConfig,
    networks: Mapping[str, Sequence[QuantizedLinear]],
    images: Ints,
    labels: Ints,
    calibration: Ints,
    *,
    step: Callable[[str], None],
) -> dict[str, Any]:
    """Run networks on the chips, fresh and over time, and return the report's ``crossbar``.

    Beside it is ``program_pulses``, the programming attempts that the first chip took: for what programming costs.

    Parameters
    ----------
    config : CrossbarConfig
    networks : mapping of str to sequence of QuantizedLinear
        ``plain``, which is also broken down into what costs accuracy, and perhaps ``control`` and ``noise_aware``.
    images, labels : ndarray of int64
        Held-out images, and their classes.
    calibration : ndarray of int64
        Training images for the converters' ranges.
    step : callable
        Told what is being done.
    """
    machine = config.machine
    faults = None if config.faults is None else config.faults.maps
    plain = networks["plain"]
    batch = len(images)

    def program(layers: Sequence[QuantizedLinear], on: Crossbar) -> Program:
        return hls.compile_network(layers, on, batch=batch)

    cells = perfect_cells(machine)
    rows = []
    for name, variant in (
        ("perfect", perfect(machine)),
        ("converters", without_wires(cells)),
        ("wires", cells),
    ):
        step(f"crossbar: {name}")
        runs = Chip(program(plain, variant), config.seed).calibrate(calibration).run(images)
        rows.append(_row(name, "plain", [accuracy(runs, labels)]))
    drift = []
    first: list[LayerRun] = []
    pulses = 0
    clipped: list[list[float]] = []
    for network, layers in networks.items():
        for compensation in COMPENSATIONS:
            compiled = program(layers, machine.replace(drift_compensation=compensation, time_s=0.0))
            scores = np.empty((config.chips, 1 + len(config.times_s)))
            for number in range(config.chips):
                step(f"crossbar: {network}, compensation {compensation}, chip {number + 1} of {config.chips}")
                chip = Chip(compiled, config.seed + number, config.prices, faults=faults).calibrate(calibration)
                for place, time_s in enumerate((0.0, *config.times_s)):
                    runs = chip.at(time_s).run(images)
                    scores[number, place] = accuracy(runs, labels)
                    if (network, compensation, place) == ("plain", "none", 0):
                        first = first or runs
                        pulses = pulses or sum(engine.arrays.program_pulses for engine in chip.engines)
                        clipped.append([_clipped(run) for run in runs])
                del chip  # before the next one takes as much memory
            if compensation == COMPENSATIONS[0]:
                rows.append(_row("chips", network, scores[:, 0].tolist()))
            drift.append(
                {
                    "network": network,
                    "compensation": compensation,
                    "points": [
                        {"time_s": time_s, **_spread(scores[:, place].tolist())}
                        for place, time_s in enumerate(config.times_s, start=1)
                    ],
                }
            )
    step("crossbar: effective weights")
    blocks = _layers(first, np.array(clipped).mean(axis=0), machine)
    energy = _energy(blocks)
    cycles = sum(block["cycles"] for block in blocks)
    return {
        "machine": hardware.to_dict(machine),
        "chips": config.chips,
        "seed": config.seed,
        "calibration_images": len(calibration),
        "accuracy": rows,
        "drift": drift,
        "layers": blocks,
        "weights": _effective_weights(plain, machine, config.seed, faults),
        "cycles": cycles,
        "cycles_per_image": cycles / batch,
        "clock_mhz": machine.clock_mhz,
        "latency_us": cycles / machine.clock_mhz,
        "energy_uj": energy,
        "energy_per_image_nj": 1000.0 * energy["total"] / batch,
        "program_pulses": pulses,
    }


def _spread(values: list[float]) -> dict[str, Any]:
    """Return mean, sample standard deviation (0 of one value) and the single values."""
    return {
        "mean": float(np.mean(values)),
        "std": float(np.std(values, ddof=1)) if len(values) > 1 else 0.0,
        "per_chip": values,
    }


def _row(name: str, network: str, values: list[float]) -> dict[str, Any]:
    return {"name": name, "network": network, **_spread(values)}


def _clipped(run: LayerRun) -> float:
    """Return the share of conversions that were out of range."""
    conversions = run.run.events["adc_conversion"]
    return run.run.events["adc_clipped"] / conversions if conversions else 0.0


def _layers(runs: Sequence[LayerRun], clipped: Floats, machine: Crossbar) -> list[dict[str, Any]]:
    blocks = []
    for run, share in zip(runs, clipped, strict=True):
        (m, k), n = run.input.shape, run.output.shape[1]
        arrays = -(-k // machine.rows) * -(-n // machine.outputs_per_array)
        blocks.append(
            {
                "name": run.layer.name,
                "m": m,
                "k": k,
                "n": n,
                "arrays": arrays,
                "cycles": run.run.cycles,
                "utilization": run.run.utilization,
                "bound": run.run.bound,
                "events": dict(run.run.events),
                "clipped": float(share),
                "energy_pj": run.run.energy_pj,
                "breakdown": dict(run.run.breakdown),
            }
        )
    return blocks


def _energy(blocks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    breakdown = summed((block["breakdown"] for block in blocks), unit=1e-6)
    return {
        "total": sum(breakdown.values()),
        "breakdown": breakdown,
        "sources": dict.fromkeys(breakdown, "modelled"),
    }


def _effective_weights(
    layers: Sequence[QuantizedLinear], machine: Crossbar, seed: int, faults: Mapping[str, Any] | None
) -> list[dict[str, Any]]:
    """Return, for every layer, how far the weights that a chip multiplies by are from those that it should.

    They are measured as a user would measure them: one input at a time, without noise and without converters.
    """
    with_wires = exact_converters(perfect_cells(machine))
    fresh = exact_converters(machine.replace(time_s=0.0))
    top = int(machine.activations.integers.max())
    found = []
    wired, whole = (
        [_measured(engine, top) for engine in Chip(program, seed, faults=stuck).engines]
        for program, stuck in (
            (hls.compile_network(layers, with_wires, batch=1), None),
            (hls.compile_network(layers, fresh, batch=1), faults),
        )
    )
    for layer, *both in zip(layers, wired, whole, strict=True):
        ideal = machine.weights.integers[layer.weight].astype(np.float64)
        largest = float(np.abs(ideal).max()) or 1.0
        lost, errors = ((measured - ideal) / largest for measured in both)
        found.append(
            {
                "name": layer.name,
                "wires_rms": float(np.sqrt((lost**2).mean())),
                "chip_rms": float(np.sqrt((errors**2).mean())),
                "map": _blocks(np.abs(lost)).tolist(),
                "inputs_per_block": -(-ideal.shape[0] // MAP_BLOCKS),
                "outputs_per_block": -(-ideal.shape[1] // MAP_BLOCKS),
            }
        )
    return found


def _measured(engine: CrossbarEngine, top: int) -> Floats:
    n_in = engine.layout.n_in
    output: Floats = engine.matmul(top * np.eye(n_in, dtype=np.int64), read_noise="off").output / top
    return output


def _blocks(matrix: Floats) -> Floats:
    """Return means over blocks of a matrix, at most `MAP_BLOCKS` along each side."""
    rows, cols = (np.arange(0, size, -(-size // MAP_BLOCKS)) for size in matrix.shape)
    sums = np.add.reduceat(np.add.reduceat(matrix, rows, axis=0), cols, axis=1)
    counts = np.outer(np.diff([*rows, matrix.shape[0]]), np.diff([*cols, matrix.shape[1]]))
    return np.asarray(sums / counts)
