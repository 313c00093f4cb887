"""Column currents of cells whose current is a hyperbolic sine of their voltage, with the resistance of the wires."""

__all__ = ["nonlinear_currents"]

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.hardware.device import MOST_BENT
from tetrit.sim.crossbar.wires.checked import checked_array, checked_resistances

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

_LEAST_DAMPING = 2.0**-20


def nonlinear_currents(
    g_siemens: npt.ArrayLike,
    v_rows: npt.ArrayLike,
    sinh_volt: float,
    r_row_ohm: float = 0.0,
    r_col_ohm: float = 0.0,
    r_driver_ohm: float = 0.0,
    r_sense_ohm: float = 0.0,
    *,
    drive: str = "one_sided",
    tolerance: float = 1e-9,
    max_iterations: int = 100,
) -> Floats:
    """Return the column currents of an array of cells with ``I = g v0 sinh(V / v0)``.

    Without wire resistance this is a closed form. With it, Newton's method solves Kirchhoff's law at every node, for
    each input vector anew; it converges quadratically, so that after a last step of 1e-9 of the voltage only rounding
    is left. Wires, drivers and sense amplifiers are those of `effective_conductance`.

    Parameters
    ----------
    g_siemens : array_like, shape (rows, cols)
        Conductances of the cells at small voltage.
    v_rows : array_like, shape (batch, rows)
        Row voltages in volts.
    sinh_volt : float
        v0 of the cells.
    r_row_ohm, r_col_ohm, r_driver_ohm, r_sense_ohm, drive
        See `effective_conductance`.
    tolerance : float
        A step no larger than this times the largest voltage is the last one.
    max_iterations : int
        Most steps for an input vector.

    Returns
    -------
    array of float64, shape (batch, cols)
        In amperes, into the virtual grounds.

    Raises
    ------
    TypeError
        An argument is of the wrong kind.
    InvalidValueError
        An argument is out of range, shapes do not fit, or the iteration did not converge; the error names the vector.

    Notes
    -----
    Steps are halved until the next one, with the same Jacobian, would be shorter (the natural monotonicity test:
    Deuflhard, Newton Methods for Nonlinear Problems, Springer 2004, section 3.3). The column current is the sum of the
    cells' currents. Wire currents are unknowns beside the voltages (modified nodal analysis: Ho, Ruehli and Brennan,
    IEEE Transactions on Circuits and Systems 22 (1975) 504), so that short wires cost no digits.

    Examples
    --------
    >>> g = [[1e-4, 2e-4]]
    >>> nonlinear_currents(g, [[0.2]], sinh_volt=0.2)
    array([[2.35040239e-05, 4.70080477e-05]])
    >>> nonlinear_currents(g, [[0.2]], sinh_volt=0.2, r_row_ohm=1000.0)
    array([[1.71576521e-05, 2.73959819e-05]])
    """
    g = checked_array("g_siemens", g_siemens, negative=False)
    v = checked_array("v_rows", v_rows, negative=True)
    if v.shape[1] != len(g):
        raise InvalidValueError(f"`v_rows` must have {len(g)} columns, one for each row of cells, got shape {v.shape}")
    v0 = checks.real("sinh_volt", sinh_volt, minimum=0.0, exclusive=True)
    resistances = checked_resistances(g.shape, r_row_ohm, r_col_ohm, r_driver_ohm, r_sense_ohm)
    checks.choice("drive", drive, ("one_sided", "two_sided"))
    limit = checks.real("tolerance", tolerance, minimum=0.0, exclusive=True)
    most = checks.integer("max_iterations", max_iterations)
    largest = float(np.abs(v).max())
    if largest > MOST_BENT * v0:
        raise InvalidValueError(
            f"`v_rows` must be at most {MOST_BENT:g} times `sinh_volt`, {v0:g} V, got {largest:g} V"
        )
    if max(resistances) == 0.0:
        return np.asarray(v0 * np.sinh(v / v0) @ g)
    net = _network(g, *resistances, drive == "two_sided")
    guess = _factored(net, net.g)
    currents = np.empty((len(v), g.shape[1]))
    for k, sources in enumerate(v):
        start = guess.solve(net.driven @ sources)
        found, steps = _newton(net, sources, v0, start, limit * float(np.abs(sources).max()), most)
        if found is None:
            raise InvalidValueError(
                f"vector {k} did not converge in {len(steps)} of at most {most} steps; the last was {steps[-1]:.3g} V"
            )
        currents[k] = net.unit * _currents(net, v0, found).reshape(g.shape).sum(axis=0)
    return currents


