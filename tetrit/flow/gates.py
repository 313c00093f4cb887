"""The machine in gates: what is synthesised for a run, its area by component, and the energy of real layers on it."""

__all__ = ["Gates", "LayerEnergy"]

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from tetrit import rtl
from tetrit.errors import InvalidValueError
from tetrit.hardware import ShiftArray
from tetrit.rtl import Activity, Synthesis, simulate, synthesize
from tetrit.sim.execute import LayerRun
from tetrit.sim.program import Workload
from tetrit.sim.requantize import requantize
from tetrit.sim.shift import cycles, streams
from tetrit.sim.shift.tiles import tile_list
from tetrit.sim.shift.trace import port_trace

Ints = npt.NDArray[np.int64]

REQUANTIZER_LATENCY = 2
"""Cycles from a sum to its activation, as `rtl.Requantizer` documents."""

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
        Results of the netlists that were compared with the golden ones: the array's vectors, in value and cycle, and
        the activations of one requantiser.
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

    def check_clock(self) -> None:
        """Raise InvalidValueError if the machine's clock is faster than its slowest component."""
        slowest = max((self.array, self.requantizer), key=lambda synthesis: synthesis.delay_ns)
        limit_mhz = 1000.0 / slowest.delay_ns
        if self.machine.clock_mhz > limit_mhz:
            raise InvalidValueError(
                f"`clock_mhz` must be at most {limit_mhz:.1f}, the speed of {slowest.name} in "
                f"{slowest.technology.name}, got {self.machine.clock_mhz:g}"
            )

    def run(self, layer: LayerRun) -> LayerEnergy:
        """Run a layer through the netlists with its real weights and activations, and count what switches."""
        machine = self.machine
        sent = streams(layer.input, layer.layer.weight, layer.layer.bias, layer.layer.tiling, machine)
        workload = Workload(m=layer.input.shape[0], k=layer.input.shape[1], n=layer.output.shape[1])
        tiles = tile_list(workload, layer.layer.tiling)
        plan = cycles.schedule(tiles, machine)
        activity = simulate(self.array.structure, port_trace(sent, plan, machine))
        breakdown: dict[str, float] = {}
        for module, energy in activity.energy(1000.0 / machine.clock_mhz).by_module.items():
            component = _component(module)
            breakdown[component] = breakdown.get(component, 0.0) + energy * plan.cycles
        values, when = _results(activity, machine)
        count = min(len(values), len(sent.results))
        wrong = (values[:count] != sent.results[:count]).any(axis=1) | (when[:count] != plan.results[:count])
        finished = np.repeat(tiles.k_start + tiles.k_size == workload.k, tiles.m_size)
        columns = min(machine.cols, workload.n)
        column = np.repeat(tiles.n_start, tiles.m_size)[finished]
        breakdown["requantisers"], requantised_wrong = self._requantise(
            layer, sent.results[finished, 0], column, plan.results[finished], plan.cycles, columns
        )
        return LayerEnergy(
            breakdown_pj=breakdown,
            vectors=len(sent.results) + len(column),
            mismatches=int(wrong.sum()) + abs(len(values) - len(sent.results)) + requantised_wrong,
            cycles=int(when[-1]) + 1 if len(when) else 0,
        )

    def _requantise(
        self, layer: LayerRun, acc: Ints, column: Ints, when: Ints, n_cycles: int, columns: int
    ) -> tuple[float, int]:
        """Return the energy of all requantisers, and the wrong results of the one that was simulated.

        The requantiser of the array's first column runs with that column's sums in their cycles; every other column in
        use is taken to cost the same, one that is not in use its clock and leakage.
        """
        machine = self.machine
        compiled = layer.layer
        shift_bits = (machine.acc_bits + machine.multiplier_bits).bit_length()
        fields = (
            (acc, machine.acc_bits),
            (compiled.multiplier[column], machine.multiplier_bits),
            (compiled.shift[column], shift_bits),
            (np.full(len(acc), compiled.relu), 1),
        )
        bits = np.concatenate(
            [(np.asarray(v, dtype=np.int64)[:, np.newaxis] >> np.arange(n)) & 1 for v, n in fields], axis=1
        ).astype(np.uint8)
        valid = np.zeros(n_cycles + REQUANTIZER_LATENCY, dtype=np.uint8)
        valid[when] = 1
        latest = np.maximum(np.cumsum(valid, dtype=np.int64) - 1, 0)
        inputs = {"i__payload": bits[latest], "i__valid": valid, "o__ready": np.ones_like(valid)}
        activity = simulate(self.requantizer.structure, inputs)
        given = activity.value("o__payload", signed=True)[activity.value("o__valid") == 1]
        wanted = requantize(
            acc, compiled.multiplier[column], compiled.shift[column], out_format=machine.act_format, relu=compiled.relu
        )
        count = min(len(given), len(wanted))
        wrong = int((given[:count] != wanted[:count]).sum()) + abs(len(given) - len(wanted))
        energy = activity.energy(1000.0 / machine.clock_mhz)
        idle_pj = energy.by_kind["clock"] + energy.by_kind["leakage"]
        return n_cycles * (columns * energy.total_pj + (machine.cols - columns) * idle_pj), wrong


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
