"""The authority for the shift array's coefficients: operands, netlists that run on them, and the fit of what moved."""

__all__ = ["EDGE", "N_STEPS", "REFERENCES", "STIMULI", "Measured", "fit", "measure", "operands", "table", "to_toml"]

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit import rtl
from tetrit.flow.stimuli import Stimulus, netlist_of, weighted_fit
from tetrit.hardware import DATAFLOWS, WEIGHT_FORMATS, ShiftArray
from tetrit.rtl import Synthesis, load_technology, simulate, synthesize
from tetrit.sim.cost.switching import movement, resting
from tetrit.sim.program import Mapping as Tiling
from tetrit.sim.program import Workload
from tetrit.sim.shift import cycles, streams
from tetrit.sim.shift.tiles import tile_list
from tetrit.sim.shift.trace import port_trace

REFERENCES = (ShiftArray(rows=8, cols=8), ShiftArray(rows=3, cols=5))
"""The arrays that coefficients are fitted to, in every dataflow and weight format."""

EDGE = ("edge_cycle", "edge_clock", "edge", "gearbox", "drained")
"""What moves outside the processing elements."""

N_STEPS = len(DATAFLOWS) * len(WEIGHT_FORMATS)
"""How often `table` tells what has been done."""

_STILL_CYCLES = 64

STIMULI: tuple[Stimulus, ...] = (
    Stimulus(name="rectified"),
    Stimulus(name="rectified, long sums", vectors=16, terms=16.0),
    Stimulus(name="signed", signed=True, spread=0.25),
    Stimulus(name="signed, small", signed=True, spread=0.06),
    Stimulus(name="signed, large", signed=True, spread=1.0),
    Stimulus(name="positive", act_zeros=0.0),
    Stimulus(name="sparse", act_zeros=0.9),
    Stimulus(name="correlated", act_zeros=0.0, correlation=0.95),
    Stimulus(name="the same again", correlation=1.0),
    Stimulus(name="few weights", weight_zeros=0.8),
    Stimulus(name="few of both", act_zeros=0.8, weight_zeros=0.8),
    Stimulus(name="all weights", weight_zeros=0.0),
    Stimulus(name="positive weights", positive_weights=True),
    Stimulus(name="normal weights", normal_weights=True),
    Stimulus(name="normal weights, signed", normal_weights=True, signed=True),
    Stimulus(name="single vectors", vectors=1, terms=4.0, outputs=3.0),
    Stimulus(name="four vectors", vectors=4, terms=4.0, outputs=2.0),
)
"""Operands, none of them of any network; shapes in units of the array's rows and columns."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a netlist took for a product, and what moved in it.

    Attributes
    ----------
    counts : mapping of str to float
        As of `tetrit.sim.cost.switching.movement`.
    elements_pj, edge_pj : float
        Energy inside processing elements, and outside of them.
    """

    counts: Mapping[str, float]
    elements_pj: float
    edge_pj: float

    @property
    def total_pj(self) -> float:
        """Of the whole array."""
        return self.elements_pj + self.edge_pj


def measure(
    machine: ShiftArray,
    array: Synthesis,
    x: npt.NDArray[np.int64],
    weight: npt.NDArray[np.uint8],
    bias: npt.NDArray[np.int64],
    tiling: Tiling,
) -> Measured:
    """Run a product on the netlist of an array, and follow what moves.

    Parameters
    ----------
    machine : ShiftArray
        The array.
    array : Synthesis
        Of its `ShiftPEArray`.
    x, weight, bias, tiling
        As of `tetrit.sim.cost.switching.movement`.

    Returns
    -------
    Measured
    """
    workload = Workload(m=x.shape[0], k=x.shape[1], n=weight.shape[1])
    plan = cycles.schedule(tile_list(workload, tiling), machine)
    inputs = port_trace(streams(x, weight, bias, tiling, machine), plan, machine)
    return _measured(machine, array, inputs, movement(x, weight, bias, tiling, machine))


def _measured(
    machine: ShiftArray, array: Synthesis, inputs: Mapping[str, Any], counts: Mapping[str, float]
) -> Measured:
    n_cycles = len(inputs["results__ready"])
    energy = simulate(array.structure, inputs).energy(1000.0 / machine.clock_mhz)
    elements = sum(pj for module, pj in energy.by_module.items() if module.split("_")[0] == "ShiftPE")
    return Measured(counts=counts, elements_pj=elements * n_cycles, edge_pj=(energy.total_pj - elements) * n_cycles)


