"""Energy of a run on an analog crossbar, modelled: events times energy per event, and what the cells take."""

__all__ = ["AnalogPrices"]

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Self

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.hardware import Crossbar

_EVENTS = ("adc_conversion", "dac_conversion", "driver", "shift_add")
_OF_RAMPS = ("ramp_comparison", "ramp_cell_read")
_WITH_BITS = ("adc_conversion", "dac_conversion")


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

    Examples
    --------
    >>> AnalogPrices.modelled().adc_conversion_pj
    1.67
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

    def __post_init__(self) -> None:
        for name in (f"{event}_pj" for event in (*_EVENTS, *_OF_RAMPS)):
            if name.startswith("ramp") and getattr(self, name) is None:
                continue
            object.__setattr__(self, name, checks.real(name, getattr(self, name), minimum=0.0))
        for name in ("adc_bits", "dac_bits"):
            object.__setattr__(self, name, checks.integer(name, getattr(self, name), maximum=24))
        for name in ("source", "ramp_source"):
            if not isinstance(getattr(self, name), str):
                raise TypeError(f"`{name}` must be a string, got {getattr(self, name)!r}")

    @classmethod
    def modelled(cls) -> Self:
        """Return the prices of the committed table."""
        return cls.from_dict(_table(), where="analog.toml")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a TOML file like the committed table.

        Raises
        ------
        InvalidValueError
            The file cannot be read, or a row is missing, unknown or wrong; the message begins with the file.
        """
        return cls.from_dict(checks.read_toml("price table", Path(path)), where=str(path))

    @classmethod
    def from_dict(cls, table: Any, *, where: str = "prices") -> Self:
        """Return the prices of a table with a row for every event: `value_pj`, `source`, and `bits` for converters.

        Rows for the events of ramps may be missing.
        """
        rows = checks.keys(where, table, (*_EVENTS, *_OF_RAMPS))
        values: dict[str, Any] = {}
        sources: dict[bool, list[str]] = {False: [], True: []}
        for event in (*_EVENTS, *_OF_RAMPS):
            if event not in rows:
                if event in _OF_RAMPS:
                    continue
                raise InvalidValueError(f"{where}: `{event}` is missing")
            wanted = ("value_pj", "source", "bits") if event in _WITH_BITS else ("value_pj", "source")
            row = checks.keys(f"{where}: {event}", rows[event], wanted)
            for name in wanted:
                if name not in row:
                    raise InvalidValueError(f"{where}: {event}: `{name}` is missing")
            values[f"{event}_pj"] = row["value_pj"]
            if "bits" in row:
                values[f"{event.split('_')[0]}_bits"] = row["bits"]
            sources[event in _OF_RAMPS].append(f"{event}: {row['source']}")
        try:
            return cls(**values, source="; ".join(sources[False]), ramp_source="; ".join(sources[True]))
        except (TypeError, ValueError) as error:
            raise InvalidValueError(f"{where}: {error}") from None

    def check(self, machine: Crossbar) -> None:
        """Raise InvalidValueError unless every event of `machine` has a price."""
        for event in _OF_RAMPS:
            if machine.ramp is not None and getattr(self, f"{event}_pj") is None:
                raise InvalidValueError(f"the prices have no `{event}`, which a machine with a `ramp` needs")

    def breakdown(self, events: Mapping[str, int], machine: Crossbar, *, cells_pj: float) -> dict[str, float]:
        """Return the energy in pJ by component of `events` on `machine`; `cells_pj` is what its cells took."""
        digits = machine.input_digits
        dac_pj = self.dac_conversion_pj * sum(digits) / len(digits) / self.dac_bits
        before = {
            "DAC": events["dac_conversion"] * dac_pj,
            "drivers": events["driver"] * self.driver_pj,
            "cells": cells_pj,
        }
        if machine.ramp is not None:
            return before | {
                "comparators": events["ramp_comparison"] * (self.ramp_comparison_pj or 0.0),
                "ramp cells": events["ramp_cell_read"] * (self.ramp_cell_read_pj or 0.0),
            }
        adc_pj = 0.0 if machine.adc_bits is None else self.adc_conversion_pj * 2.0 ** (machine.adc_bits - self.adc_bits)
        return before | {
            "ADC": events["adc_conversion"] * adc_pj,
            "shift and add": events["shift_add"] * self.shift_add_pj,
        }


@cache
def _table() -> dict[str, Any]:
    text = (resources.files("tetrit.sim.cost") / "analog.toml").read_text(encoding="utf-8")
    return checks.parse_toml("analog.toml", text)
