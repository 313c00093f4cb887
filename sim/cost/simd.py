"""Energy of a run on the SIMD engine, modelled: events times energy per event."""

__all__ = ["SimdPrices"]

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Self

from tetrit import checks
from tetrit.hardware.simd_engine import SimdEngine


@dataclass(frozen=True, kw_only=True)
class SimdPrices:
    """Energy of an element and of a read-out for one cycle, by what they do, on one pair of formats.

    Attributes
    ----------
    element_step_pj : float
        An element takes a step: up to four products.
    element_idle_pj : float
        An element without a step, clocked.
    readout_pj : float
        A result rounded.
    readout_idle_pj : float
        A column's read-out without a result, clocked.
    source : str
        Where the figures come from.

    Notes
    -----
    The committed table was made from the mapped netlists of an element and a read-out, see
    `tetrit.flow.simd_energy`: at 128 bits of quire, all four formats, 100 MHz, normally distributed operands. It is
    used for every machine as it is (our assumption). The array's skew registers and control are not in it.
    """

    element_step_pj: float
    element_idle_pj: float
    readout_pj: float
    readout_idle_pj: float
    source: str

    def __post_init__(self) -> None:
        for name in ("element_step_pj", "element_idle_pj", "readout_pj", "readout_idle_pj"):
            object.__setattr__(self, name, checks.real(name, getattr(self, name), minimum=0.0))

    @classmethod
    def modelled(cls, machine: SimdEngine, act_format: str, weight_format: str) -> Self:
        """Return the prices of the committed table for a pair of formats, with or without gating as `machine` has it.

        Raises
        ------
        InvalidValueError
            The machine lacks a format.

        Examples
        --------
        >>> from tetrit.hardware import SimdEngine
        >>> from tetrit.sim.cost import SimdPrices
        >>> prices = SimdPrices.modelled(SimdEngine(rows=4, cols=4), "fp4_e2m1", "fp4_e2m1")
        >>> prices.element_idle_pj < prices.element_step_pj
        True
        """
        machine.mode(act_format, weight_format)
        table = _table()
        wanted = machine.gating, act_format, weight_format
        row = next(row for row in table["price"] if (row["gating"], row["act_format"], row["weight_format"]) == wanted)
        return cls(
            element_step_pj=row["element_step"],
            element_idle_pj=row["element_idle"],
            readout_pj=row["readout"],
            readout_idle_pj=row["readout_idle"],
            source=table["source"],
        )

    def breakdown(self, events: Mapping[str, int], machine: SimdEngine) -> dict[str, float]:
        """Return the energy in pJ by component of `events` on `machine`: elements, read-outs, and priced memories."""
        without = events.get("element_gated", 0) + events.get("element_idle", 0)
        words = {
            "weight memory": events["weight_read_word"]
            * machine.weight_word_bits
            * machine.weight_memory.read_pj_per_bit,
            "activation memory": events["act_read_word"] * machine.act_word_bits * machine.act_memory.read_pj_per_bit,
            "result memory": events["result_write_word"]
            * machine.result_word_bits
            * machine.result_memory.write_pj_per_bit,
        }
        resting = events["cycles"] * machine.cols - events["readout"]
        return {
            "elements": events["element_step"] * self.element_step_pj + without * self.element_idle_pj,
            "read-outs": events["readout"] * self.readout_pj + resting * self.readout_idle_pj,
            **{name: energy for name, energy in words.items() if energy},
        }


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads((resources.files("tetrit.sim.cost") / "simd_sg13g2.toml").read_text(encoding="utf-8"))
