"""The authority for the SIMD engine's coefficients: what its mapped element and read-out take, and the fit of it."""

__all__ = [
    "N_STEPS",
    "STIMULI",
    "SimdStimulus",
    "element_trace",
    "idle_energy",
    "measure_element",
    "measure_readout",
    "step_activity",
    "step_energy",
    "table",
    "to_toml",
]

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit import checks, formats
from tetrit.flow.simd_array import measure_array
from tetrit.flow.stimuli import netlist_of, weighted_fit
from tetrit.hardware import SimdEngine
from tetrit.hardware.simd_engine import SIMD_FORMATS
from tetrit.rtl import Activity, SimdMac, SimdReadout, Synthesis, load_technology, simulate, synthesize
from tetrit.rtl.simd.array import SimdArray
from tetrit.rtl.simd.modes import FORMAT_CODES
from tetrit.sim.cost.operands import SIMD_SPREAD
from tetrit.sim.cost.simd_switching import Words, drained, edge_bits, element_movement, readout_movement, sampled

REFERENCE = SimdEngine(rows=1, cols=1)
"""The engine of the committed table, with and without gating."""

EDGE_REFERENCES = (SimdEngine(rows=2, cols=2), SimdEngine(rows=4, cols=4))
"""The arrays whose skew registers and control are measured."""

N_STEPS = 1 + 2 * len(SIMD_FORMATS) ** 2
"""How often `table` tells what has been done."""

_WORDS, _TERMS, _WARMUP = 2000, 64, 8
"""Words of a trace, words of each sum, and cycles before the count begins."""

Codes = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class SimdStimulus:
    """Random operands of a product.

    Attributes
    ----------
    name : str
        What they are called.
    terms, vectors, outputs : int
        Shape of the product.
    act_zeros, weight_zeros : float
        Shares of zeros.
    signed : bool
        Whether activations have signs; half-normal otherwise.
    positive_weights : bool
        Whether weights have none.
    act_spread, weight_spread : float
        Standard deviation, as a multiple of `tetrit.sim.cost.operands.SIMD_SPREAD`.
    even : bool
        Whether codes are drawn evenly instead.
    """

    name: str
    terms: int = 64
    vectors: int = 16
    outputs: int = 16
    act_zeros: float = 0.5
    weight_zeros: float = 0.0
    signed: bool = False
    positive_weights: bool = False
    act_spread: float = 1.0
    weight_spread: float = 1.0
    even: bool = False

    def operands(self, act_format: str, weight_format: str, seed: int) -> tuple[Codes, Codes]:
        """Return codes of activations and of weights."""
        rng = np.random.default_rng([seed, STIMULI.index(self)])
        drawn = []
        for name, shape, zeros, spread, signed in (
            (act_format, (self.vectors, self.terms), self.act_zeros, self.act_spread, self.signed),
            (
                weight_format,
                (self.terms, self.outputs),
                self.weight_zeros,
                self.weight_spread,
                not self.positive_weights,
            ),
        ):
            fmt = formats.get(name)
            values = rng.normal(0.0, spread * SIMD_SPREAD.get(name, 1.0), shape)
            if self.even:
                values = fmt.values[rng.choice(np.flatnonzero(~np.isnan(fmt.values)), shape)]
            values = (values if signed else np.abs(values)) * (rng.random(shape) >= zeros)
            drawn.append(fmt.encode(values).astype(np.int64))
        return drawn[0], drawn[1]


STIMULI: tuple[SimdStimulus, ...] = (
    SimdStimulus(name="rectified"),
    SimdStimulus(name="rectified, large", act_spread=4.0),
    SimdStimulus(name="rectified, small", act_spread=0.25, weight_spread=0.25),
    SimdStimulus(name="rectified, small weights", weight_spread=0.125),
    SimdStimulus(name="signed", act_zeros=0.0, signed=True),
    SimdStimulus(name="signed, small", act_zeros=0.0, signed=True, act_spread=0.25, weight_spread=0.25),
    SimdStimulus(name="positive", act_zeros=0.0, positive_weights=True),
    SimdStimulus(name="positive, small", act_zeros=0.0, act_spread=0.25, weight_spread=0.5),
    SimdStimulus(name="sparse", act_zeros=0.9),
    SimdStimulus(name="few weights", weight_zeros=0.8),
    SimdStimulus(name="few of both", act_zeros=0.8, weight_zeros=0.5),
    SimdStimulus(name="all codes", act_zeros=0.0, signed=True, even=True),
    SimdStimulus(name="all codes, rectified", even=True),
    SimdStimulus(name="short sums", terms=8),
    SimdStimulus(name="short sums, signed", terms=8, act_zeros=0.0, signed=True),
    SimdStimulus(name="long sums", terms=512),
    SimdStimulus(name="three quarters zero, large", act_zeros=0.75, act_spread=2.0, weight_spread=0.5),
)
"""Operands, none of them of any network."""


