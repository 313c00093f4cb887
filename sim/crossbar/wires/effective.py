"""What a crossbar with wire resistance multiplies by: its effective conductances, exactly."""

__all__ = ["effective_conductance", "free_bytes"]

import functools
import math
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.sim.crossbar.wires._dissection import Network, transfer, work_bytes
from tetrit.sim.crossbar.wires.checked import checked_array, checked_resistances
from tetrit.sim.crossbar.wires.lumped import Wiring, lumped_conductance

Floats = npt.NDArray[np.float64]

_LEAST, _MOST = 1e-100, 1e100
"""Wire resistance times largest conductance: below the first, a wire is perfect in every digit; beyond the second, its
weights would leave the range of float64."""

_SMALL = 256
"""Cells that are solved at once: in hardly any memory, and in too little time for BLAS to think of its threads."""


def effective_conductance(
    g_siemens: npt.ArrayLike,
    r_row_ohm: float,
    r_col_ohm: float,
    r_driver_ohm: float = 0.0,
    r_sense_ohm: float = 0.0,
    *,
    drive: str = "one_sided",
    method: str = "exact",
) -> Floats:
    """Return the matrix that a crossbar with resistive wires multiplies by.

    Row i is driven at its column-0 end, column j is sensed at a virtual ground past its last row. The column currents
    are ``v_rows @ result`` for any row voltages, so one call serves all input vectors.

    Exact unless told otherwise: every entry is right to about 1e-14 of itself (up to 1024 x 1024), however small it is,
    for any mix of conductances and resistances, zeros among them. The number of BLAS threads changes no more than
    rounding, and with threadpoolctl installed, which keeps BLAS to one, no number of threads changes a bit.

    Parameters
    ----------
    g_siemens : array_like, shape (rows, cols)
        Conductances of the cells; 0 is an open cell.
    r_row_ohm : float
        Resistance of each row segment: driver to first cell, and cell to cell.
    r_col_ohm : float
        Resistance of each column segment: cell to cell, and last cell to sense amplifier.
    r_driver_ohm, r_sense_ohm : float
        In series with each row's driver and each column's sense amplifier.
    drive : {"one_sided", "two_sided"}
        Two-sided: the same voltage drives a row's other end too, through another driver and another row segment.
    method : {"exact", "lumped"}
        Lumped: approximately, in time proportional to the cells; see Notes for its error.

    Returns
    -------
    array of float64, shape (rows, cols)
        In siemens: current sensed at column j for 1 V on row i and 0 V on the others.

    Raises
    ------
    TypeError
        A resistance is no number, `g_siemens` no array of real numbers.
    InvalidValueError
        A conductance is negative or not finite, or a resistance is; the array is empty or has not two dimensions; a
        resistance is above 1e100 over the largest conductance; or the memory at hand would not suffice. The error names
        what, and where.

    Notes
    -----
    Direct, by nested dissection: blocks of cells are reduced to the nodes on their border, and neighbours joined by
    eliminating the nodes between them (Schur complements), about 40 n^3 operations for n x n cells, nearly all of them
    in BLAS. The star-mesh transform adds, multiplies and divides numbers that are never negative, and takes no
    difference (the idea of Grassmann, Taksar and Heyman, Operations Research 33 (1985) 1107, for Markov chains), which
    is why small entries keep their digits.

    ``lumped`` solves each line as a ladder that its own cells load, and corrects what comes of it by the ratio of exact
    to ladder solution on a grid of at most 16 x 16, where cells are lumped together; up to that size it is exact. Sums
    over the array are right to 6 % of the square of the share that wires take, and results for random voltages to a
    third of that square (0.3 % where they take 10 %, measured on bell-shaped weights; 2 % at 30 %). Single small cells
    between large ones can be far off. The construction is **our own**.

    All resistances are finite, so that no line floats; a column without conductance senses nothing.

    Examples
    --------
    One cell in series with its wires, driver and sense amplifier:

    >>> effective_conductance([[1e-3]], 10.0, 20.0, r_driver_ohm=100.0, r_sense_ohm=50.0)
    array([[0.00084746]])
    >>> 1 / (1e3 + 10 + 20 + 100 + 50)
    0.000847457627118644

    Far from driver and sense amplifier, less is left of equal cells:

    >>> effective_conductance([[25e-6] * 3] * 2, 100.0, 100.0).round(8)
    array([[2.463e-05, 2.451e-05, 2.445e-05],
           [2.469e-05, 2.457e-05, 2.451e-05]])
    """
    g = checked_array("g_siemens", g_siemens, negative=False)
    r_row, r_col, r_driver, r_sense = checked_resistances(g.shape, r_row_ohm, r_col_ohm, r_driver_ohm, r_sense_ohm)
    checks.choice("drive", drive, ("one_sided", "two_sided"))
    checks.choice("method", method, ("exact", "lumped"))
    largest = float(g.max())
    if largest == 0.0 or max(r_row, r_col, r_driver, r_sense) == 0.0:
        return g.copy()
    for name, ohm in (("row", r_row), ("col", r_col), ("driver", r_driver), ("sense", r_sense)):
        if not ohm * largest <= _MOST:
            raise InvalidValueError(
                f"`r_{name}_ohm` must be at most {_MOST:g} over the largest conductance, {largest:g} S, got {ohm:g} ohm"
            )
    wiring = Wiring(r_row=r_row, r_col=r_col, r_driver=r_driver, r_sense=r_sense, two_sided=drive == "two_sided")
    return _exact(g, wiring) if method == "exact" else lumped_conductance(g, wiring, _exact)


