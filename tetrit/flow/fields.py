"""What the configurations of several kinds of run have in common, and how it is read."""

__all__ = ["AnyRunConfig", "cells_of", "listed", "seeds_of", "string"]

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.train import mlp


@dataclass(frozen=True, kw_only=True, eq=False)
class AnyRunConfig:
    """What every run needs to know.

    Attributes
    ----------
    name : str
        Title of the report.
    seeds : tuple of int
        One training each; the first one is mapped, verified and priced.
    held_out : float
        Share of the images that is held out.
    split_seed : int
        Seed of the split.
    training : mlp.Config
        Network and schedule.
    verify_images : int
        How many held-out images run on the RTL; 0 for none.
    library : str
        Embedded cell library.
    liberty : Path or None
        A liberty file to use instead.
    table : dict
        The file as it was.
    """

    name: str
    seeds: tuple[int, ...]
    held_out: float
    split_seed: int
    training: mlp.Config
    verify_images: int
    library: str
    liberty: Path | None
    table: dict[str, Any]


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
