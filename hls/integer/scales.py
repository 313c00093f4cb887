"""Scales of activations: the authority for how a calibration and what a network states become formats and scales."""

__all__ = ["choose_scales", "largest"]

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit import checks, formats
from tetrit.errors import InvalidValueError
from tetrit.hls.graph import Graph
from tetrit.hls.integer.lowering import Given, Lowered

_HEADROOM = 2.0
"""Results wider than activations reach this many times the largest of the calibration, to leave room for the unseen."""


def choose_scales(
    lowered: Lowered,
    calibration: Any,
    *,
    act_format: str,
    out_format: str,
    percentile: float,
    equal_branches: bool,
) -> dict[str, Given]:
    """Return the quantisation of every value.

    Values that are tied have one. A result of the network that nothing else uses has `out_format`, with room for twice
    the largest of the calibration if that is wider than `act_format`. All else reaches its percentile of the
    calibration at the greatest integer.
    """
    ties, used = lowered.ties, {name for step in lowered.steps for name in step.inputs}
    if equal_branches:
        for step in lowered.steps:
            if step.kind == "sum":
                free = [name for name in step.inputs if ties.given(name) is None]
                if len(free) > 1:
                    ties.tie(*free)
    values = [*lowered.inputs, *(step.output for step in lowered.steps)]
    members: dict[str, list[str]] = {}
    for name in values:
        members.setdefault(ties.find(name), []).append(name)
    unknown = [name for group in members.values() if ties.given(group[0]) is None for name in group]
    reach = _reaches(lowered, unknown, calibration, percentile)
    results = set(lowered.outputs.values())
    room = _HEADROOM if _bits(out_format) > _bits(act_format) else 1.0
    chosen: dict[str, Given] = {}
    for group in members.values():
        given = ties.given(group[0])
        if given is None:
            result = len(group) == 1 and group[0] in results - used - set(lowered.inputs)
            found = max(reach[name] for name in group)
            given = _fitted(found * room, out_format) if result else _fitted(found, act_format)
        chosen.update(dict.fromkeys(group, given))
    return chosen


def _fitted(reach: float, name: str) -> Given:
    high = 2 ** (_bits(name) - 1) - 1
    return Given(scale=(reach if reach > 0 else 1.0) / high, format=name, low=-high - 1, high=high)


def _bits(name: str) -> int:
    return int(name.removeprefix("int"))


def _reaches(lowered: Lowered, values: Sequence[str], calibration: Any, percentile: float) -> dict[str, float]:
    if not values:
        return {}
    if calibration is None:
        names = ", ".join(f"'{name}'" for name in values[:5])
        more = f" and {len(values) - 5} more" if len(values) > 5 else ""
        raise InvalidValueError(
            f"`calibration` is needed for the scales of {names}{more}, which the network leaves open"
        )
    sources = sorted({lowered.source[name] for name in values})
    found = largest(lowered.graph, calibration, sources, percentile)
    return {name: found[lowered.source[name]] for name in values}


def largest(graph: Graph, calibration: Any, names: Sequence[str], percentile: float = 100.0) -> dict[str, float]:
    """Return the percentile of the magnitudes of values over a calibration.

    Parameters
    ----------
    graph : Graph
        Whose inputs have the batch first.
    calibration : array_like, or mapping of str to array_like
        Inputs, as many as there are; they run in batches of the graph, the last one filled up with the first inputs.
    names : sequence of str
        Values of the graph.
    percentile : float, default 100
        Above 0; 100 is the largest magnitude.

    Returns
    -------
    dict of str to float
    """
    checks.real("percentile", percentile, minimum=0.0, exclusive=True)
    if percentile > 100:
        raise InvalidValueError(f"`percentile` must be at most 100, got {percentile:g}")
    arrays, n = _inputs(graph, calibration)
    probe = replace(graph, outputs=tuple(names))
    kept: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in names}
    batch = graph.inputs[0].shape[0]
    for start in range(0, n, batch):
        rows = np.arange(start, start + batch) % n
        real = min(batch, n - start)
        found = probe.run({name: array[rows] for name, array in arrays.items()})
        for name in names:
            sizes = np.abs(found[name][:real]).astype(np.float64)
            if not np.isfinite(sizes).all():
                raise InvalidValueError(f"`calibration` must give finite values, got {sizes.max()} in '{name}'")
            kept[name].append(sizes.ravel() if percentile < 100 else sizes.max(initial=0.0, keepdims=True).ravel())
    return {
        name: float(np.percentile(np.concatenate(parts), percentile) if percentile < 100 else np.max(parts))
        for name, parts in kept.items()
    }


def _inputs(graph: Graph, calibration: Any) -> tuple[dict[str, npt.NDArray[Any]], int]:
    if not isinstance(calibration, Mapping):
        if len(graph.inputs) != 1:
            names = ", ".join(value.name for value in graph.inputs)
            raise InvalidValueError(f"`calibration` must be a mapping with one array for each of {names}")
        calibration = {graph.inputs[0].name: calibration}
    arrays = {}
    for value in graph.inputs:
        if value.name not in calibration:
            raise InvalidValueError(f"`calibration` lacks the input '{value.name}'")
        array = np.asarray(calibration[value.name])
        if array.dtype.kind not in "iuf":
            raise TypeError(f"`calibration` of '{value.name}' must be numbers, got {array.dtype}")
        if array.shape[1:] != value.shape[1:] or len(array) == 0:
            shape = ", ".join(["n", *(str(size) for size in value.shape[1:])])
            raise InvalidValueError(f"`calibration` of '{value.name}' must have shape ({shape}), got {array.shape}")
        checks.finite("calibration", array)
        arrays[value.name] = array.astype(value.dtype)
    counts = {len(array) for array in arrays.values()}
    if len(counts) != 1:
        raise InvalidValueError(f"`calibration` must have as many of every input, got {sorted(counts)}")
    return arrays, counts.pop()


def check_formats(act_format: str, out_format: str) -> None:
    """Raise an error unless activations and results may have these formats."""
    checks.choice("act_format", act_format, [f"int{bits}" for bits in range(2, 17)])
    checks.choice("out_format", out_format, [f"int{bits}" for bits in range(2, 64)])
    formats.get(act_format)
