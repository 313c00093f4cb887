"""Two reports beside each other: every figure and setting in which they differ."""

__all__ = ["Difference", "differences"]

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_APART = ("timings", "platform")
"""Blocks that say where and when a run took place; a difference there is none of the result."""
_NAMES = ("name", "id", "component", "testbench", "estimator")
"""Keys that tell the entries of a list apart, the first that all of them have."""
_FIRST = ("accuracy", "cycles", "latency_us", "energy_uj", "energy_per_image_nj", "area_mm2", "verify")


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One place in which two reports differ.

    Attributes
    ----------
    place : str
        Keys from the top on, joined by dots; an entry of a list by its name, or else by its number.
    before, after : object
        Its content, None where there is none.
    """

    place: str
    before: Any
    after: Any

    @property
    def ratio(self) -> float | None:
        """`after` over `before`; None unless both are numbers and `before` is not 0."""
        numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in (self.before, self.after))
        return self.after / self.before if numbers and self.before else None


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """Return all places in which two reports differ, those of the summary first.

    Times, and the machine that a run took place on, are left out.

    Parameters
    ----------
    before, after : mapping
        See ``schema/report-v2.json``.

    Returns
    -------
    list of Difference
        Empty if the results are the same to the last bit.
    """
    one, other = (dict(_leaves("", {k: v for k, v in x.items() if k not in _APART})) for x in (before, after))
    places = [*one, *(place for place in other if place not in one)]
    found = [
        Difference(place=place, before=one.get(place), after=other.get(place))
        for place in places
        if place not in one or place not in other or one[place] != other[place]
    ]
    return sorted(found, key=lambda each: _rank(each.place))


def _rank(place: str) -> int:
    top = place.partition(".")[0]
    return _FIRST.index(top) if top in _FIRST else len(_FIRST)


def _leaves(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield every number, text and empty collection with its place."""
    entries: list[tuple[str, Any]] = []
    if isinstance(value, Mapping):
        entries = list(value.items())
    elif isinstance(value, list):
        entries = list(zip(_labels(value), value, strict=True))
    if not entries:
        yield place, value
    for label, entry in entries:
        yield from _leaves(f"{place}.{label}" if place else label, entry)


def _labels(entries: list[Any]) -> list[str]:
    """Return the names of a list's entries if they have such and all are different, else their numbers."""
    for key in _NAMES:
        names = [entry.get(key) if isinstance(entry, Mapping) else None for entry in entries]
        if all(isinstance(name, str) for name in names) and len(set(names)) == len(names):
            return [str(name) for name in names]
    return [str(number) for number in range(len(entries))]
