"""Energy of a run, modelled: events times energy per event."""

__all__ = ["Prices", "memory_breakdown"]

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Self

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.hardware import ShiftArray

_MEMORY_EVENTS = {
    "weight_read_word": ("weight memory", "weight_memory", "read_pj_per_bit", "weight_word_bits"),
    "act_read_word": ("activation memory", "act_memory", "read_pj_per_bit", "act_word_bits"),
    "act_write_word": ("activation memory", "act_memory", "write_pj_per_bit", "act_word_bits"),
    "acc_read_word": ("accumulator memory", "acc_memory", "read_pj_per_bit", "acc_word_bits"),
    "acc_write_word": ("accumulator memory", "acc_memory", "write_pj_per_bit", "acc_word_bits"),
}


@dataclass(frozen=True, kw_only=True)
class Prices:
    """Energy of a processing element for one cycle, its share of the array's edge included, by what it does.

    Attributes
    ----------
    pe_idle_pj : float
        No useful work, clocked.
    pe_zero_pj : float or None
        A multiply-accumulate with a zero weight; None for weight formats without zero.
    pe_active_pj : float
        One with a nonzero weight.
    source : str
        Where the figures come from.
    """

    pe_idle_pj: float
    pe_zero_pj: float | None
    pe_active_pj: float
    source: str

    def __post_init__(self) -> None:
        for name in ("pe_idle_pj", "pe_zero_pj", "pe_active_pj"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, checks.real(name, value, minimum=0.0))

    @classmethod
    def modelled(cls, machine: ShiftArray) -> Self:
        """Return the prices of the committed table for the weight format and dataflow of `machine`.

        The table was made from mapped netlists at int8 activations and 24-bit accumulators, 100 MHz; for other widths
        the prices scale with ``act_bits + acc_bits`` (our assumption).
        """
        table = _table()
        reference = table["reference"]
        scale = (machine.activations.bits + machine.acc_bits) / (
            machine.replace(act_format=reference["act_format"]).activations.bits + reference["acc_bits"]
        )
        row = next(
            row
            for row in table["price"]
            if (row["dataflow"], row["weight_format"]) == (machine.dataflow, machine.weight_format)
        )
        zero = row.get("pe_zero")
        return cls(
            pe_idle_pj=row["pe_idle"] * scale,
            pe_zero_pj=None if zero is None else zero * scale,
            pe_active_pj=row["pe_active"] * scale,
            source=table["source"],
        )

    def breakdown(self, events: Mapping[str, int], machine: ShiftArray) -> dict[str, float]:
        """Return the energy in pJ by component of `events` on `machine`: the array, and its memories.

        Raises
        ------
        InvalidValueError
            Zero weights were counted and have no price.
        """
        if events["pe_zero"] and self.pe_zero_pj is None:
            raise InvalidValueError(f"{events['pe_zero']} events `pe_zero` have no price; set `pe_zero_pj`")
        array = (
            events["pe_idle"] * self.pe_idle_pj
            + events["pe_zero"] * (self.pe_zero_pj or 0.0)
            + events["pe_active"] * self.pe_active_pj
        )
        return {"array": array, **memory_breakdown(events, machine)}


def memory_breakdown(events: Mapping[str, int], machine: ShiftArray) -> dict[str, float]:
    """Return the energy in pJ of the words that `events` count, by memory; memories without a price are left out."""
    result: dict[str, float] = {}
    for event, (component, name, field, word_bits) in _MEMORY_EVENTS.items():
        price_pj = getattr(getattr(machine, name), field) * getattr(machine, word_bits)
        if price_pj:
            result[component] = result.get(component, 0.0) + events.get(event, 0) * price_pj
    return result


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads((resources.files("tetrit.sim.cost") / "sg13g2.toml").read_text(encoding="utf-8"))