def _still(machine: ShiftArray, array: Synthesis) -> Measured:
    """Return what an array takes that is clocked and has nothing to do."""
    counts = {name: _STILL_CYCLES * bits for name, bits in resting(machine).items()}
    return _measured(machine, array, {"results__ready": np.ones(_STILL_CYCLES, dtype=np.uint8)}, counts)


def operands(
    machine: ShiftArray, stimulus: Stimulus, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8], npt.NDArray[np.int64], Tiling]:
    """Return activations, weight codes, bias and tiles of a stimulus on an array."""
    rng = np.random.default_rng([seed, STIMULI.index(stimulus)])
    terms, outputs = max(2, round(stimulus.terms * machine.rows)), round(stimulus.outputs * machine.cols)
    x = stimulus.acts(machine.activations, stimulus.vectors, terms, rng)
    weight = stimulus.weights(machine.weights, terms, outputs, rng).astype(np.uint8)
    bias = rng.normal(0, machine.activations.integers.max() / 4, outputs).astype(np.int64)
    stationary = machine.dataflow == "weight_stationary"
    tiling = Tiling(
        tile_m=stimulus.vectors if stationary else min(machine.rows, stimulus.vectors),
        tile_k=min(machine.rows, terms) if stationary else terms,
        tile_n=machine.cols,
    )
    return x, weight, bias, tiling


def fit(measured: Sequence[Measured]) -> tuple[dict[str, float], float]:
    """Return the coefficients that fit best, none below zero, and the largest error of the total as a share of it.

    Processing elements and edge are fitted apart, each by least squares of relative errors (our choice).
    """
    names = list(dict.fromkeys(name for one in measured for name in one.counts))
    inside, outside = [n for n in names if n not in EDGE], [n for n in names if n in EDGE]
    pj = weighted_fit(inside, [one.counts for one in measured], [one.elements_pj for one in measured])
    pj |= weighted_fit(outside, [one.counts for one in measured], [one.edge_pj for one in measured])
    errors = [sum(pj[n] * one.counts.get(n, 0.0) for n in names) / one.total_pj - 1.0 for one in measured]
    return pj, max(abs(error) for error in errors)


def table(
    library: str = "sg13g2",
    liberty: Path | None = None,
    *,
    seed: int = 0,
    step: Callable[[str], None] | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield a row of the table for every dataflow and weight format: its netlists, its fit, its coefficients.

    Parameters
    ----------
    library : str
        Embedded cell library.
    liberty : Path, optional
        A liberty file in its place.
    seed : int
        Of the operands.
    step : callable, optional
        Is told what has been done.
    """
    for dataflow in DATAFLOWS:
        for weight_format in WEIGHT_FORMATS:
            measured, netlists = [], []
            for reference in REFERENCES:
                machine = reference.replace(dataflow=dataflow, weight_format=weight_format)
                array = synthesize(rtl.build("ShiftPEArray", machine), library, liberty)
                netlists.append(netlist_of(array))
                measured.append(_still(machine, array))
                measured += [measure(machine, array, *operands(machine, one, seed)) for one in STIMULI]
            pj, worst = fit(measured)
            yield {
                "dataflow": dataflow,
                "weight_format": weight_format,
                "netlist": " ".join(netlists),
                "worst_fit": round(worst, 4),
                "pj": {name: round(value, 6) for name, value in pj.items()},
            }
            if step is not None:
                step(f"{dataflow}, {weight_format}")


def to_toml(
    library: str = "sg13g2", liberty: Path | None = None, *, seed: int = 0, step: Callable[[str], None] | None = None
) -> str:
    """Return the table as `tetrit.sim.cost` reads it; see `table`."""
    import tomli_w

    technology = load_technology(library, liberty)
    sizes = " and ".join(f"{machine.rows} x {machine.cols}" for machine in REFERENCES)
    reference = REFERENCES[0]
    return tomli_w.dumps(
        {
            "source": f"tetrit characterise: fitted to {sizes} arrays mapped to {technology.name}, zero-delay "
            "toggles of the netlists on synthetic operands; see docs/coefficients.md",
            "provenance": {
                "library": f"{technology.name}, {technology.voltage_v:g} V, {technology.temperature_c:g} C",
                "arrays": sizes,
                "act_format": reference.act_format,
                "acc_bits": reference.acc_bits,
                "clock_mhz": reference.clock_mhz,
                "stimuli": [stimulus.name for stimulus in STIMULI],
                "seed": seed,
            },
            "coefficients": list(table(library, liberty, seed=seed, step=step)),
        }
    )
