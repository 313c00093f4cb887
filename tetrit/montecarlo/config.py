"""The configuration of `tetrit montecarlo`: network, crossbar, corners, times; checked before any work begins."""

__all__ = ["Corner", "MonteCarloConfig", "load_config"]

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from tetrit import checks, hardware, hls, noise
from tetrit.errors import InvalidValueError, UnknownNameError
from tetrit.hardware import Crossbar
from tetrit.sim.crossbar.fault_maps import FaultFile, read_fault_file
from tetrit.train import mlp
from tetrit.train.recipe import (
    EstimatorChoice,
    NoiseAwareConfig,
    Split,
    check_crossbar,
    machine_source,
    noise_aware_of,
    split_of,
    training_of,
)

CHIPS = 100
MOST_CHIPS = 1_000_000
TIMES_S = (0.0, 3600.0, 86400.0, 30 * 86400.0, 365 * 86400.0)
_SECTIONS = ("name", "seed", "yield_accuracy", "data", "network", "train", "crossbar", "corner")
_CROSSBAR = ("preset", "path", "changes", "chips", "seed", "calibration_images", "times_s", "noise_aware", "faults")


@dataclass(frozen=True, kw_only=True)
class Corner:
    """One variant of the machine.

    Attributes
    ----------
    name : str
    changes : dict
        What the configuration changes.
    machine : Crossbar
        With these changes.
    """

    name: str
    changes: dict[str, Any]
    machine: Crossbar

    @property
    def folder(self) -> str:
        """The name as the name of a folder."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")


@dataclass(frozen=True, kw_only=True, eq=False)
class MonteCarloConfig:
    """All that an analysis needs to know.

    Attributes
    ----------
    name : str
        Title.
    path : Path
        The file it comes from, for messages.
    seed : int
        Of the training.
    split : Split
        Of the images.
    training : mlp.Config or None
        Network and schedule; None where there is a checkpoint.
    estimator : EstimatorChoice or None
        Of the weights.
    noise_aware : NoiseAwareConfig or None
        Training on, on `machine`.
    checkpoint : Path or None
        A network that was trained elsewhere, see `tetrit.hls.read_checkpoint`.
    machine : Crossbar
        Without the corners' changes.
    corners : tuple of Corner
        The others are compared with the first.
    chips : int
        How many.
    first_seed : int
        Of the first chip; the others count on. A seed is the same chip in every corner.
    times_s : tuple of float
        From programming to reading, ascending.
    calibration_images : int
        Training images that the converters' ranges are set from.
    yield_accuracy : tuple of float
        A chip is good if its accuracy is at least this.
    faults : FaultFile or None
        Stuck cells of layers, the same on all chips and in all corners; those of other layers are drawn. Training does
        not know them.
    """

    name: str
    path: Path
    seed: int
    split: Split
    training: mlp.Config | None
    estimator: EstimatorChoice | None
    noise_aware: NoiseAwareConfig | None
    checkpoint: Path | None
    machine: Crossbar
    corners: tuple[Corner, ...]
    chips: int
    first_seed: int
    times_s: tuple[float, ...]
    calibration_images: int
    yield_accuracy: tuple[float, ...]
    faults: FaultFile | None = None

    def with_chips(self, chips: int) -> Self:
        """Return the same analysis of another number of chips."""
        return replace(self, chips=_chips(chips))

    def network_table(self) -> dict[str, Any]:
        """Return what the trained network depends on, as plain numbers, texts, lists and dicts."""
        table: dict[str, Any] = {"data": {"source": "digits", **vars(self.split)}}
        if self.training is None or self.estimator is None:
            assert self.checkpoint is not None
            table["network"] = {"checkpoint": self.checkpoint.name, "sha256": _digest(self.checkpoint)}
        else:
            table |= {
                "seed": self.seed,
                "train": vars(self.training),
                "estimator": {"name": self.estimator.name, **self.estimator.params},
            }
            if self.noise_aware is not None:
                table |= {"noise_aware": vars(self.noise_aware), "machine": hardware.to_dict(self.machine)}
        return _plain(table | {"calibration_images": self.calibration_images})

    def table(self) -> dict[str, Any]:
        """Return all fields but the path as plain numbers, texts, lists and dicts."""
        faults = self.faults
        stuck = {} if faults is None else {"faults": {"file": faults.path.name, "sha256": faults.sha256}}
        return _plain(
            {
                "name": self.name,
                **self.network_table(),
                "machine": hardware.to_dict(self.machine),
                "corner": [{"name": corner.name, "changes": corner.changes} for corner in self.corners],
                "chips": self.chips,
                "first_seed": self.first_seed,
                "times_s": self.times_s,
                "yield_accuracy": self.yield_accuracy,
                **stuck,
            }
        )


def _plain(table: dict[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(table))
    return plain


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InvalidValueError(f"cannot read checkpoint '{path}': {error.strerror or error}") from None


def _chips(value: Any) -> int:
    return checks.integer("chips", value, maximum=MOST_CHIPS)


def load_config(path: Path | str) -> MonteCarloConfig:
    """Read and check the configuration of an analysis.

    Parameters
    ----------
    path : path-like
        A TOML file; relative paths inside it start from its folder.

    Returns
    -------
    MonteCarloConfig

    Raises
    ------
    InvalidValueError
        The file cannot be read or is no TOML; a section, key or value is unknown, missing, of the wrong kind or out of
        range. The message names the file, and the section or the corner.
    """
    path = Path(path)
    table = checks.keys(str(path), checks.read_toml("configuration", path), _SECTIONS)
    split = split_of(str(path), table.get("data", {}))
    network = table.get("network", {})
    training = estimator = checkpoint = None
    if isinstance(network, Mapping) and "checkpoint" in network:
        checkpoint = path.parent / _checkpoint(path, network, table)
    else:
        training, estimator, _ = training_of(str(path), network, table.get("train", {}))
    where = f"{path}: [crossbar]"
    if "crossbar" not in table:
        raise InvalidValueError(f"{where}: the section is missing; it needs a `preset` or a `path`")
    given = checks.keys(where, table["crossbar"], _CROSSBAR)
    try:
        machine = hardware.load_crossbar(machine_source(given, path.parent))
        changes = given.get("changes", {})
        machine = hardware.changed(machine, changes, where=f"{where[:-1]}.changes]", folder=path.parent)
        hls.check_machine(machine)
        if estimator is not None:
            check_crossbar(machine, estimator)
        chips = _chips(given.get("chips", CHIPS))
        aware = given.get("noise_aware")
        if aware is not None:
            if checkpoint is not None:
                raise InvalidValueError("a checkpoint is trained already: leave out `noise_aware`")
            aware = noise_aware_of(f"{where[:-1]}.noise_aware]", aware)
        first = checks.integer("seed", given.get("seed", 0), minimum=0, maximum=noise.MAX_SEED - MOST_CHIPS)
        images = checks.integer("calibration_images", given.get("calibration_images", 256), maximum=2**31)
        faults = _faults(given["faults"], path.parent) if "faults" in given else None
        times = _ascending("times_s", given.get("times_s", list(TIMES_S)))
        where = str(path)
        name = table.get("name", path.stem)
        if not isinstance(name, str):
            raise TypeError(f"`name` must be a string, got {name!r}")
        seed = checks.integer("seed", table.get("seed", 0), minimum=0)
        wanted = _ascending("yield_accuracy", table.get("yield_accuracy", [0.9]))
        if wanted[-1] > 1:
            raise InvalidValueError(f"`yield_accuracy` must be at most 1, got {wanted[-1]:g}")
        corners = _corners(table.get("corner", [{"name": "nominal"}]), machine, path)
    except UnknownNameError as error:
        raise UnknownNameError(_begun(where, error)) from None
    except (TypeError, ValueError) as error:
        raise InvalidValueError(_begun(where, error)) from None
    return MonteCarloConfig(
        name=name,
        path=path,
        seed=seed,
        split=split,
        training=training,
        estimator=estimator,
        noise_aware=aware,
        checkpoint=checkpoint,
        machine=machine,
        corners=corners,
        chips=chips,
        first_seed=first,
        times_s=times,
        calibration_images=images,
        yield_accuracy=wanted,
        faults=faults,
    )


def _begun(where: str, error: Exception) -> str:
    """Return a message that says where, once."""
    text = str(error)
    return text if text.startswith(where.removesuffix("]")) else f"{where}: {text}"


def _checkpoint(path: Path, network: Mapping[str, Any], table: Mapping[str, Any]) -> str:
    where = f"{path}: [network]"
    found = checks.keys(where, network, ("checkpoint",))["checkpoint"]
    if not isinstance(found, str):
        raise InvalidValueError(f"{where}: `checkpoint` must be a string, got {found!r}")
    for key in ("train", "seed"):
        if key in table:
            raise InvalidValueError(f"{where}: a checkpoint is trained already: leave out `{key}`")
    return found


def _faults(given: Any, folder: Path) -> FaultFile:
    if not isinstance(given, str):
        raise TypeError(f"`faults` must be a string, got {given!r}")
    return read_fault_file(folder / given)


def _ascending(name: str, values: Any) -> tuple[float, ...]:
    if not isinstance(values, list) or not values:
        raise InvalidValueError(f"`{name}` must be a list with at least one number, got {values!r}")
    found = tuple(checks.real(name, value, minimum=0.0) for value in values)
    if list(found) != sorted(set(found)):
        raise InvalidValueError(f"`{name}` must ascend, got {values}")
    return found


def _corners(given: Any, machine: Crossbar, path: Path) -> tuple[Corner, ...]:
    if not isinstance(given, list) or not given:
        raise InvalidValueError("`corner` must be one or more tables [[corner]]")
    found: list[Corner] = []
    for place, table in enumerate(given, 1):
        name = table.get("name") if isinstance(table, Mapping) else None
        where = f"{path}: corner {place}" + (f" ('{name}')" if isinstance(name, str) else "")
        fields = checks.keys(where, table, ("name", "changes"))
        if not isinstance(name, str):
            raise InvalidValueError(f"{where}: `name` must be a string, got {name!r}")
        changes = fields.get("changes", {})
        changed = hardware.changed(machine, changes, where=where, folder=path.parent)
        for field in ("weight_format", "act_format", "time_s", "ramp"):
            if getattr(changed, field) != getattr(machine, field):
                raise InvalidValueError(f"{where}: `{field}` must be the same in all corners")
        corner = Corner(name=name, changes=dict(changes), machine=changed)
        if not corner.folder:
            raise InvalidValueError(f"{where}: `name` must have a letter or a digit")
        if any(corner.folder == other.folder for other in found):
            raise InvalidValueError(f"{where}: another corner has the same name, or one that differs in signs only")
        found.append(corner)
    return tuple(found)
