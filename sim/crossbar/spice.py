"""A crossbar as a SPICE netlist, for an independent answer; written for ngspice's batch mode."""

__all__ = ["netlist", "read_currents"]

import re

import numpy as np
import numpy.typing as npt

from tetrit import checks
from tetrit.errors import InvalidValueError, ToolError
from tetrit.sim.crossbar.wires.checked import checked_array, checked_resistances

_ANSWER = re.compile(r"^i\(vs(\d+)\) = (\S+)\s*$", re.MULTILINE)


def netlist(
    g_siemens: npt.ArrayLike,
    v_rows: npt.ArrayLike,
    r_row_ohm: float = 0.0,
    r_col_ohm: float = 0.0,
    r_driver_ohm: float = 0.0,
    r_sense_ohm: float = 0.0,
    *,
    drive: str = "one_sided",
    sinh_volt: float | None = None,
    title: str = "crossbar",
) -> str:
    """Return the netlist of an array of cells with its wires, drivers and virtual grounds.

    ``ngspice -b FILE`` computes the operating point for each row of `v_rows` and prints the column currents with 15
    digits; `read_currents` reads them. The text depends on the arguments only.

    Parameters
    ----------
    g_siemens : array_like, shape (rows, cols)
        Conductances of the cells; a cell of 0 is left out.
    v_rows : array_like, shape (batch, rows)
        Row voltages in volts.
    r_row_ohm, r_col_ohm, r_driver_ohm, r_sense_ohm, drive
        See `effective_conductance`. Nodes joined by a wire of no resistance are one node.
    sinh_volt : float, optional
        v0 of cells with ``I = g v0 sinh(V / v0)``, written as behavioural sources; by default cells are resistors.
    title : str
        First line of the netlist.

    Returns
    -------
    str
        Row i is driven by `vd<i>`; the current of column j flows through `vs<j>`.

    Raises
    ------
    TypeError
        An argument is of the wrong kind.
    InvalidValueError
        An argument is out of range, shapes do not fit, or the title has more than one line.

    Examples
    --------
    >>> print(netlist([[1e-4]], [[0.2]], r_row_ohm=5.0), end="")
    crossbar
    vd0 in0 0 0.2
    rr0_0 in0 r0_0 5.0
    rg0_0 r0_0 out0 10000.0
    vs0 out0 0 0
    .options reltol=1e-12 abstol=1e-21 vntol=1e-15 itl1=1000
    .control
    set numdgt=15
    op
    print i(vs0)
    quit
    .endc
    .end
    """
    g = checked_array("g_siemens", g_siemens, negative=False)
    v = checked_array("v_rows", v_rows, negative=True)
    if v.shape[1] != len(g):
        raise InvalidValueError(f"`v_rows` must have {len(g)} columns, one for each row of cells, got shape {v.shape}")
    r_row, r_col, r_driver, r_sense = checked_resistances(g.shape, r_row_ohm, r_col_ohm, r_driver_ohm, r_sense_ohm)
    checks.choice("drive", drive, ("one_sided", "two_sided"))
    v0 = None if sinh_volt is None else checks.real("sinh_volt", sinh_volt, minimum=0.0, exclusive=True)
    if len(title.splitlines()) != 1:
        raise InvalidValueError(f"`title` must be one line, got {title!r}")
    rows, cols = g.shape

    lines = [title, *(f"vd{i} in{i} 0 {value!r}" for i, value in enumerate(v[0].tolist()))]
    for i in range(rows):
        lines += _row(i, cols, r_row, r_driver, drive == "two_sided")
    row_node = "r{i}_{j}" if r_row else "r{i}" if r_driver else "in{i}"
    col_node = "c{i}_{j}" if r_col else "c{j}" if r_sense else "out{j}"
    for (i, j), value in np.ndenumerate(g):
        if value:
            ends = f"{row_node.format(i=i, j=j)} {col_node.format(i=i, j=j)}"
            if v0 is None:
                lines.append(f"rg{i}_{j} {ends} {1.0 / float(value)!r}")
            else:
                across = f"v({ends.replace(' ', ',')})"
                lines.append(f"bg{i}_{j} {ends} i={float(value) * v0!r}*sinh({across}/{v0!r})")
    for j in range(cols):
        lines += _column(j, rows, r_col, r_sense)
        lines.append(f"vs{j} out{j} 0 0")
    lines += [".options reltol=1e-12 abstol=1e-21 vntol=1e-15 itl1=1000", ".control", "set numdgt=15"]
    for k, row in enumerate(v.tolist()):
        if k:
            lines += [f"alter vd{i} = {value!r}" for i, value in enumerate(row)]
        lines += ["op", *(f"print i(vs{j})" for j in range(cols))]
    return "\n".join([*lines, "quit", ".endc", ".end", ""])


def _row(i: int, cols: int, r_row: float, r_driver: float, two_sided: bool) -> list[str]:
    """Return the resistors along a row: drivers and segments."""
    near = f"r{i}_0" if r_row else f"r{i}"
    far = f"r{i}_{cols - 1}" if r_row else f"r{i}"
    lines = []
    for end, mark in ((near, ""), (far, "z")) if two_sided else ((near, ""),):
        start = f"in{i}"
        if r_driver:
            inner = f"d{i}{mark}" if r_row else end
            lines.append(f"rd{i}{mark} {start} {inner} {r_driver!r}")
            start = inner
        if r_row:
            lines.append(f"rr{i}_{cols if mark else 0} {start} {end} {r_row!r}")
    if r_row:
        lines += [f"rr{i}_{j} r{i}_{j - 1} r{i}_{j} {r_row!r}" for j in range(1, cols)]
    return lines


def _column(j: int, rows: int, r_col: float, r_sense: float) -> list[str]:
    """Return the resistors along a column: segments and sense amplifier."""
    lines = []
    end = f"c{j}" if r_sense else f"out{j}"
    if r_col:
        lines += [f"rc{i}_{j} c{i}_{j} c{i + 1}_{j} {r_col!r}" for i in range(rows - 1)]
        lines.append(f"rc{rows - 1}_{j} c{rows - 1}_{j} {end} {r_col!r}")
    if r_sense:
        lines.append(f"rs{j} c{j} out{j} {r_sense!r}")
    return lines


def read_currents(output: str, batch: int, cols: int) -> npt.NDArray[np.float64]:
    """Return the column currents, shape (batch, cols), that ngspice printed for a netlist of `netlist`.

    Raises
    ------
    ToolError
        They are not all there, since ngspice failed; the error has its last line.
    """
    found = _ANSWER.findall(output)
    if [int(column) for column, _ in found] != [*range(cols)] * batch:
        said = [line for line in output.splitlines() if line.strip()]
        raise ToolError(
            f"ngspice printed {len(found)} of {batch * cols} currents; its last line: {said[-1] if said else 'none'}"
        )
    return np.array([float(value) for _, value in found]).reshape(batch, cols)
