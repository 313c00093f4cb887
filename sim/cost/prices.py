"""Energy of a run, modelled: events times energy per event."""

__all__ = ["Prices", "memory_breakdown", "shift_coefficients"]

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import numpy as np
import numpy.typing as npt

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.hardware import ShiftArray
from tetrit.sim.cost import operands
from tetrit.sim.cost.coefficients import Coefficients
from tetrit.sim.program import Mapping as Tiling
from tetrit.sim.program import Workload

_TABLE = "sg13g2.toml"
_TYPICAL_ZEROS = (0.25, 0.75)
"""Shares of zero weights that prices for unknown operands are made of; energy is taken as linear in the share."""

_LARGEST = 256
"""Rows and columns from which on an element's share is taken to stay the same (our assumption)."""

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
    def modelled(cls, machine: ShiftArray, *, coefficients: Coefficients | None = None) -> Self:
        """Return prices for operands of which nothing is known but the share of zero weights.

        Coefficients times what moves in the array for `tetrit.sim.cost.operands.typical` operands (our assumption), at
        a quarter and at three quarters of zero weights. docs/coefficients.md tells how far real operands are from them.

        Parameters
        ----------
        machine : ShiftArray
            Of any size and width.
        coefficients : Coefficients, optional
            By default those of the committed table for its weight format and dataflow.
        """
        found = shift_coefficients(machine) if coefficients is None else coefficients
        idle, zero, active = _typical(machine, found)
        return cls(
            pe_idle_pj=idle,
            pe_zero_pj=zero,
            pe_active_pj=active,
            source=f"{found.source}; operands as after a ReLU, weights normal (assumed)",
        )

    @classmethod
    def of_operands(
        cls,
        x: npt.NDArray[np.int64],
        weight: npt.NDArray[np.uint8],
        bias: npt.NDArray[np.int64],
        mapping: Tiling,
        machine: ShiftArray,
        *,
        coefficients: Coefficients | None = None,
    ) -> Self:
        """Return prices that hold for one product: its events times them are the energy of its own operands.

        Coefficients times what moves in the array for these operands, see `tetrit.sim.cost.switching.movement`, a
        sample of which is followed. docs/coefficients.md tells how far that is from the energy of the netlist.

        Parameters
        ----------
        x, weight, bias, mapping, machine
            As of `tetrit.sim.cost.switching.movement`.
        coefficients : Coefficients, optional
            As of `modelled`.

        Examples
        --------
        >>> import numpy as np
        >>> from tetrit.hardware import ShiftArray
        >>> from tetrit.sim import Mapping
        >>> from tetrit.sim.cost import Prices
        >>> weight, bias = np.full((4, 4), 1, np.uint8), np.zeros(4, np.int64)
        >>> mapping, machine = Mapping(tile_m=8, tile_k=4, tile_n=4), ShiftArray(rows=4, cols=4)
        >>> still, lively = np.full((8, 4), 85), np.tile([[85], [-86]], (4, 4))
        >>> one, other = (Prices.of_operands(x, weight, bias, mapping, machine) for x in (still, lively))
        >>> other.pe_active_pj > 2 * one.pe_active_pj
        True
        """
        from tetrit.sim.cost.switching import movement, resting  # sim.shift, which it needs, imports this file

        found = shift_coefficients(machine) if coefficients is None else coefficients
        counts = movement(x, weight, bias, mapping, machine)
        workload = Workload(m=x.shape[0], k=x.shape[1], n=weight.shape[1])
        active = workload.m * int(np.count_nonzero(machine.weights.integers[weight]))
        elements = machine.rows * machine.cols
        idle = found.energy_pj(resting(machine)) / elements
        masked = found.energy_pj({"addend": counts["addend"]}) if active else 0.0
        shared = found.energy_pj(counts) - masked - idle * counts["edge_cycle"] * elements
        zero = max(0.0, idle + shared / workload.macs)
        return cls(
            pe_idle_pj=idle,
            pe_zero_pj=zero if operands.has_zeros(machine.weights) else None,
            pe_active_pj=zero + (masked / active if active else 0.0),
            source=f"{found.source}; for the operands of this product",
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


def shift_coefficients(machine: ShiftArray) -> Coefficients:
    """Return those of the committed table for the machine's weight format and dataflow."""
    variant = {"dataflow": machine.dataflow, "weight_format": machine.weight_format}
    return Coefficients.committed(_TABLE, variant)


def _typical(machine: ShiftArray, coefficients: Coefficients) -> tuple[float, float | None, float]:
    """Return the prices of an idle cycle, of a zero weight and of another one, for typical operands."""
    alike = ShiftArray(
        rows=min(machine.rows, _LARGEST),
        cols=min(machine.cols, _LARGEST),
        act_format=machine.act_format,
        weight_format=machine.weight_format,
        acc_bits=machine.acc_bits,
        dataflow=machine.dataflow,
    )
    return _priced(alike, tuple(coefficients.pj.items()))


@lru_cache(maxsize=4096)
def _priced(machine: ShiftArray, prices: tuple[tuple[str, float], ...]) -> tuple[float, float | None, float]:
    from tetrit.sim.cost.switching import movement, resting  # sim.shift, which it needs, imports this file

    found = Coefficients(pj=dict(prices), netlist="", worst_fit=0.0, source="")
    elements = machine.rows * machine.cols
    idle = found.energy_pj(resting(machine)) / elements

    def of_mac(zeros: float) -> float:
        x, weight, bias, mapping = operands.typical(machine, zeros)
        counts = movement(x, weight, bias, mapping, machine)
        return idle + (found.energy_pj(counts) - idle * counts["edge_cycle"] * elements) / (x.size * machine.cols)

    if not operands.has_zeros(machine.weights):
        return idle, None, of_mac(0.0)
    few, many = _TYPICAL_ZEROS
    at_few, at_many = of_mac(few), of_mac(many)
    slope = (at_many - at_few) / (many - few)
    return idle, max(0.0, at_few + (1.0 - few) * slope), at_few - few * slope
