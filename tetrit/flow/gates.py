"""The machine in gates: what is synthesised for a run, its area by component, and the energy of real layers on it."""

__all__ = ["Gates", "LayerEnergy"]

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from tetrit import rtl
from tetrit.hardware import ShiftArray
from tetrit.rtl import Activity, Synthesis, simulate, synthesize
from tetrit.sim.execute import LayerRun
from tetrit.sim.program import Workload
from tetrit.sim.shift import cycles, streams
from tetrit.sim.shift.tiles import tile_list
from tetrit.sim.shift.trace import port_trace

Ints = npt.NDArray[np.int64]

REQUANTIZED_SAMPLES = 4096
"""Results per layer that run through the requantiser's netlist; their mean energy prices all of them."""

_COMPONENTS = {
    "ShiftPE": "processing elements",
    "WeightDecoder": "weight decoders",
    "SZTDecoder": "weight decoders",
    "Upsizer": "gearboxes",
    "Downsizer": "gearboxes",
    "ShiftPEArray": "skew and control",
}


def _component(module: str) -> str:
    return _COMPONENTS[module.split("_")[0]]


@dataclass(frozen=True, kw_only=True)
class LayerEnergy:
    """What a layer cost in gates, and whether the gates computed it right.

    Attributes
    ----------
    breakdown_pj : mapping of str to float
        Energy by component.
    vectors, mismatches : int
        Results of the array's netlist that were compared with the golden ones, in value and cycle.
    cycles : int
        Cycles until the netlist's last result left; 0 if it gave none.
    """

    breakdown_pj: Mapping[str, float]
    vectors: int
    mismatches: int
    cycles: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Gates:
    """A machine's components, mapped to a cell library.

    Attributes
    ----------
    machine : ShiftArray
        What was synthesised.
    array, decoder, requantizer : Synthesis
        The whole array, one weight decoder, one requantiser.
    ternary : Synthesis or None
        For SZT weights: the same array with two's-complement ternary codes.
    """

    machine: ShiftArray
    array: Synthesis
    decoder: Synthesis
    requantizer: Synthesis
    ternary: Synthesis | None

    @classmethod
    def synthesise(cls, machine: ShiftArray, library: str, liberty: Path | None) -> Self:
        """Map all components of `machine` to a library."""

        def mapped(name: str, target: ShiftArray) -> Synthesis:
            return synthesize(rtl.build(name, target), library, liberty)

        ternary = machine.replace(weight_format="int2_symmetric") if machine.weight_format == "szt" else None
        return cls(
            machine=machine,
            array=mapped("ShiftPEArray", machine),
            decoder=mapped("WeightDecoder", machine),
            requantizer=mapped("Requantizer", machine),
            ternary=None if ternary is None else mapped("ShiftPEArray", ternary),
        )

    def area_um2(self) -> dict[str, float]:
        """Return the area by component; one requantiser for each column of the array."""
        area: dict[str, float] = {}
        for name, module in self.array.modules.items():
            component = _component(name)
            area[component] = area.get(component, 0.0) + module.instances * module.own_area_um2
        area["requantisers"] = self.machine.cols * self.requantizer.area_um2
        return area

    def szt_vs_ternary(self) -> dict[str, float] | None:
        """Return the areas that show what signed zeros cost, or None for other weights."""
        if self.ternary is None:
            return None
        szt, ternary = (s.modules["WeightDecoder"].total_area_um2 for s in (self.array, self.ternary))
        cols = self.machine.cols
        return {
            "szt_array_um2": self.array.area_um2,
            "ternary_array_um2": self.ternary.area_um2,
            "szt_decoder_um2": szt,
            "ternary_decoder_um2": ternary,
            "datapath_szt_um2": self.array.area_um2 - cols * szt,
            "datapath_ternary_um2": self.ternary.area_um2 - cols * ternary,
        }

    def run(self, layer: LayerRun) -> LayerEnergy:
        """Run a layer through the netlists with its real weights and activations, and count what switches."""
        machine = self.machine
        sent = streams(layer.input, layer.layer.weight, layer.layer.bias, layer.layer.mapping, machine)
        workload = Workload(m=layer.input.shape[0], k=layer.input.shape[1], n=layer.output.shape[1])
        plan = cycles.schedule(tile_list(workload, layer.layer.mapping), machine)
        activity = simulate(self.array.structure, port_trace(sent, plan, machine))
        period_ns = 1000.0 / machine.clock_mhz
        breakdown: dict[str, float] = {}
        for module, energy in activity.energy(period_ns).by_module.items():
            component = _component(module)
            breakdown[component] = breakdown.get(component, 0.0) + energy * plan.cycles
        breakdown["requantisers"] = self._requantise(layer, period_ns, plan.cycles)
        values, when = _results(activity, machine)
        count = min(len(values), len(sent.results))
        wrong = (values[:count] != sent.results[:count]).any(axis=1) | (when[:count] != plan.results[:count])
        return LayerEnergy(
            breakdown_pj=breakdown,
            vectors=len(sent.results),
            mismatches=int(wrong.sum()) + abs(len(values) - len(sent.results)),
            cycles=int(when[-1]) + 1 if len(when) else 0,
        )

    def _requantise(self, layer: LayerRun, period_ns: float, n_cycles: int) -> float:
        """Energy of all results at the mean of a sample, and leakage of every column's requantiser over the run."""
        machine = self.machine
        acc = layer.run.output.reshape(-1)
        sample = slice(0, REQUANTIZED_SAMPLES)
        shape = layer.run.output.shape
        shift_bits = (machine.acc_bits + machine.multiplier_bits).bit_length()
        fields = (
            (acc[sample], machine.acc_bits),
            (np.broadcast_to(layer.layer.multiplier, shape).reshape(-1)[sample], machine.multiplier_bits),
            (np.broadcast_to(layer.layer.shift, shape).reshape(-1)[sample], shift_bits),
            (np.full(len(acc), layer.layer.relu)[sample], 1),
        )
        payload = np.concatenate(
            [(np.asarray(v, dtype=np.int64)[:, np.newaxis] >> np.arange(n)) & 1 for v, n in fields], axis=1
        ).astype(np.uint8)
        ones = np.ones(len(payload), dtype=np.uint8)
        activity = simulate(self.requantizer.structure, {"i__payload": payload, "i__valid": ones, "o__ready": ones})
        energy = activity.energy(period_ns)
        leakage = machine.cols * energy.by_kind["leakage"] * n_cycles
        return (energy.total_pj - energy.by_kind["leakage"]) * len(acc) + leakage


def _results(activity: Activity, machine: ShiftArray) -> tuple[Ints, Ints]:
    """Return the result vectors that left a netlist, and the cycle in which the last word of each did."""
    valid = activity.outputs["results__valid"][:, 0].astype(bool)
    word_bits = machine.acc_word_bits
    words = activity.outputs["results__payload"][valid][:, :word_bits]
    count = len(words) // machine.acc_words
    vectors = words[: count * machine.acc_words].reshape(count, machine.acc_words * word_bits)
    lanes = vectors[:, : machine.acc_vector_bits].reshape(count, machine.cols, machine.acc_bits).astype(np.int64)
    place = np.left_shift(1, np.arange(machine.acc_bits, dtype=np.int64))
    place[-1] *= -1
    return lanes @ place, np.flatnonzero(valid)[machine.acc_words - 1 :: machine.acc_words][:count]
