"""How fields of configurations are read that several kinds of run have."""

__all__ = ["listed", "seeds_of", "string"]

from typing import Any

from tetrit import checks
from tetrit.errors import InvalidValueError


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
