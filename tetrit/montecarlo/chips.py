"""One chip in one corner, programmed once and read at all times, with its result in a file of its own."""

__all__ = ["Cell", "cells", "read_result", "run_cell"]

import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tetrit import hardware, hls
from tetrit.errors import InvalidValueError
from tetrit.files import write_atomic
from tetrit.hardware import Crossbar
from tetrit.montecarlo import network
from tetrit.montecarlo.config import MonteCarloConfig
from tetrit.sim.crossbar.fault_maps import FaultFile, read_fault_file
from tetrit.sim.execute import Chip, LayerRun
from tetrit.train.network import one_thread

_SCHEMA = "tetrit-montecarlo-chip/1"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A chip in a corner.

    Attributes
    ----------
    corner : str
    seed : int
        Of the chip.
    machine : Crossbar
    times_s : tuple of float
    network : Path
        File of the network.
    network_sha256 : str
        Its fingerprint.
    file : Path
        Of the result.
    faults : Path or None
        File of fault maps.
    faults_sha256 : str
        Its fingerprint.
    """

    corner: str
    seed: int
    machine: Crossbar
    times_s: tuple[float, ...]
    network: Path
    network_sha256: str
    file: Path
    faults: Path | None = None
    faults_sha256: str = ""

    @property
    def sha256(self) -> str:
        """Fingerprint of all that the result depends on."""
        machine = hardware.to_dict(self.machine)
        about = [_SCHEMA, self.seed, machine, self.times_s, self.network_sha256]
        if self.faults is not None:
            about.append(self.faults_sha256)
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def cells(config: MonteCarloConfig, found: network.Network, out: Path, file: Path) -> list[Cell]:
    """Return all chips in all corners, chip after chip."""
    digits, faults = len(str(config.first_seed + config.chips - 1)), config.faults
    return [
        Cell(
            corner=corner.name,
            seed=seed,
            machine=corner.machine,
            times_s=config.times_s,
            network=file,
            network_sha256=found.sha256,
            file=out / "chips" / corner.folder / f"{seed:0{max(digits, 5)}d}.json",
            faults=None if faults is None else faults.path,
            faults_sha256="" if faults is None else faults.sha256,
        )
        for seed in range(config.first_seed, config.first_seed + config.chips)
        for corner in config.corners
    ]


def run_cell(cell: Cell, stopped: Callable[[], bool] | None = None) -> None:
    """Program a chip, read it at all times, and write its result.

    Raises
    ------
    InvalidValueError
        What the simulator raises for a network or a machine that it cannot take; the message names the corner.
    KeyboardInterrupt
        If it is to stop; nothing is written then.
    """
    found = _network(cell.network, cell.network_sha256)
    faults = None if cell.faults is None else _faults(cell.faults, cell.faults_sha256).maps
    points = []
    try:
        program = hls.compile_network(found.layers, cell.machine, batch=len(found.images))
        with one_thread():
            chip = Chip(program, cell.seed, faults=faults).calibrate(found.calibration)
            for time_s in cell.times_s:
                if stopped is not None and stopped():
                    raise KeyboardInterrupt
                points.append({"time_s": time_s} | _measured(chip.at(time_s).run(found.images), found))
    except InvalidValueError as error:
        raise InvalidValueError(f"corner '{cell.corner}', chip {cell.seed}: {error}") from None
    result = {"schema": _SCHEMA, "sha256": cell.sha256, "corner": cell.corner, "seed": cell.seed, "points": points}
    write_atomic(cell.file, json.dumps(result, indent=1, allow_nan=False) + "\n")


@functools.lru_cache(maxsize=1)
def _network(path: Path, sha256: str) -> network.Network:
    """Read the network that the chips of a process share."""
    found = network.load(path)
    if found.sha256 != sha256:
        raise InvalidValueError(f"'{path}' has changed since the analysis began")
    return found


@functools.lru_cache(maxsize=1)
def _faults(path: Path, sha256: str) -> FaultFile:
    """Read the fault maps that the chips of a process share."""
    found = read_fault_file(path)
    if found.sha256 != sha256:
        raise InvalidValueError(f"'{path}' has changed since the analysis began")
    return found


def _measured(runs: list[LayerRun], found: network.Network) -> dict[str, float]:
    """Return the accuracy, the relative error of the results, and the share of conversions that were clipped.

    The error is ``||y - e|| / ||e||`` in the Euclidean norm, y being the results of all images and e the exact ones.
    """
    y = runs[-1].output
    exact = found.exact.astype(np.float64)
    conversions = sum(run.run.events["adc_conversion"] for run in runs)
    clipped = sum(run.run.events["adc_clipped"] for run in runs)
    return {
        "accuracy": float((y.argmax(axis=1) == found.labels).mean()),
        "error": float(np.sqrt(((y - exact) ** 2).sum() / (exact**2).sum())),
        "clipped": clipped / conversions if conversions else 0.0,
    }


def read_result(cell: Cell) -> dict[str, Any] | None:
    """Return the result of a chip, None if it is not finished; raises InvalidValueError if it is another's."""
    try:
        result: dict[str, Any] = json.loads(cell.file.read_text(encoding="utf-8"))
        if result["schema"] != _SCHEMA or len(result["points"]) == 0:
            raise ValueError
        sha256 = result["sha256"]
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InvalidValueError(f"cannot read '{cell.file}': {error.strerror}") from None
    except (ValueError, TypeError, KeyError):
        raise InvalidValueError(f"'{cell.file}' is not what tetrit has written there") from None
    if sha256 != cell.sha256:
        raise InvalidValueError(f"'{cell.file}' is a chip of another configuration: choose another folder")
    return result
