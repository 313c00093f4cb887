"""What the configurations of several kinds of run have in common, and how it is read."""

__all__ = ["AnyRunConfig", "RunHead", "cells_of", "listed", "machine_of", "seeds_of", "string"]

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tetrit import checks, hardware
from tetrit.errors import InvalidValueError
from tetrit.hardware import Machine
from tetrit.sim.cost.memory import priced, unpriced
from tetrit.train import mlp
from tetrit.train.recipe import machine_source


@dataclass(frozen=True, kw_only=True, eq=False)
class RunHead:
    """What every run needs to know.

    Attributes
    ----------
    name : str
        Title of the report.
    seeds : tuple of int
        One training each; the first one goes to hardware.
    held_out : float
        Share of the images that is held out.
    split_seed : int
        Seed of the split.
    verify_images : int
        How many held-out images run on the RTL; 0 for none.
    table : dict
        The file as it was.
    """

    name: str
    seeds: tuple[int, ...]
    held_out: float
    split_seed: int
    verify_images: int
    table: dict[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class AnyRunConfig(RunHead):
    """What a run of a perceptron that is mapped, verified and priced needs to know.

    Attributes
    ----------
    training : mlp.Config
        Network and schedule.
    library : str
        Embedded cell library.
    liberty : Path or None
        A liberty file to use instead.
    others
        As of `RunHead`.
    """

    training: mlp.Config
    library: str
    liberty: Path | None


Target = TypeVar("Target", bound=Machine)


def machine_of(table: Mapping[str, Any], folder: Path, load: Callable[[str | Path], Target]) -> Target:
    """Return the machine of a section: `load` of its ``preset`` or ``path``, with its ``changes``.

    With ``memories = "model"`` its scratchpads have the prices of the model of SRAM instead of their own.
    """
    machine, changes = load(machine_source(table, folder)), table.get("changes", {})
    if not isinstance(changes, Mapping):
        raise TypeError(f"`changes` must be a table, got {changes!r}")
    change: Any = hardware.changed  # which is written for each kind of machine
    machine = change(machine, changes, folder=folder) if changes else machine
    if checks.choice("memories", table.get("memories", "machine"), ("machine", "model")) == "machine":
        return machine
    modelled: Target = priced(unpriced(machine))
    return modelled


def string(name: str, value: Any) -> str:
    """Return a string; anything else is a TypeError."""
    if not isinstance(value, str):
        raise TypeError(f"`{name}` must be a string, got {value!r}")
    return value


def listed(name: str, value: Any) -> list[Any]:
    """Return a list; anything else is a TypeError."""
    if not isinstance(value, list):
        raise TypeError(f"`{name}` must be a list, got {value!r}")
    return value


def seeds_of(value: Any) -> tuple[int, ...]:
    """Return one or more different seeds."""
    seeds = tuple(checks.integer("seeds", seed, minimum=0) for seed in listed("seeds", value))
    if not seeds or len(set(seeds)) < len(seeds):
        raise InvalidValueError(f"`seeds` must be one or more different integers, got {list(seeds)}")
    return seeds


def cells_of(table: Mapping[str, Any], folder: Path) -> tuple[str, Path | None]:
    """Return library and liberty file of a section ``[synthesis]``."""
    library = string("library", table.get("library", "sg13g2"))
    liberty = table.get("liberty")
    return library, None if liberty is None else folder / string("liberty", liberty)
