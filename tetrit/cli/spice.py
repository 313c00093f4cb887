"""`tetrit spice`: an array of cells as a netlist for ngspice."""

__all__ = ["command"]

from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("machine", metavar="[PRESET|FILE.toml]", required=False)
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="FILE.cir", help="Write here, not to stdout.")
@click.option("--rows", type=int, help="Rows of cells.  [default: the machine's, or 8]")
@click.option("--cols", type=int, help="Columns of cells.  [default: the machine's, or 8]")
@click.option(
    "--conductances",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Conductances in siemens, a matrix: .npy, .npz with one array, or .csv.  [default: random within the window]",
)
@click.option(
    "--voltages",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Row voltages, one input vector a line; as above.  [default: random, up to the read voltage]",
)
@click.option("--vectors", type=click.IntRange(min=1), default=1, show_default=True, help="Random input vectors.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of what is random.")
@click.option("--g-min", type=float, metavar="SIEMENS", help="Window of random conductances.  [default: the machine's]")
@click.option("--g-max", type=float, metavar="SIEMENS", help="Window of random conductances.  [default: the machine's]")
@click.option("--read-voltage", type=float, metavar="VOLT", help="[default: the machine's, or 0.2]")
@click.option("--r-row", type=float, metavar="OHM", help="Each row segment.  [default: the machine's, or 0]")
@click.option("--r-col", type=float, metavar="OHM", help="Each column segment.  [default: the machine's, or 0]")
@click.option("--r-driver", type=float, metavar="OHM", help="Each driver.  [default: the machine's, or 0]")
@click.option("--r-sense", type=float, metavar="OHM", help="Each sense amplifier.  [default: the machine's, or 0]")
@click.option("--drive", help="one_sided or two_sided.  [default: the machine's, or one_sided]")
@click.option("--sinh", type=float, metavar="VOLT", help="v0 of cells with I = g v0 sinh(V / v0).")
def command(machine: str | None, out: Path | None, **options: Any) -> None:
    """Write a crossbar as a SPICE netlist; `ngspice -b FILE` prints its column currents.

    Options go before what the machine says, and files before what is random.
    """
    from tetrit.hardware import Crossbar
    from tetrit.sim.crossbar import spice

    array = _array(machine)
    given = {name: value for name, value in options.items() if value is not None}
    sizes = given.get("rows", array.rows if array else 8), given.get("cols", array.cols if array else 8)
    plain = array or Crossbar(rows=1, cols=16)
    low, high = plain.window
    g, v = _values(given, sizes, (low, high), plain.read_voltage_v)
    text = spice.netlist(
        g,
        v,
        given.get("r_row", plain.r_row_ohm),
        given.get("r_col", plain.r_col_ohm),
        given.get("r_driver", plain.r_driver_ohm),
        given.get("r_sense", plain.r_sense_ohm),
        drive=given.get("drive", plain.drive),
        sinh_volt=given.get("sinh", plain.cell.sinh_volt),
        title=f"crossbar of {len(g)} x {len(g[0])} cells, by tetrit",
    )
    if out is None:
        click.echo(text, nl=False)
    else:
        from tetrit.files import write_atomic

        write_atomic(out, text, what="netlist")


def _array(machine: str | None) -> Any:
    """Load the crossbar that is named; None if none is."""
    if machine is None:
        return None
    from tetrit import hardware
    from tetrit.errors import InvalidValueError

    found = hardware.load(machine)
    if not isinstance(found, hardware.Crossbar):
        raise InvalidValueError(f"'{machine}' is a {type(found).__name__}; a netlist needs a crossbar")
    return found


def _values(
    given: dict[str, Any], sizes: tuple[int, int], window: tuple[float, float], volts: float
) -> tuple[Any, Any]:
    """Return conductances and voltages, from files where they are given, and random otherwise."""
    import numpy as np

    from tetrit import checks
    from tetrit.errors import InvalidValueError

    rng = np.random.default_rng(given["seed"])
    rows, cols = (checks.integer(f"--{name}", n) for name, n in zip(("rows", "cols"), sizes, strict=True))
    low = checks.real("--g-min", given.get("g_min", window[0]), minimum=0.0)
    high = checks.real("--g-max", given.get("g_max", window[1]), minimum=low)
    most = checks.real("--read-voltage", given.get("read_voltage", volts), minimum=0.0)
    if "conductances" in given:
        g = _read(given["conductances"])
        for name, n in zip(("rows", "cols"), g.shape, strict=True):
            if given.get(name, n) != n:
                raise InvalidValueError(f"'{given['conductances']}' has {n} {name}, not the {given[name]} of --{name}")
        rows = len(g)
    else:
        g = rng.uniform(low, high, (rows, cols))
    v = _read(given["voltages"]) if "voltages" in given else rng.uniform(-most, most, (given["vectors"], rows))
    if v.shape[1] != rows:
        raise InvalidValueError(f"'{given['voltages']}' has {v.shape[1]} voltages a line for {rows} rows of cells")
    return g, v


def _read(path: Path) -> Any:
    """Read a matrix of numbers."""
    import numpy as np

    from tetrit.errors import InvalidValueError

    try:
        if path.suffix == ".npy":
            values = np.load(path, allow_pickle=False)
        elif path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                if len(arrays.files) != 1:
                    raise InvalidValueError(f"'{path}' must have one array, got {len(arrays.files)}")
                values = arrays[arrays.files[0]]
        elif path.suffix == ".csv":
            lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
            values = np.array([[float(number) for number in line.split(",")] for line in lines])
        else:
            raise InvalidValueError(f"'{path}' must end in .npy, .npz or .csv")
    except InvalidValueError:
        raise
    except OSError as error:
        raise InvalidValueError(f"cannot read '{path}': {error.strerror or error}") from None
    except Exception as error:
        raise InvalidValueError(f"cannot read '{path}': {error}") from None
    if values.ndim != 2 or values.size == 0 or values.dtype.kind not in "iuf":
        raise InvalidValueError(f"'{path}' must hold a matrix of numbers, got shape {values.shape} of {values.dtype}")
    return np.asarray(values, dtype=np.float64)