class _Net(NamedTuple):
    """The laws for x, voltages of nodes and currents of wires: ``fixed x + cells' I(cells x) = driven v``.

    Currents are unknown too, so that no small difference of voltages is divided by the resistance of a short wire, and
    a perfect wire is nothing special. They are in units of `unit`, the largest conductance, as `g` is.
    """

    unit: float
    g: Floats
    n_nodes: int
    fixed: Any
    cells: Any
    driven: Any


def _network(g: Floats, r_row: float, r_col: float, r_driver: float, r_sense: float, two_sided: bool) -> _Net:
    """Write down the sparse matrices: nodes are row ends of the cells, then column ends, then come the wires."""
    from scipy import sparse

    rows, cols = g.shape
    unit = float(g.max()) or 1.0
    row_nodes = np.arange(g.size).reshape(g.shape)
    col_nodes = g.size + row_nodes
    nowhere = -1  # a source or a virtual ground
    wires: list[tuple[Indices, Indices, float]] = [
        (np.full(rows, nowhere), row_nodes[:, 0], r_row + r_driver),
        (row_nodes[:, :-1].ravel(), row_nodes[:, 1:].ravel(), r_row),
        (col_nodes[:-1].ravel(), col_nodes[1:].ravel(), r_col),
        (col_nodes[-1], np.full(cols, nowhere), r_col + r_sense),
    ]
    # the far drivers come last; where rows are perfect, they add nothing to the near ones but an undetermined share
    if two_sided and r_row + r_driver > 0:
        wires.append((np.full(rows, nowhere), row_nodes[:, -1], r_row + r_driver))
    starts, ends = (np.concatenate([wire[k] for wire in wires]) for k in (0, 1))
    ohms = np.concatenate([np.full(len(start), ohm * unit) for start, _, ohm in wires])
    n_nodes, n_wires = 2 * g.size, len(ohms)
    number = np.arange(n_wires)
    incidence = _placed(number[starts >= 0], starts[starts >= 0], n_wires, n_nodes)
    incidence = incidence - _placed(number[ends >= 0], ends[ends >= 0], n_wires, n_nodes)
    fixed = sparse.block_array([[None, incidence.T], [incidence, -sparse.diags_array(ohms)]], format="csc")
    i = np.arange(rows)
    n = n_nodes + n_wires
    driven = -_placed(n_nodes + i, i, n, rows)
    if n_wires > 2 * g.size:
        driven = driven - _placed(n - rows + i, i, n, rows)
    cells = _placed(row_nodes.ravel(), row_nodes.ravel(), g.size, n)
    return _Net(
        unit, g.ravel() / unit, n_nodes, fixed, cells - _placed(row_nodes.ravel(), col_nodes.ravel(), g.size, n), driven
    )


def _placed(i: Indices, j: Indices, n_rows: int, n_cols: int) -> Any:
    """Return a sparse matrix with ones at (i, j)."""
    from scipy import sparse

    return sparse.csr_array((np.ones(len(i)), (i, j)), shape=(n_rows, n_cols))


def _currents(net: _Net, v0: float, x: Floats) -> Floats:
    return np.asarray(net.g * v0 * np.sinh(net.cells @ x / v0))


def _factored(net: _Net, slope: Floats) -> Any:
    """Factor the Jacobian for cells of conductance `slope`."""
    from scipy.sparse.linalg import splu

    return splu((net.fixed + net.cells.T @ net.cells.multiply(slope[:, None])).tocsc())


def _newton(
    net: _Net, sources: Floats, v0: float, start: Floats, limit: float, max_iterations: int
) -> tuple[Floats | None, list[float]]:
    """Return voltages and currents, or None if they were not found, and the largest voltage in every step."""
    driven = net.driven @ sources

    def residual(x: Floats) -> Floats:
        return np.asarray(net.fixed @ x - driven + net.cells.T @ _currents(net, v0, x))

    def length(step: Floats) -> float:
        return float(np.abs(step[: net.n_nodes]).max())

    x, steps = start, []
    for _ in range(max_iterations):
        factors = _factored(net, net.g * np.cosh(net.cells @ x / v0))
        step = -factors.solve(residual(x))
        steps.append(length(step))
        if steps[-1] <= limit:
            return x + step, steps
        damping = 1.0
        while damping >= _LEAST_DAMPING:
            with np.errstate(over="ignore", invalid="ignore"):
                following = factors.solve(residual(x + damping * step))
            if length(following) <= (1.0 - damping / 4.0) * steps[-1]:
                break
            damping /= 2.0
        else:
            return None, steps
        x = x + damping * step
    return None, steps
