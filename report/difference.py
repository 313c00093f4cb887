"""Two reports beside each other: every figure and setting in which they differ."""

__all__ = ["GROUPS", "Difference", "differences"]

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_APART = ("timings", "platform")
"""Blocks that say where and when a run took place; a difference there is none of the result."""
_NAMES = ("name", "id", "component", "testbench", "estimator")
"""Keys that tell the entries of a list apart, the first that all of them have."""
GROUPS = ("configuration", "summary", "details", "samples")
"""What differences are of, in the order of `differences`: settings, the figures that a summary shows, other figures,
single values of curves and counts."""
_SETTINGS = ("name", "config", "machine", "seeds", "images", "clock_mhz", "tetrit", "crossbar.machine")
_SUMMARY = (
    "accuracy.machine",
    "accuracy.quantized",
    "accuracy.float",
    "cycles_per_image",
    "cycles",
    "latency_us",
    "energy_per_image_nj",
    "energy_uj.total",
    "area_mm2.total",
    "verify.mismatches",
    "verify.vectors",
    "crossbar.energy_per_image_nj",
    "crossbar.cycles_per_image",
    "crossbar.latency_us",
)
_MANY = frozenset(("history", "events", "words", "per_chip", "per_seed", "map", "cells", "modules", "critical_path"))
"""Keys of lists and tables whose entries are samples."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One place in which two reports differ.

    Attributes
    ----------
    place : str
        Keys from the top on, joined by dots; an entry of a list by its name, or else by its number.
    before, after : object
        Its content, None where there is none; a whole block where only one of the reports has it.
    """

    place: str
    before: Any
    after: Any

    @property
    def ratio(self) -> float | None:
        """`after` over `before`; None unless both are numbers and `before` is not 0."""
        numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in (self.before, self.after))
        return self.after / self.before if numbers and self.before else None

    @property
    def group(self) -> str:
        """Which of `GROUPS` the place belongs to."""
        if any(self.place == top or self.place.startswith(f"{top}.") for top in _SETTINGS):
            return "configuration"
        if self.place in _SUMMARY:
            return "summary"
        return "samples" if _MANY.intersection(self.place.split(".")) else "details"

    @property
    def change(self) -> str:
        """The change in words: per cent, times as much beyond a factor of 2, or what was added, removed or replaced."""
        ratio = self.ratio
        if ratio is None:
            both = self.before is not None and self.after is not None
            return "other" if both else "new" if self.before is None else "gone"
        if 0.5 <= ratio <= 2:
            return f"{100 * (ratio - 1):+.3g} %"
        return f"x {ratio:.3g}"


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """Return all places in which two reports differ, sorted by relevance.

    Settings come first, then the figures of the summary, then all others, the greatest relative change first (what is
    new, gone or no number before those), and single values of curves and counts last. Times, and the machine that a run
    took place on, are left out.

    Parameters
    ----------
    before, after : mapping
        See ``schema/report-v2.json``.

    Returns
    -------
    list of Difference
        Empty if the results are the same to the last bit.
    """
    one, other = ({key: value for key, value in report.items() if key not in _APART} for report in (before, after))
    found = list(_compare("", one, other))
    return sorted(found, key=_rank)


def _rank(each: Difference) -> tuple[int, float]:
    """Return where a difference comes: by its group, and in it as `differences` says; equal ones keep their order."""
    group = GROUPS.index(each.group)
    if each.group == "configuration":
        return group, 0.0
    if each.group == "summary":
        return group, float(_SUMMARY.index(each.place))
    ratio = each.ratio
    return group, -abs(math.log(ratio)) if ratio is not None and ratio > 0 else -math.inf


def _compare(place: str, before: Any, after: Any) -> Iterator[Difference]:
    """Yield the differences of two contents of one place: of two collections entry by entry, else as a whole."""
    pair = (before, after)
    if all(isinstance(each, Mapping) for each in pair):
        one, other = before, after
    elif all(isinstance(each, list) for each in pair):
        key = next((key for key in _NAMES if all(_named(each, key) for each in pair)), None)
        one, other = ({entry[key] if key else str(n): entry for n, entry in enumerate(each)} for each in pair)
    else:
        if before != after:
            yield Difference(place=place, before=before, after=after)
        return
    for label in dict.fromkeys((*one, *other)):
        yield from _compare(f"{place}.{label}" if place else label, one.get(label), other.get(label))


def _named(entries: list[Any], key: str) -> bool:
    """Return whether all entries of a list have texts at `key`, all different."""
    names = [entry.get(key) if isinstance(entry, Mapping) else None for entry in entries]
    return all(isinstance(name, str) for name in names) and len(set(names)) == len(names)
