"""Energy of a run on the SIMD engine, modelled: events times energy per event."""

__all__ = ["SimdPrices", "simd_coefficients"]

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import numpy.typing as npt

from tetrit import checks
from tetrit.hardware.simd_engine import SimdEngine
from tetrit.sim.cost import operands
from tetrit.sim.cost.coefficients import Coefficients

_TABLE = "simd_sg13g2.toml"
_TYPICAL = SimdEngine(rows=8, cols=8)


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
    edge_pj : float
        A cycle of the array's skew registers, gearboxes and control.

    Notes
    -----
    The committed table was fitted to the mapped netlists of an element and a read-out, see `tetrit.flow.simd_energy`:
    at 128 bits of quire, all four formats, 100 MHz. It is used for every machine as it is (our assumption). What is
    outside elements and read-outs is priced by the bits of its registers, whatever they hold.
    """

    element_step_pj: float
    element_idle_pj: float
    readout_pj: float
    readout_idle_pj: float
    source: str
    edge_pj: float = 0.0

    def __post_init__(self) -> None:
        for name in ("element_step_pj", "element_idle_pj", "readout_pj", "readout_idle_pj", "edge_pj"):
            object.__setattr__(self, name, checks.real(name, getattr(self, name), minimum=0.0))

    @classmethod
    def modelled(
        cls, machine: SimdEngine, act_format: str, weight_format: str, *, coefficients: Coefficients | None = None
    ) -> Self:
        """Return prices for operands of which nothing is known but their formats.

        Coefficients times what moves for `tetrit.sim.cost.operands.typical_simd` operands (our assumption).
        docs/coefficients.md tells how far real operands are from them.

        Parameters
        ----------
        machine : SimdEngine
            With or without gating.
        act_format, weight_format : str
            Formats of the machine.
        coefficients : Coefficients, optional
            By default those of the committed table for the pair of formats.

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
        found = simd_coefficients(machine, act_format, weight_format) if coefficients is None else coefficients
        return cls(
            **_typical(machine.gating, act_format, weight_format, tuple(found.pj.items())),
            source=f"{found.source}; activations as after a ReLU, weights normal (assumed)",
            edge_pj=_edge(machine, found),
        )

    @classmethod
    def of_operands(
        cls,
        acts: npt.NDArray[Any],
        weight: npt.NDArray[Any],
        machine: SimdEngine,
        act_format: str,
        weight_format: str,
        *,
        coefficients: Coefficients | None = None,
    ) -> Self:
        """Return prices that hold for one product: those of what moves for its own operands, a sample of them.

        Parameters
        ----------
        acts, weight : ndarray of int, shapes (m, k), (k, n)
            Codes.
        machine, act_format, weight_format, coefficients
            As of `modelled`.

        Examples
        --------
        >>> import numpy as np
        >>> from tetrit.hardware import SimdEngine
        >>> from tetrit.sim.cost import SimdPrices
        >>> machine, pair = SimdEngine(rows=2, cols=2), ("fp4_e2m1", "fp4_e2m1")
        >>> weight = np.tile([[7], [15], [1], [9]], (16, 4))
        >>> none, some = np.zeros((4, 64), int), np.tile([7, 0, 3, 15, 1, 6, 9, 2], (4, 8))
        >>> prices = [SimdPrices.of_operands(acts, weight, machine, *pair).element_step_pj for acts in (none, some)]
        >>> prices[1] > 1.5 * prices[0]
        True
        """
        machine.mode(act_format, weight_format)
        found = simd_coefficients(machine, act_format, weight_format) if coefficients is None else coefficients
        return cls(
            **_priced(acts, weight, machine, act_format, weight_format, found),
            source=f"{found.source}; for the operands of this product",
            edge_pj=_edge(machine, found),
        )

    def breakdown(self, events: Mapping[str, int], machine: SimdEngine) -> dict[str, float]:
        """Return the energy in pJ of `events` on `machine` by component: elements, read-outs, the rest, memories."""
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
            **({"skew and control": events["cycles"] * self.edge_pj} if self.edge_pj else {}),
            **{name: energy for name, energy in words.items() if energy},
        }


def simd_coefficients(machine: SimdEngine, act_format: str, weight_format: str) -> Coefficients:
    """Return those of the committed table for a pair of formats, with the machine's gating or without."""
    variant = {"gating": machine.gating, "act_format": act_format, "weight_format": weight_format}
    return Coefficients.committed(_TABLE, variant)


def _edge(machine: SimdEngine, coefficients: Coefficients) -> float:
    from tetrit.sim.cost.simd_switching import edge_bits  # sim.simd, which it needs, imports this file

    return coefficients.energy_pj({"edge_cycle": 1.0, "edge_clock": edge_bits(machine)})


@lru_cache(maxsize=1024)
def _typical(
    gating: bool, act_format: str, weight_format: str, prices: tuple[tuple[str, float], ...]
) -> dict[str, float]:
    found = Coefficients(pj=dict(prices), netlist="", worst_fit=0.0, source="")
    codes = operands.typical_simd(act_format, weight_format)
    return _priced(*codes, _TYPICAL.replace(gating=gating), act_format, weight_format, found)


def _priced(
    acts: npt.NDArray[Any],
    weight: npt.NDArray[Any],
    machine: SimdEngine,
    act_format: str,
    weight_format: str,
    coefficients: Coefficients,
) -> dict[str, float]:
    """Return the four prices for operands."""
    # sim.simd, which it needs, imports this file
    from tetrit.sim.cost.simd_switching import drained, element_movement, readout_movement, sampled

    mode = machine.mode(act_format, weight_format)
    steps = element_movement(sampled(acts, weight, mode, machine), gating=machine.gating)
    quires = drained(acts, weight, mode, machine)
    results = {f"readout_{name}": n for name, n in readout_movement(quires, [0] * len(quires), mode).items()}
    return {
        "element_step_pj": coefficients.energy_pj(steps) / steps["step"],
        "element_idle_pj": coefficients.energy_pj({"element_idle": 1.0}),
        "readout_pj": coefficients.energy_pj(results) / results["readout_result"],
        "readout_idle_pj": coefficients.energy_pj({"readout_idle": 1.0}),
    }
