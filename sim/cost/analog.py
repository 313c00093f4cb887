"""Energy of a run on an analog crossbar, modelled: events times energy per event, and what the cells take."""

__all__ = ["MOST_PJ", "AnalogPrices", "of_converter"]

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.hardware import Crossbar
from tetrit.sim.cost.adc import AdcSurvey
from tetrit.sim.cost.figure import Figure
from tetrit.sim.cost.peripherals import Peripherals, cell_costs, read_figure

_EVENTS = ("adc_conversion", "dac_conversion", "driver", "shift_add")
_OF_RAMPS = ("ramp_comparison", "ramp_cell_read")
_MORE = ("integration", "input_bit")
_OPTIONAL = (*_OF_RAMPS, *_MORE)
_WITH_BITS = ("adc_conversion", "dac_conversion")
_COMPONENTS = {
    "DAC": ("dac_conversion", "dac_conversion"),
    "drivers": ("driver", "driver"),
    "registers": ("dac_conversion", "input_bit"),
    "comparators": ("ramp_comparison", "ramp_comparison"),
    "ramp cells": ("ramp_cell_read", "ramp_cell_read"),
    "integrators": ("adc_conversion", "integration"),
    "ADC": ("adc_conversion", "adc_conversion"),
    "shift and add": ("shift_add", "shift_add"),
}
"""Of every component: the event that is counted, and the price of one."""

MOST_PJ = 1e6
"""Largest price of an event that is believed: a microjoule, ten thousand times what a DRAM access of a byte takes."""


