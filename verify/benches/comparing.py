"""The authority for the verdict on rows of outputs, whichever bench sampled them."""

__all__ = ["compare_rows", "ports"]

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Arrays = Mapping[str, npt.NDArray[Any]]


def ports(arrays: Arrays, prefix: str) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays whose names begin with `prefix`, by the rest of their names."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def compare_rows(
    inputs: Arrays, expected: Arrays, checked: Arrays, seen: Arrays
) -> tuple[dict[str, npt.NDArray[Any]], list[str]]:
    """Compare sampled with expected outputs.

    Parameters
    ----------
    inputs, expected, seen : mapping of str to ndarray of int, shape (rows,)
        Values of each port.
    checked : mapping of str to ndarray of bool, shape (rows,)
        In which rows an output counts; all, for ports not named.

    Returns
    -------
    dict of str to ndarray
        ``out_PORT``, what was seen; ``wrong``, whether a row has a difference.
    list of str
        The first three differences of each port in words.
    """
    rows = len(next(iter(expected.values())))
    wrong = np.zeros(rows, dtype=bool)
    messages = []
    for port, values in expected.items():
        bad = (seen[port] != values) & checked.get(port, np.True_)
        wrong |= bad
        for row in np.flatnonzero(bad)[:3]:
            given = ", ".join(f"{name}={array[row]}" for name, array in inputs.items())
            messages.append(f"row {row} ({given}): {port} is {seen[port][row]}, expected {values[row]}")
    return {**{f"out_{port}": seen[port] for port in expected}, "wrong": wrong}, messages
