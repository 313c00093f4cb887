"""Energy of programming crossbars: the authority for what write-verify takes, once, apart from any inference."""

__all__ = ["program_energy"]

from pathlib import Path

from tetrit import checks
from tetrit.hardware import Crossbar
from tetrit.sim.cost.figure import Figure
from tetrit.sim.cost.peripherals import CellCosts, cell_costs


def program_energy(machine: Crossbar, attempts: int, *, cells: str | Path | CellCosts | None = None) -> Figure:
    """Return the energy in uJ of programming cells once.

    A device that verifies (`write_cycles` above 1) has counted its pulses as attempts. For one that does not, such as
    the presets, whose error is what is left after a verified loop elsewhere, every attempt stands for the `pulses` of
    the table of cells. Reads for verification, drivers and charge pumps are not in it (assumption of ours). The pulse
    is not scaled to another technology node.

    Parameters
    ----------
    machine : Crossbar
    attempts : int
        As ``engine.arrays.program_pulses`` counts them.
    cells : str, Path or CellCosts, optional
        Of the machine's device, or a TOML file with it; by default the committed table's.

    Raises
    ------
    InvalidValueError
        The table of cells does not have the machine's device.

    Examples
    --------
    >>> from tetrit import hardware
    >>> machine = hardware.load_crossbar("crossbar_128_rram")
    >>> found = program_energy(machine, 128 * 128)
    >>> f"{found.value:.2f} uJ for an array, {found.low:.2f} to {found.high:.2f}"
    '1.71 uJ for an array, 0.08 to 1.71'
    """
    attempts = checks.integer("attempts", attempts, minimum=0)
    cell = cells if isinstance(cells, CellCosts) else cell_costs(machine.cell.name, cells)
    pulse, pulses = cell.pulse_pj, cell.pulses
    verified = machine.cell.write_cycles > 1
    many = 1.0 if verified else pulses.value
    fewest, most = (many, many) if verified or pulses.low is None or pulses.high is None else (pulses.low, pulses.high)
    least, greatest = (pulse.value,) * 2 if pulse.low is None or pulse.high is None else (pulse.low, pulse.high)
    bounded = (fewest, least) != (most, greatest)
    count = "each attempt a pulse" if verified else f"{many:g} pulses an attempt: {pulses.source}"
    return Figure(
        value=attempts * many * pulse.value * 1e-6,
        unit="uJ",
        origin="assumed" if "assumed" in (pulse.origin, "" if verified else pulses.origin) else "modelled",
        source=f"{attempts:,} attempts; {count}; a pulse: {pulse.source}",
        low=attempts * fewest * least * 1e-6 if bounded else None,
        high=attempts * most * greatest * 1e-6 if bounded else None,
    )