@dataclass(frozen=True, kw_only=True)
class AnalogPrices:
    """Energy of the events of a crossbar.

    Attributes
    ----------
    adc_conversion_pj : float
        Of an output conversion of `adc_bits` bits; other widths cost ``2**bits`` in proportion.
    adc_bits : int
    dac_conversion_pj : float
        Of an input digit of `dac_bits` bits; other widths cost in proportion to their bits.
    dac_bits : int
    driver_pj : float
        Of driving a row of an array once.
    shift_add_pj : float
        Of adding a converted result.
    source : str
        Where the figures come from.
    ramp_comparison_pj : float or None
        Of a comparator's decision at one step of a ramp, counter included. None: not known, as in a table without it;
        machines with a ramp are then refused.
    ramp_cell_read_pj : float or None
        Of switching on a cell of a ramp.
    ramp_source : str
        Where the figures of ramps come from.
    integration_pj : float or None
        Of taking up a column's current for a conversion. None: contained in the converter's price.
    input_bit_pj : float or None
        Of reading a bit of an input from its register. None: contained in the DAC's price.
    adc_scales : bool
        Whether the price of a conversion may be scaled to other widths than `adc_bits`; False: other machines are
        refused.
    figures : tuple of (str, Figure)
        Every price with its origin, source and bounds; for what is not in it, the price stands alone.

    Examples
    --------
    >>> AnalogPrices.modelled().adc_conversion_pj
    1.67
    >>> from tetrit import hardware
    >>> machine = hardware.load_crossbar("crossbar_256_pcm")
    >>> prices = AnalogPrices.survey(machine, node_nm=32)
    >>> f"{prices.adc_conversion_pj:.2f} pJ an 8-bit conversion"
    '1.71 pJ an 8-bit conversion'
    """

    adc_conversion_pj: float
    adc_bits: int
    dac_conversion_pj: float
    dac_bits: int
    driver_pj: float
    shift_add_pj: float
    source: str
    ramp_comparison_pj: float | None = None
    ramp_cell_read_pj: float | None = None
    ramp_source: str = ""
    integration_pj: float | None = None
    input_bit_pj: float | None = None
    adc_scales: bool = True
    figures: tuple[tuple[str, Figure], ...] = ()

    def __post_init__(self) -> None:
        for event in (*_EVENTS, *_OPTIONAL):
            name = f"{event}_pj"
            if event in _OPTIONAL and getattr(self, name) is None:
                continue
            price = checks.real(name, getattr(self, name), minimum=0.0)
            if price > MOST_PJ:
                raise InvalidValueError(
                    f"`{name}` must be at most {MOST_PJ:g}, a microjoule for one event, got {price:g}"
                )
            object.__setattr__(self, name, price)
        for name in ("adc_bits", "dac_bits"):
            object.__setattr__(self, name, checks.integer(name, getattr(self, name), maximum=24))
        for name in ("source", "ramp_source"):
            if not isinstance(getattr(self, name), str):
                raise TypeError(f"`{name}` must be a string, got {getattr(self, name)!r}")

    @classmethod
    def modelled(cls) -> Self:
        """Return the prices of the committed table: ISAAC's, at 32 nm."""
        return cls.from_dict(_table(), where="analog.toml")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a TOML file like the committed table.

        Raises
        ------
        InvalidValueError
            The file cannot be read, or rows are missing, all of them listed, unknown or wrong; the message begins with
            the file.
        """
        return cls.from_dict(checks.read_toml("price table", Path(path)), where=str(path))

    @classmethod
    def from_dict(cls, table: Any, *, where: str = "prices") -> Self:
        """Return the prices of a table with a row for every event.

        A row has `value_pj` and `source`, converters' also `bits`, and perhaps `origin` (by default "published") and
        the bounds `low_pj` and `high_pj`. Rows for the events of ramps, and ``integration`` and ``input_bit``, may be
        missing.
        """
        rows = checks.keys(where, table, (*_EVENTS, *_OPTIONAL))
        if missing := [event for event in _EVENTS if event not in rows]:
            listed = ", ".join(f"`{event}`" for event in missing)
            raise InvalidValueError(f"{where}: {listed} {'is' if len(missing) == 1 else 'are'} missing")
        values: dict[str, Any] = {}
        sources: dict[bool, list[str]] = {False: [], True: []}
        for event in (*_EVENTS, *_OPTIONAL):
            if event not in rows:
                continue
            needed = ("value_pj", "source", "bits") if event in _WITH_BITS else ("value_pj", "source")
            row = checks.keys(f"{where}: {event}", rows[event], (*needed, "origin", "low_pj", "high_pj"))
            for name in needed:
                if name not in row:
                    raise InvalidValueError(f"{where}: {event}: `{name}` is missing")
            values[f"{event}_pj"] = row["value_pj"]
            if "bits" in row:
                values[f"{event.split('_')[0]}_bits"] = row["bits"]
            sources[event in _OF_RAMPS].append(f"{event}: {row['source']}")
        try:
            found = cls(**values, source="; ".join(sources[False]), ramp_source="; ".join(sources[True]))
        except (TypeError, ValueError) as error:
            raise InvalidValueError(f"{where}: {error}") from None
        figures = [
            (event, read_figure(f"{where}: {event}", {"origin": "published"} | row, "value_pj", "{}_pj", "pJ"))
            for event, row in rows.items()
        ]
        return replace(found, figures=tuple(figures))

    @classmethod
    def survey(
        cls,
        machine: Crossbar,
        *,
        node_nm: float = 32.0,
        adc: AdcSurvey | None = None,
        peripherals: Peripherals | None = None,
    ) -> Self:
        """Return prices for a machine at a technology node, with bounds: converters of the ADC survey, the rest cited.

        The converters have the machine's bits and rate, and no other machine's. What a row takes besides its DAC is
        ``C V^2``: its wire along all columns, at the read voltage; cells as wide as `cell_costs` says, and for a device
        that it does not know as those of ``rram`` (assumption). Prices of ramps are those of `modelled`.

        Parameters
        ----------
        machine : Crossbar
        node_nm : float
            Technology that all figures are given for; those of other nodes are scaled, see `tetrit.sim.cost.scaling`.
        adc, peripherals
            Fits and figures; by default the committed ones.

        Raises
        ------
        InvalidValueError
            Converters or a node outside what the survey or the scaling spans.
        """
        survey = AdcSurvey.survey() if adc is None else adc
        around = (Peripherals.committed() if peripherals is None else peripherals).at(node_nm)
        figures = {
            "dac_conversion": around.dac.energy,
            "driver": _driver(machine, node_nm, around.wire_ff_per_um),
            "shift_add": around.shift_add.energy,
            "integration": around.integrator.energy,
            "input_bit": around.register.energy,
        }
        bits = machine.adc_bits
        if bits is None:
            none = "no converter: `adc_bits` is None"
            figures["adc_conversion"] = Figure(value=0.0, unit="pJ", origin="assumed", source=none)
        else:
            figures["adc_conversion"] = of_converter(survey.energy_pj, machine, node_nm)
        ramps = dict(cls.modelled().figures)
        figures |= {event: ramps[event] for event in _OF_RAMPS}
        return cls(
            **{f"{event}_pj": figure.value for event, figure in figures.items()},
            adc_bits=1 if bits is None else bits,
            dac_bits=around.dac.bits,
            adc_scales=False,
            source="; ".join(f"{event}: {figure.source}" for event, figure in figures.items() if event not in _OF_RAMPS)
            + f"; all at {node_nm:g} nm",
            ramp_source="; ".join(f"{event}: {figures[event].source}" for event in _OF_RAMPS),
            figures=tuple(figures.items()),
        )

    def check(self, machine: Crossbar) -> None:
        """Raise InvalidValueError unless every event of `machine` has a price; all that have none are listed."""
        if machine.ramp is not None:
            missing = [f"`{event}`" for event in _OF_RAMPS if getattr(self, f"{event}_pj") is None]
            if missing:
                raise InvalidValueError(f"the prices have no {', '.join(missing)}, which a machine with a `ramp` needs")
        if not self.adc_scales and machine.adc_bits not in (None, self.adc_bits):
            raise InvalidValueError(
                f"the prices are of converters of {self.adc_bits} bits and do not scale, the machine has "
                f"`adc_bits` = {machine.adc_bits}"
            )

    def breakdown(self, events: Mapping[str, int], machine: Crossbar, *, cells_pj: float) -> dict[str, float]:
        """Return the energy in pJ by component of `events` on `machine`; `cells_pj` is what its cells took."""
        found = {}
        for component, price_pj in self._prices(machine).items():
            found[component] = events[_COMPONENTS[component][0]] * price_pj
            if component == "drivers":
                found["cells"] = cells_pj
        return found

    def figures_of(self, events: Mapping[str, int], machine: Crossbar, *, cells_pj: float) -> dict[str, Figure]:
        """Return the same with origin, source and bounds of every component.

        Examples
        --------
        >>> from tetrit import hardware
        >>> machine = hardware.load_crossbar("crossbar_256_pcm")
        >>> acts = {"dac_conversion": 256, "driver": 256, "adc_conversion": 128, "shift_add": 128}
        >>> found = AnalogPrices.survey(machine).figures_of(acts, machine, cells_pj=5.0)
        >>> [f"{x:.0f}" for x in (found["ADC"].low, found["ADC"].value, found["ADC"].high)]
        ['34', '219', '926']
        """
        named = dict(self.figures)
        low, value, high = (
            self._at(edge).breakdown(events, machine, cells_pj=cells_pj) for edge in ("low", "value", "high")
        )
        found = {}
        for component, energy_pj in value.items():
            if component == "cells":
                source = "V^2 g t of every cell, with the voltages and conductances of the run"
                found[component] = Figure(value=energy_pj, unit="pJ", origin="modelled", source=source)
                continue
            figure = named.get(_COMPONENTS[component][1])
            bounded = figure is not None and figure.low is not None
            found[component] = Figure(
                value=energy_pj,
                unit="pJ",
                origin="assumed" if figure is None else figure.origin,
                source=(self.source or "not stated") if figure is None else figure.source,
                low=low[component] if bounded else None,
                high=high[component] if bounded else None,
            )
        return found

    def _prices(self, machine: Crossbar) -> dict[str, float]:
        """Return what one event of every component of `machine` takes, in pJ and in the order of reports."""
        digits = machine.input_digits
        found = {
            "DAC": self.dac_conversion_pj * sum(digits) / len(digits) / self.dac_bits,
            "drivers": self.driver_pj,
        }
        if self.input_bit_pj is not None:
            found["registers"] = self.input_bit_pj * sum(digits) / len(digits)
        if machine.ramp is not None:
            return found | {
                "comparators": self.ramp_comparison_pj or 0.0,
                "ramp cells": self.ramp_cell_read_pj or 0.0,
            }
        if self.integration_pj is not None:
            found["integrators"] = self.integration_pj
        adc_pj = 0.0 if machine.adc_bits is None else self.adc_conversion_pj * 2.0 ** (machine.adc_bits - self.adc_bits)
        return found | {"ADC": adc_pj, "shift and add": self.shift_add_pj}

    def _at(self, edge: Literal["low", "value", "high"]) -> Self:
        """Return the prices with every one at a bound of its figure, where it has one."""
        if edge == "value":
            return self
        bounds = {f"{event}_pj": getattr(figure, edge) for event, figure in self.figures}
        return replace(self, **{name: bound for name, bound in bounds.items() if bound is not None})


def of_converter(quantity: Callable[..., Figure], machine: Crossbar, node_nm: float) -> Figure:
    """Return a quantity of `AdcSurvey` for a converter of a machine, at its bits and at its rate while it converts."""
    assert machine.adc_bits is not None
    cycles = machine.adc_bits if machine.adc.conversion_cycles is None else machine.adc.conversion_cycles
    try:
        return quantity(bits=machine.adc_bits, rate_hz=machine.clock_mhz * 1e6 / cycles, node_nm=node_nm)
    except InvalidValueError as error:
        raise InvalidValueError(f"the machine's converters: {error}") from None


def _driver(machine: Crossbar, node_nm: float, wire: Figure) -> Figure:
    """Return what charging the wire of a row takes, in pJ."""
    try:
        cell_um = cell_costs(machine.cell.name).area_um2(node_nm).value ** 0.5
    except InvalidValueError:
        cell_um = cell_costs("rram").area_um2(node_nm).value ** 0.5
    pj_per_ff = machine.cols * cell_um * machine.read_voltage_v**2 * 1e-3
    return Figure(
        value=wire.value * pj_per_ff,
        unit="pJ",
        origin="modelled",
        source=f"C V^2 of {machine.cols} columns of square cells: {wire.source}",
        low=None if wire.low is None else wire.low * pj_per_ff,
        high=None if wire.high is None else wire.high * pj_per_ff,
    )


@cache
def _table() -> dict[str, Any]:
    text = (resources.files("tetrit.sim.cost") / "analog.toml").read_text(encoding="utf-8")
    return checks.parse_toml("analog.toml", text)
