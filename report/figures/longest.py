"""Which layers a figure shows: all of a small network; of a deep one those that take longest, the others together."""

__all__ = ["SHOWN", "fold_layers", "longest"]

import math
from collections.abc import Mapping, Sequence
from typing import Any

SHOWN = 20
"""Rows of layers in a figure at most."""

_Layers = Sequence[Mapping[str, Any]]


def longest(layers: _Layers) -> list[int]:
    """Return the places of the layers that get a row of their own, in the order of the network."""
    places = range(len(layers))
    if len(layers) <= SHOWN:
        return list(places)
    return sorted(sorted(places, key=lambda place: (-layers[place]["cycles"], place))[: SHOWN - 1])


def fold_layers(layers: _Layers, kept: Sequence[int]) -> list[Mapping[str, Any]]:
    """Return the layers at the places `kept`, and the others added up as one more.

    Parameters
    ----------
    layers : sequence of mapping
        With ``name``, ``cycles``, ``utilization`` and ``bound``; ``ideal_cycles``, and ``energy_pj`` with
        ``breakdown``, are added up if all have them.
    kept : sequence of int
        From `longest`, of these layers or of those of another machine.

    Returns
    -------
    list of mapping
        At most `SHOWN`.
    """
    rest = [layer for place, layer in enumerate(layers) if place not in set(kept)]
    shown = [layers[place] for place in kept]
    if not rest:
        return shown
    cycles = sum(layer["cycles"] for layer in rest)
    other: dict[str, Any] = {"name": f"{len(rest)} other layers", "cycles": cycles, "bound": "several"}
    other["utilization"] = math.fsum(layer["utilization"] * layer["cycles"] for layer in rest) / cycles
    if all("ideal_cycles" in layer for layer in rest):
        other["ideal_cycles"] = math.fsum(layer["ideal_cycles"] for layer in rest)
    if all("breakdown" in layer for layer in rest):
        parts = sorted({part for layer in rest for part in layer["breakdown"]})
        other["breakdown"] = {part: math.fsum(layer["breakdown"].get(part, 0.0) for layer in rest) for part in parts}
        other["energy_pj"] = math.fsum(layer["energy_pj"] for layer in rest)
    return [*shown, other]