def _exact(g: Floats, wiring: Wiring) -> Floats:
    largest = float(g.max())
    unit = math.ldexp(1.0, math.frexp(largest)[1])  # a power of two: scaling by it loses nothing

    def weight(ohm: float, before: float = 0.0) -> float:
        return 0.0 if ohm * largest < _LEAST else 1.0 / ((before + ohm) * unit)

    w_row, w_col = weight(wiring.r_row), weight(wiring.r_col)
    w_driver, w_sense = weight(wiring.r_driver, wiring.r_row), weight(wiring.r_sense, wiring.r_col)
    if wiring.two_sided and not w_row:
        w_driver *= 2.0
    net = Network(
        g=g / unit,
        w_row=w_row,
        w_driver=w_driver or w_row,
        w_col=w_col,
        w_sense=w_sense or w_col,
        two_sided=wiring.two_sided,
    )
    if g.size <= _SMALL:
        return transfer(net, 1) * unit
    import numba

    threads = int(numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
    _check_memory(net, threads)
    blas = _blas()
    # blocks are spread over threads already, and threads of BLAS would spin
    with blas.limit(limits=1, user_api="blas") if blas else nullcontext():
        return transfer(net, threads) * unit


@functools.cache
def _blas() -> Any:
    """Return the control of BLAS's threads, if threadpoolctl is installed."""
    try:
        from threadpoolctl import ThreadpoolController
    except ModuleNotFoundError:
        return None
    return ThreadpoolController()


def _check_memory(net: Network, threads: int) -> None:
    """Raise an error if the solution would not fit into the memory that is free."""
    free, needed = free_bytes(), work_bytes(net, threads)
    if free is None or needed <= free:
        return
    n_rows, n_cols = net.g.shape
    low, high = 0.0, 1.0
    for _ in range(12):
        middle = (low + high) / 2
        shape = max(1, int(n_rows * middle)), max(1, int(n_cols * middle))
        part = Network(**(vars(net) | {"g": np.broadcast_to(0.0, shape)}))
        low, high = (middle, high) if work_bytes(part, threads) <= free else (low, middle)
    raise InvalidValueError(
        f"the wires of {n_rows} x {n_cols} cells need about {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB "
        f"are free; {max(1, int(n_rows * low))} x {max(1, int(n_cols * low))} would fit"
    )


def free_bytes() -> int | None:
    """Return how much memory can be had, of the machine or of the container; None if nobody says."""
    found = []
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                found.append(1024 * int(line.split()[1]))
    except OSError:
        pass
    try:
        group = Path("/sys/fs/cgroup")
        limit, used = ((group / f"memory.{name}").read_text(encoding="ascii").strip() for name in ("max", "current"))
        if limit != "max":
            found.append(int(limit) - int(used))
    except OSError:
        pass
    if not found and hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(found) if found else None
