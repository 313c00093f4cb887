"""Weights of integer networks: the authority for which estimator quantises them, and how their codes are arranged."""

__all__ = ["WeightFormat", "arranged", "quantized", "weight_formats"]

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tetrit import checks, estimators, formats
from tetrit.errors import InvalidValueError
from tetrit.estimators import Estimator
from tetrit.hls.integer.lowering import Weights

WeightFormat: TypeAlias = str | Estimator
"""Name of a format, or an estimator that gives codes."""


def weight_formats(wanted: WeightFormat | Mapping[str, WeightFormat], names: Sequence[str]) -> dict[str, Estimator]:
    """Return the estimator of every product, by the name of its node.

    Parameters
    ----------
    wanted : str, Estimator, or mapping of str to either
        Of all products; or by patterns, in which ``*`` stands for anything: the first one that fits a name counts.
    names : sequence of str
        Of the nodes.

    Raises
    ------
    TypeError, InvalidValueError
        If something is no format or estimator, a pattern fits no node or comes too late, or a node fits no pattern.
    """
    table = wanted if isinstance(wanted, Mapping) else {"*": wanted}
    made = {pattern: _estimator(pattern, value) for pattern, value in table.items()}
    found: dict[str, Estimator] = {}
    used = set()
    for name in names:
        pattern = next((p for p in made if fnmatchcase(name, p)), None)
        if pattern is None:
            raise InvalidValueError(f"`weight_format` has no pattern for node '{name}'")
        used.add(pattern)
        found[name] = made[pattern]
    if isinstance(wanted, Mapping) and (unused := [p for p in made if p not in used]):
        raise InvalidValueError(
            f"`weight_format` has the pattern '{unused[0]}', which is no product's: they are {', '.join(names)}"
        )
    return found


def _estimator(pattern: str, value: Any) -> Estimator:
    if isinstance(value, str):
        checks.choice("weight_format", value, formats.names())
        if value == "szt":
            return estimators.get("szt", axis=0)
        try:
            return estimators.get("ste_format", format=value, axis=0, power_of_two=False)
        except InvalidValueError:
            raise InvalidValueError(f"`weight_format` must have exact integers, got {value}") from None
    if not isinstance(value, Estimator):
        raise TypeError(f"`weight_format` must be the name of a format, or an Estimator, got {value!r} for '{pattern}'")
    if value.draws or value.value_shape((3, 5)) != (3, 5):
        raise InvalidValueError(f"`weight_format` must take float weights and draw nothing, got {value}")
    return _along(value, 0) if any(field.name == "axis" for field in fields(value)) else value


def _along(estimator: Any, axis: int | None) -> Any:
    return replace(estimator, axis=axis)


def quantized(weights: Weights, estimator: Estimator, *, one_scale: bool) -> tuple[npt.NDArray[Any], Any, str]:
    """Return codes in the shape of the weights, one scale an output, and their format."""
    if weights.codes is not None and weights.scale is not None and weights.format is not None:
        if one_scale and (weights.scale != weights.scale[0]).any():
            raise InvalidValueError(
                "an output as wide as the accumulator needs one weight scale, the network states several"
            )
        return weights.codes, weights.scale, weights.format
    if one_scale and getattr(estimator, "axis", None) is not None:
        estimator = _along(estimator, None)
    q = estimator(weights.values)
    n = len(weights.values)
    if q.block is not None or q.codes.shape != weights.values.shape or q.scale.size not in (1, n):
        raise InvalidValueError(
            f"`weight_format` must give codes with one scale, or one for each output, got {estimator}"
        )
    return q.codes, np.broadcast_to(q.scale.reshape(-1), (n,)).astype(np.float64), q.format


def arranged(codes: npt.NDArray[Any], groups: int) -> npt.NDArray[Any]:
    """Return codes (outputs, inputs[, kernel height, kernel width]) as a `Product` has them."""
    if codes.ndim == 2:
        return np.ascontiguousarray(codes.T)
    n, own, kh, kw = codes.shape
    split = codes.reshape(groups, n // groups, own, kh, kw).transpose(0, 3, 4, 2, 1)
    table = np.ascontiguousarray(split.reshape(groups, kh * kw * own, n // groups))
    return table if groups > 1 else table[0]
