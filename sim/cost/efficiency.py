"""Throughput, and throughput per watt and per area: the authority for what an operation is and what is counted.

One multiply-accumulate is two operations, at the bits of its operands. Some papers multiply by those bits to compare
machines of different precision (an operation of a x w bits as a w operations of 1 bit): that is given apart, never in
place of the first.
"""

__all__ = ["Efficiency", "efficiency"]

from collections.abc import Iterable
from dataclasses import dataclass

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.sim.cost.figure import Figure

OPERATIONS = 2
"""Of a multiply-accumulate."""


@dataclass(frozen=True, kw_only=True)
class Efficiency:
    """What a run achieves.

    Attributes
    ----------
    tops : Figure
        10^12 operations a second.
    tops_per_watt : Figure
        The same as operations per picojoule.
    tops_per_mm2 : Figure or None
        None where no area is known.
    tops_1bit, tops_per_watt_1bit, tops_per_mm2_1bit : Figure or Figure or None
        Times bits of activations times bits of weights.
    definition : str
        What an operation is, at which bits, what is in the energy and in the area, at which utilisation.
    """

    tops: Figure
    tops_per_watt: Figure
    tops_per_mm2: Figure | None
    tops_1bit: Figure
    tops_per_watt_1bit: Figure
    tops_per_mm2_1bit: Figure | None
    definition: str

    def figures(self) -> dict[str, Figure]:
        """Return all that are known, by name."""
        names = {"TOPS": "tops", "TOPS/W": "tops_per_watt", "TOPS/mm2": "tops_per_mm2"}
        pairs = [
            (f"{text}{end}", getattr(self, f"{name}{key}"))
            for end, key in (("", ""), (", 1-bit", "_1bit"))
            for text, name in names.items()
        ]
        return {name: figure for name, figure in pairs if figure is not None}


def efficiency(
    *,
    macs: int,
    time_us: float,
    energy_pj: Figure,
    area_mm2: Figure | None = None,
    act_bits: int,
    weight_bits: int,
    result: str,
    in_energy: Iterable[str],
    in_area: Iterable[str] = (),
    utilization: float,
) -> Efficiency:
    """Return the throughput of a run of any machine, with its definition.

    Parameters
    ----------
    macs : int
        Multiply-accumulates of the work itself; what padding and idle elements do is not counted.
    time_us : float
        Of the run: cycles over the clock in MHz.
    energy_pj : Figure
        Of the run, with bounds if it has them.
    area_mm2 : Figure, optional
        Of the machine.
    act_bits, weight_bits : int
        Of the operands.
    result : str
        What comes out, e.g. ``"24-bit sums, exact"`` or ``"8-bit conversions"``.
    in_energy, in_area : iterable of str
        Components that are in them.
    utilization : float
        0 to 1, as the run has it.

    Raises
    ------
    TypeError, InvalidValueError
        An argument of the wrong kind; no time or no energy; a figure of another unit than pJ, or mm2.

    Examples
    --------
    >>> energy = Figure(value=2e6, unit="pJ", origin="modelled", source="a run", low=1e6, high=4e6)
    >>> found = efficiency(macs=10**6, time_us=10.0, energy_pj=energy, act_bits=8, weight_bits=2,
    ...     result="24-bit sums", in_energy=["array"], utilization=1.0)
    >>> round(found.tops.value, 6), found.tops_per_watt.value, found.tops_per_watt.low, found.tops_per_watt_1bit.value
    (0.2, 1.0, 0.5, 16.0)
    >>> found.definition
    '1 MAC = 2 operations; 8-bit activations x 2-bit weights, 24-bit sums; energy of: array; utilisation 100 %'
    """
    operations = OPERATIONS * checks.integer("macs", macs)
    time_us = checks.real("time_us", time_us, minimum=0.0, exclusive=True)
    bits = checks.integer("act_bits", act_bits) * checks.integer("weight_bits", weight_bits)
    share = checks.real("utilization", utilization, minimum=0.0)
    if share > 1:
        raise InvalidValueError(f"`utilization` must be at most 1, got {share:g}")
    for name, figure, unit in (("energy_pj", energy_pj, "pJ"), ("area_mm2", area_mm2, "mm2")):
        if figure is None:
            continue
        if not isinstance(figure, Figure):
            raise TypeError(f"`{name}` must be a Figure, got {figure!r}")
        if figure.unit != unit or figure.value == 0:
            raise InvalidValueError(f"`{name}` must be above 0 {unit}, got {figure.value:g} {figure.unit}")
    tops = operations / time_us * 1e-6
    speed = Figure(value=tops, unit="TOPS", origin="modelled", source="operations over cycles at the machine's clock")
    watt = _over(operations, energy_pj, "TOPS/W", "operations over the energy of the run")
    dense = None if area_mm2 is None else _over(tops, area_mm2, "TOPS/mm2", "TOPS over the area")
    parts = [
        f"1 MAC = {OPERATIONS} operations",
        f"{act_bits}-bit activations x {weight_bits}-bit weights, {result}",
        f"energy of: {', '.join(in_energy)}",
        *([f"area of: {', '.join(in_area)}"] if area_mm2 is not None else []),
        f"utilisation {100 * share:.3g} %",
    ]
    return Efficiency(
        tops=speed,
        tops_per_watt=watt,
        tops_per_mm2=dense,
        tops_1bit=_times(speed, bits),
        tops_per_watt_1bit=_times(watt, bits),
        tops_per_mm2_1bit=None if dense is None else _times(dense, bits),
        definition="; ".join(parts),
    )


def _over(amount: float, figure: Figure, unit: str, what: str) -> Figure:
    """Return an amount over a figure: its bounds change places; one of 0 gives none."""
    low, high = figure.low, figure.high
    bounded = low is not None and high is not None and low > 0
    return Figure(
        value=amount / figure.value,
        unit=unit,
        origin=figure.origin,
        source=f"{what}: {figure.source}",
        low=amount / high if bounded and high is not None else None,
        high=amount / low if bounded and low is not None else None,
    )


def _times(figure: Figure, bits: int) -> Figure:
    return Figure(
        value=figure.value * bits,
        unit=f"1-bit {figure.unit}",
        origin=figure.origin,
        source=f"{figure.source}; times {bits}, bits of both operands",
        low=None if figure.low is None else figure.low * bits,
        high=None if figure.high is None else figure.high * bits,
    )
