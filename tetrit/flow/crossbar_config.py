"""The section [crossbar] of a run's configuration: which chips run the trained network beside the digital machine."""

__all__ = ["CrossbarConfig", "read_crossbar"]

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tetrit import checks, hardware, hls, noise
from tetrit.errors import InvalidValueError
from tetrit.hardware import Crossbar
from tetrit.sim.cost import AnalogPrices
from tetrit.sim.cost.peripherals import Peripherals, cell_costs
from tetrit.sim.crossbar.fault_maps import FaultFile, read_fault_file
from tetrit.train.recipe import NoiseAwareConfig, machine_source, noise_aware_of

DAY_S = 86400.0
TIMES_S = (1.0, 3600.0, DAY_S, 30 * DAY_S, 365 * DAY_S)
_KEYS = (
    "preset",
    "path",
    "changes",
    "chips",
    "seed",
    "calibration_images",
    "times_s",
    "noise_aware",
    "prices",
    "node_nm",
    "cells",
    "faults",
)
SURVEY = "survey"
"""In place of a price table: `AnalogPrices.survey` for the machine."""
MOST_CHIPS = 10_000


@dataclass(frozen=True, kw_only=True)
class CrossbarConfig:
    """The analog side of a run.

    Attributes
    ----------
    machine : Crossbar
        With the changes of the configuration.
    chips : int
        How many are drawn.
    seed : int
        Of the first chip; the others count on.
    calibration_images : int
        Training images that the converters' ranges are set from.
    times_s : tuple of float
        Times after programming at which the chips are read, ascending.
    noise_aware : NoiseAwareConfig or None
        Training on the crossbar, if asked for.
    prices : AnalogPrices
        Energy per event; by default the committed table's, or a TOML file like it, or ``"survey"``.
    node_nm : float
        Technology of the area, and of the prices of the survey.
    cells : Path or None
        A TOML file like ``cells.toml`` of `tetrit.sim.cost`, for a device that is not in it.
    faults : FaultFile or None
        Stuck cells of layers, the same on all chips; those of other layers are drawn. Training does not know them.
    """

    machine: Crossbar
    chips: int = 8
    seed: int = 0
    calibration_images: int = 256
    times_s: tuple[float, ...] = TIMES_S
    noise_aware: NoiseAwareConfig | None = None
    prices: AnalogPrices = field(default_factory=AnalogPrices.modelled)
    node_nm: float = 32.0
    cells: Path | None = None
    faults: FaultFile | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "chips", checks.integer("chips", self.chips, maximum=MOST_CHIPS))
        object.__setattr__(
            self, "seed", checks.integer("seed", self.seed, minimum=0, maximum=noise.MAX_SEED - MOST_CHIPS)
        )
        object.__setattr__(
            self, "calibration_images", checks.integer("calibration_images", self.calibration_images, maximum=2**31)
        )
        object.__setattr__(self, "node_nm", checks.real("node_nm", self.node_nm, minimum=0.0, exclusive=True))
        Peripherals.committed().at(self.node_nm)  # refuses what cannot be scaled to
        if self.cells is not None:
            cell_costs(self.machine.cell.name, self.cells)
        if not isinstance(self.times_s, tuple | list):
            raise TypeError(f"`times_s` must be a list, got {self.times_s!r}")
        times = tuple(checks.real("times_s", time, minimum=0.0) for time in self.times_s)
        if list(times) != sorted(set(times)):
            raise InvalidValueError(f"`times_s` must ascend, got {list(times)}")
        object.__setattr__(self, "times_s", times)


def read_crossbar(where: str, table: Mapping[str, Any], folder: Path) -> CrossbarConfig:
    """Build the analog side of a run from its section.

    Parameters
    ----------
    where : str
        File and section, the begin of every error.
    table : mapping
        ``preset`` or ``path`` of a crossbar, ``changes`` to its fields, and the other fields of `CrossbarConfig`.
    folder : Path
        Where relative paths start.

    Raises
    ------
    InvalidValueError
        A key or value is unknown, of the wrong kind or out of range; the message names file and section.
    """
    values = dict(checks.keys(where, table, _KEYS))
    inner = f"{where[:-1]}.noise_aware]"
    aware = values.pop("noise_aware", None)
    changes = values.pop("changes", {})
    try:
        machine = hardware.load(machine_source(values, folder))
    except (TypeError, InvalidValueError) as error:
        raise InvalidValueError(f"{where}: {error}") from None
    source = values.pop("preset", None) or values.pop("path")
    if not isinstance(machine, Crossbar):
        raise InvalidValueError(f"{where}: a crossbar is needed, '{source}' is none")
    machine = hardware.changed(machine, changes, where=f"{where[:-1]}.changes]", folder=folder)
    try:
        hls.check_machine(machine)
    except InvalidValueError as error:
        raise InvalidValueError(f"{where}: {error}") from None
    if aware is not None:
        aware = noise_aware_of(inner, aware)
    read: dict[str, Callable[[Path], Any]] = {"prices": AnalogPrices.load, "faults": read_fault_file, "cells": Path}
    if values.get("prices") == SURVEY:
        try:
            values["prices"] = AnalogPrices.survey(machine, node_nm=values.get("node_nm", 32.0))
        except (TypeError, ValueError) as error:
            raise InvalidValueError(f"{where}: {error}") from None
        del read["prices"]
    for key in [key for key in read if key in values]:
        if not isinstance(values[key], str):
            raise InvalidValueError(f"{where}: `{key}` must be a string, got {values[key]!r}")
        try:
            values[key] = read[key](folder / values[key])
        except InvalidValueError as error:
            raise InvalidValueError(f"{where}: {error}") from None
    try:
        return CrossbarConfig(machine=machine, noise_aware=aware, **values)
    except (TypeError, ValueError) as error:
        raise InvalidValueError(f"{where}: {error}") from None