def _values(name: str, shape: tuple[int, ...], rng: np.random.Generator, spread: float) -> Codes:
    """Return codes of normally distributed operands."""
    drawn = rng.normal(0.0, spread * SIMD_SPREAD.get(name, 1.0), shape)
    return formats.get(name).encode(drawn).astype(np.int64)


def element_trace(
    machine: SimdEngine, act_format: str, weight_format: str, *, seed: int = 0, spread: float = 1.0
) -> dict[str, npt.NDArray[Any]]:
    """Return what `SimdMac` is fed: a step in every cycle, sums of 64 words, the formats held.

    Operands are normally distributed and independent, with a standard deviation of 1, for FP4 of 1.5 (our assumption),
    times `spread`.
    """
    rng = np.random.default_rng(checks.integer("seed", seed, minimum=0))
    mode = machine.mode(act_format, weight_format)
    shape = (_WORDS, mode.lanes)
    words = Words(
        acts=_values(act_format, shape, rng, spread),
        weights=_values(weight_format, shape, rng, spread),
        last=np.arange(_WORDS) % _TERMS == _TERMS - 1,
        mode=mode,
    )
    return _trace(words)


def _trace(words: Words) -> dict[str, npt.NDArray[Any]]:
    mode, count = words.mode, len(words.last)
    places = np.arange(mode.lanes) * (REFERENCE.port_bits // mode.lanes)
    return {
        "enable": np.ones(count, dtype=np.uint8),
        "mode": np.full(count, _selectors(words)),
        "act_in": (words.acts << places).sum(axis=1),
        "weight_in": (words.weights << places).sum(axis=1),
        "valid_in": np.ones(count, dtype=np.uint8),
        "last_in": words.last.astype(np.uint8),
    }


def _selectors(words: Words) -> int:
    return FORMAT_CODES[words.mode.act_format] | FORMAT_CODES[words.mode.weight_format] << 2


def step_energy(
    element: Synthesis, machine: SimdEngine, act_format: str, weight_format: str, *, spread: float = 1.0
) -> float:
    """Return the energy in pJ of one step of an element on a pair of formats; `spread` as of `element_trace`."""
    return _energy(element, machine, element_trace(machine, act_format, weight_format, spread=spread))


def step_activity(element: Synthesis, machine: SimdEngine, act_format: str, weight_format: str) -> Activity:
    """Return what moves in an element in those steps."""
    return simulate(element.structure, element_trace(machine, act_format, weight_format), n_warmup=_WARMUP)


def idle_energy(part: Synthesis, machine: SimdEngine) -> float:
    """Return the energy in pJ of a cycle in which an element or a read-out is enabled and given nothing new."""
    return _energy(part, machine, {"enable": np.ones(64, dtype=np.uint8)})


def measure_element(element: Synthesis, machine: SimdEngine, words: Words) -> float:
    """Return the energy in pJ of the steps in which an element takes these words, one in every cycle."""
    return len(words.last) * _energy(element, machine, _trace(words))


def measure_readout(
    readout: Synthesis, machine: SimdEngine, words: Words, quires: Sequence[Sequence[int]], bias: Sequence[int]
) -> float:
    """Return the energy in pJ of results, one in every cycle, rounded to the activations' format."""
    width = words.mode.lane_quire_bits
    packed = [sum((int(total) % (1 << width)) << lane * width for lane, total in enumerate(row)) for row in quires]
    count = len(packed)
    inputs = {
        "enable": np.ones(count, dtype=np.uint8),
        "mode": np.full(count, _selectors(words) | FORMAT_CODES[words.mode.act_format] << 4),
        "quires": _bits(packed, machine.quire_bits),
        "bias": _bits(bias, machine.quire_bits),
    }
    return count * _energy(readout, machine, inputs)


def _energy(part: Synthesis, machine: SimdEngine, inputs: dict[str, npt.NDArray[Any]]) -> float:
    """Return the energy in pJ of a cycle, on average."""
    activity = simulate(part.structure, inputs, n_warmup=_WARMUP)
    return activity.energy(1000.0 / machine.clock_mhz).total_pj


def _bits(integers: Sequence[int], width: int) -> npt.NDArray[np.uint8]:
    """Return two's complement bits of integers, bit 0 first."""
    return np.array([[integer >> bit & 1 for bit in range(width)] for integer in integers], dtype=np.uint8)


def table(
    library: str = "sg13g2",
    liberty: Path | None = None,
    *,
    seed: int = 0,
    step: Callable[[str], None] | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield a row of the table for every pair of formats, with and without gating; as `characterise.table`."""
    readout = synthesize(SimdReadout(REFERENCE), library, liberty)
    resting = idle_energy(readout, REFERENCE)
    results = {
        (act, weight): _readout_fit(readout, act, weight, seed) for act in SIMD_FORMATS for weight in SIMD_FORMATS
    }
    edge = _edge_fit(library, liberty, seed)
    if step is not None:
        step("read-out and edge")
    for gating in (True, False):
        machine = REFERENCE.replace(gating=gating)
        element = synthesize(SimdMac(machine), library, liberty)
        idle = idle_energy(element, machine)
        for (act, weight), of_results in results.items():
            pj, worst = _element_fit(element, machine, act, weight, seed)
            prices = pj | {"element_idle": idle, **of_results, "readout_idle": resting, **edge}
            yield {
                "gating": gating,
                "act_format": act,
                "weight_format": weight,
                "netlist": f"{netlist_of(element)} {netlist_of(readout)}",
                "worst_fit": round(worst, 4),
                "pj": {name: round(value, 6) for name, value in prices.items()},
            }
            if step is not None:
                step(f"{act} x {weight}, {'with' if gating else 'without'} gating")


def _element_fit(
    element: Synthesis, machine: SimdEngine, act: str, weight: str, seed: int
) -> tuple[dict[str, float], float]:
    """Return the element's prices, and the largest error of a step as a share of it."""
    mode = machine.mode(act, weight)
    counts, energies = [], []
    for stimulus in STIMULI:
        words = sampled(*stimulus.operands(act, weight, seed), mode, machine)
        counts.append(element_movement(words, gating=machine.gating))
        energies.append(measure_element(element, machine, words))
    pj = weighted_fit(list(counts[0]), counts, energies)
    errors = [
        sum(pj[name] * count[name] for name in pj) / energy - 1.0
        for count, energy in zip(counts, energies, strict=True)
    ]
    return pj, max(abs(error) for error in errors)


def _readout_fit(readout: Synthesis, act: str, weight: str, seed: int) -> dict[str, float]:
    """Return the read-out's prices."""
    machine = REFERENCE.replace(rows=16)
    mode = machine.mode(act, weight)
    counts, energies = [], []
    for place, stimulus in enumerate(STIMULI):
        acts, weights = stimulus.operands(act, weight, seed)
        quires = drained(acts, weights, mode, machine)
        bias = [int(row[0]) * (place % 2) for row in quires[::-1]]  # every other one without
        counts.append(readout_movement(quires, bias, mode))
        words = sampled(acts, weights, mode, machine)
        energies.append(measure_readout(readout, machine, words, quires, bias))
    return {f"readout_{name}": pj for name, pj in weighted_fit(list(counts[0]), counts, energies).items()}


def _edge_fit(library: str, liberty: Path | None, seed: int) -> dict[str, float]:
    """Return the prices of what is outside elements and read-outs, on small arrays with short and long sums."""
    counts, energies = [], []
    for machine in EDGE_REFERENCES:
        array = synthesize(SimdArray(machine), library, liberty)
        for name, stimulus in (
            (name, one) for name in ("fp4_e2m1", "posit16_1") for one in STIMULI[:1] + STIMULI[13:14]
        ):
            acts, weights = stimulus.operands(name, name, seed)
            run = measure_array(array, machine, acts[:8], weights[:, :8], name, name)
            assert not run.mismatches, "the netlist computes what the simulator does"
            counts.append({"edge_cycle": float(run.cycles), "edge_clock": run.cycles * edge_bits(machine)})
            energies.append(run.edge_pj)
    return weighted_fit(list(counts[0]), counts, energies)


def to_toml(
    library: str = "sg13g2", liberty: Path | None = None, *, seed: int = 0, step: Callable[[str], None] | None = None
) -> str:
    """Return the table as `tetrit.sim.cost` reads it; see `table`."""
    import tomli_w

    technology = load_technology(library, liberty)
    return tomli_w.dumps(
        {
            "source": f"tetrit characterise --machine simd: SimdMac and SimdReadout mapped to {technology.name}, "
            "zero-delay toggles of the netlists on synthetic operands; skew registers and control by their bits; see "
            "docs/coefficients.md",
            "provenance": {
                "library": f"{technology.name}, {technology.voltage_v:g} V, {technology.temperature_c:g} C",
                "arrays": " and ".join(f"{machine.rows} x {machine.cols}" for machine in EDGE_REFERENCES),
                "quire_bits": REFERENCE.quire_bits,
                "clock_mhz": REFERENCE.clock_mhz,
                "stimuli": [stimulus.name for stimulus in STIMULI],
                "seed": seed,
            },
            "coefficients": list(table(library, liberty, seed=seed, step=step)),
        }
    )
