"""Wires: the authority for what is assumed of their capacitance, energy and delay, in memories and in synthesis."""

__all__ = ["CAP_PER_UM", "cap_per_fanout", "repeated_delay_ps_per_mm", "repeated_energy_pj_per_mm"]

import math

from tetrit import checks
from tetrit.hardware import Technology
from tetrit.sim.cost.figure import Figure

CAP_PER_UM = Figure(
    value=0.2,
    unit="fF/um",
    origin="assumed",
    source="dense wires of any node have about 0.2 fF/um (N. Weste and D. Harris, CMOS VLSI Design, 4th ed., chapter "
    "on interconnect, by our reading); bounds are ours",
    low=0.15,
    high=0.3,
)
"""Capacitance of a wire, the same at all nodes."""

_REPEATERS_ENERGY = 1.87
"""Energy of a wire with repeaters for least delay, over that of the wire alone: Weste and Harris, by our reading."""

_REPEATERS_DELAY = 1.67
"""Delay of such a wire per length, over sqrt(FO4 R C): Weste and Harris, by our reading."""

_OHM_UM = 0.022
"""Resistivity of copper wires with their liners, ohm um (2.2 uohm cm), as the presets of crossbars take it."""

_WIDTH, _HEIGHT = 2.0, 4.0
"""Cross-section of a wire between blocks, in feature sizes: our assumption."""


def cap_per_fanout(technology: Technology) -> Figure:
    """Return the capacitance of a net's wire per input pin, which synthesis takes, and the length it stands for.

    Examples
    --------
    >>> from tetrit.hardware import Technology
    >>> from tetrit.sim.cost.wires import cap_per_fanout
    >>> cap_per_fanout(Technology.load("sg13g2")).source
    '20 um of wire a fan-out at 0.2 fF/um (our assumption: nothing is placed); bounds are half and twice the length'
    """
    cap_ff = technology.wire_cap_ff_per_fanout
    return Figure(
        value=cap_ff,
        unit="fF",
        origin="assumed",
        source=f"{cap_ff / CAP_PER_UM.value:g} um of wire a fan-out at {CAP_PER_UM.value:g} fF/um (our assumption: "
        "nothing is placed); bounds are half and twice the length",
        low=cap_ff / 2,
        high=cap_ff * 2,
    )


def repeated_energy_pj_per_mm(voltage_v: float) -> float:
    """Return the energy that a transition from low to high takes on a millimetre of wire with repeaters, C V^2."""
    voltage_v = checks.real("voltage_v", voltage_v, minimum=0.0, exclusive=True)
    return _REPEATERS_ENERGY * CAP_PER_UM.value * voltage_v**2


def repeated_delay_ps_per_mm(node_nm: float, fo4_ps: float) -> float:
    """Return the delay of a millimetre of wire with repeaters.

    Parameters
    ----------
    node_nm : float
        Sets the resistance: copper, two feature sizes wide and four high (our assumption).
    fo4_ps : float
        Delay of an inverter that drives four of its kind.
    """
    node_nm = checks.real("node_nm", node_nm, minimum=0.0, exclusive=True)
    fo4_ps = checks.real("fo4_ps", fo4_ps, minimum=0.0, exclusive=True)
    ohm_per_um = _OHM_UM / (_WIDTH * _HEIGHT * (node_nm * 1e-3) ** 2)
    rc_ps_per_um2 = ohm_per_um * CAP_PER_UM.value * 1e-3
    return _REPEATERS_DELAY * math.sqrt(fo4_ps * rc_ps_per_um2) * 1e3
