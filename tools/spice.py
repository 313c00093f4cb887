"""Solve the reference arrays of the tests with ngspice: tests/sim/crossbar/spice/*.cir and *.json.

The netlists are those that `tetrit spice` writes; the tests compare tetrit with the committed answers. Run it as
``make spice``; it changes nothing if tetrit's netlists and ngspice's answers are still the same.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from tetrit.errors import ToolError
from tetrit.files import write_atomic
from tetrit.sim.crossbar import spice

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "sim" / "crossbar" / "spice"

# name -> rows, columns, resistances of row, column, driver and sense amplifier, drive, v0
CASES = {
    "square": (4, 4, 5.0, 5.0, 100.0, 50.0, "one_sided", None),
    "oblong": (8, 5, 2.0, 40.0, 0.0, 0.0, "one_sided", None),
    "long_wires": (16, 16, 300.0, 200.0, 1000.0, 10.0, "one_sided", None),
    "one_row": (1, 7, 1000.0, 1.0, 0.0, 3.0, "one_sided", None),
    "two_sided": (9, 6, 20.0, 10.0, 30.0, 0.0, "two_sided", None),
    "perfect_rows": (6, 8, 0.0, 25.0, 200.0, 0.0, "one_sided", None),
    "perfect_columns": (5, 7, 25.0, 0.0, 0.0, 300.0, "two_sided", None),
    "no_segments": (7, 4, 0.0, 0.0, 500.0, 400.0, "one_sided", None),
    "sinh": (6, 5, 100.0, 80.0, 200.0, 50.0, "one_sided", 0.06),
    "sinh_two_sided": (4, 6, 500.0, 0.0, 0.0, 0.0, "two_sided", 0.04),
}


def arguments(name: str) -> dict[str, object]:
    """Draw a case: conductances over three decades, some cells open, and input vectors."""
    rows, cols, r_row, r_col, r_driver, r_sense, drive, v0 = CASES[name]
    rng = np.random.default_rng(sorted(CASES).index(name))
    g = np.round(10 ** rng.uniform(-7, -4, (rows, cols)), 12)
    g[rng.random((rows, cols)) < 0.1] = 0.0
    if name == "oblong":
        g[:, 2] = 0.0
    volts = np.vstack((0.2 * np.eye(rows)[: 4 if v0 is None else 1], rng.uniform(-0.2, 0.2, (2, rows)).round(6)))
    resistances = {"r_row_ohm": r_row, "r_col_ohm": r_col, "r_driver_ohm": r_driver, "r_sense_ohm": r_sense}
    return {"g_siemens": g.tolist(), "v_rows": volts.tolist(), **resistances, "drive": drive, "sinh_volt": v0}


def solve(path: Path, batch: int, cols: int) -> list[list[float]]:
    """Run ngspice on a netlist and return the column currents."""
    done = subprocess.run(["ngspice", "-b", path], capture_output=True, text=True)
    if done.returncode:
        raise ToolError(f"ngspice failed on '{path}': {done.stderr.strip()}")
    currents: list[list[float]] = spice.read_currents(done.stdout, batch, cols).tolist()
    return currents


def main() -> None:
    """Write all cases."""
    if shutil.which("ngspice") is None:
        sys.exit("tools/spice.py: ngspice is not installed; on Debian and Ubuntu: apt-get install ngspice")
    for name in CASES:
        given = arguments(name)
        path = FOLDER / f"{name}.cir"
        write_atomic(path, spice.netlist(**given, title=name), what="netlist")
        answers = solve(path, len(given["v_rows"]), len(given["g_siemens"][0]))
        entries = [
            f"  {json.dumps(key)}: {_text(value)}" for key, value in (given | {"currents_ampere": answers}).items()
        ]
        write_atomic(FOLDER / f"{name}.json", "{\n" + ",\n".join(entries) + "\n}\n", what="reference case")


def _text(value: object) -> str:
    """Write a matrix with a row on each line."""
    if not isinstance(value, list):
        return json.dumps(value)
    return "[\n" + ",\n".join(f"    {json.dumps(row)}" for row in value) + "\n  ]"


if __name__ == "__main__":
    main()
