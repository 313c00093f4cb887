"""Energy per event of the SIMD engine, from the switching of its mapped element and read-out on synthetic operands."""

__all__ = ["element_trace", "idle_energy", "prices", "readout_energy", "step_energy", "to_toml"]

from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit import checks, formats
from tetrit.hardware import SimdEngine
from tetrit.hardware.simd_engine import SIMD_FORMATS
from tetrit.rtl import SimdMac, SimdReadout, Synthesis, simulate, synthesize
from tetrit.rtl.simd.modes import FORMAT_CODES

REFERENCE = SimdEngine(rows=1, cols=1)
"""The engine of the committed table, with and without gating."""

_WORDS, _TERMS, _WARMUP = 2000, 64, 8
"""Words of a trace, words of each sum, and cycles before the count begins."""

_SPREAD = {"fp4_e2m1": 1.5}
"""Standard deviation of operands: a quarter of FP4's largest value; 1 for posits, which are finest there."""


def _values(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return codes of normally distributed operands."""
    drawn = rng.normal(0.0, _SPREAD.get(name, 1.0), shape)
    return formats.get(name).encode(drawn).astype(np.int64)


def element_trace(
    machine: SimdEngine, act_format: str, weight_format: str, *, seed: int = 0
) -> dict[str, npt.NDArray[Any]]:
    """Return what `SimdMac` is fed: a step in every cycle, sums of 64 words, the formats held.

    Operands are normally distributed and independent, with a standard deviation of 1, for FP4 of 1.5 (our assumption).
    """
    rng = np.random.default_rng(checks.integer("seed", seed, minimum=0))
    mode = machine.mode(act_format, weight_format)
    places = np.arange(mode.lanes) * (machine.port_bits // mode.lanes)

    def words(name: str) -> npt.NDArray[np.int64]:
        packed: npt.NDArray[np.int64] = (_values(name, (_WORDS, mode.lanes), rng) << places).sum(axis=1)
        return packed

    selectors = FORMAT_CODES[act_format] | FORMAT_CODES[weight_format] << 2
    return {
        "enable": np.ones(_WORDS, dtype=np.uint8),
        "mode": np.full(_WORDS, selectors),
        "act_in": words(act_format),
        "weight_in": words(weight_format),
        "valid_in": np.ones(_WORDS, dtype=np.uint8),
        "last_in": (np.arange(_WORDS) % _TERMS == _TERMS - 1).astype(np.uint8),
    }


def step_energy(element: Synthesis, machine: SimdEngine, act_format: str, weight_format: str) -> float:
    """Return the energy in pJ of one step of an element on a pair of formats."""
    activity = simulate(element.structure, element_trace(machine, act_format, weight_format), n_warmup=_WARMUP)
    return activity.energy(1000.0 / machine.clock_mhz).total_pj


def idle_energy(part: Synthesis, machine: SimdEngine) -> float:
    """Return the energy in pJ of a cycle in which an element or a read-out is enabled and given nothing new."""
    activity = simulate(part.structure, {"enable": np.ones(64, dtype=np.uint8)}, n_warmup=_WARMUP)
    return activity.energy(1000.0 / machine.clock_mhz).total_pj


def readout_energy(readout: Synthesis, machine: SimdEngine, act_format: str, weight_format: str) -> float:
    """Return the energy in pJ of one result, rounded to the activations' format: sums of 64 words and a bias."""
    rng = np.random.default_rng(0)
    mode = machine.mode(act_format, weight_format)
    act, weight = formats.get(act_format), formats.get(weight_format)
    count = 256
    factors = [
        fmt.integers[_values(fmt.name, (count, _TERMS, mode.lanes), rng)].astype(object) for fmt in (act, weight)
    ]
    sums = (factors[0] * factors[1]).sum(axis=1)
    width = mode.lane_quire_bits
    quires = [sum((int(total) % (1 << width)) << (lane * width) for lane, total in enumerate(row)) for row in sums]
    bias = [int(row[0]) for row in sums[::-1]]
    selectors = FORMAT_CODES[act_format] | FORMAT_CODES[weight_format] << 2 | FORMAT_CODES[act_format] << 4
    inputs = {
        "enable": np.ones(count, dtype=np.uint8),
        "mode": np.full(count, selectors),
        "quires": _bits(quires, machine.quire_bits),
        "bias": _bits(bias, machine.quire_bits),
    }
    activity = simulate(readout.structure, inputs, n_warmup=_WARMUP)
    return activity.energy(1000.0 / machine.clock_mhz).total_pj


def _bits(integers: list[int], width: int) -> npt.NDArray[np.uint8]:
    """Return two's complement bits of integers, bit 0 first."""
    return np.array([[integer >> bit & 1 for bit in range(width)] for integer in integers], dtype=np.uint8)


def prices(library: str = "sg13g2") -> list[dict[str, Any]]:
    """Return rows of the price table: of each pair of formats, with and without gating, in pJ.

    ``element_step`` is a step of an element, ``readout`` a result; ``element_idle`` and ``readout_idle`` are a cycle of
    either without one, the same for all pairs.
    """
    readout = synthesize(SimdReadout(REFERENCE), library)
    resting = idle_energy(readout, REFERENCE)
    rows = []
    for gating in (True, False):
        machine = REFERENCE.replace(gating=gating)
        element = synthesize(SimdMac(machine), library)
        idle = idle_energy(element, machine)
        for act in SIMD_FORMATS:
            for weight in SIMD_FORMATS:
                rows.append(
                    {
                        "gating": gating,
                        "act_format": act,
                        "weight_format": weight,
                        "element_step": step_energy(element, machine, act, weight),
                        "element_idle": idle,
                        "readout": readout_energy(readout, machine, act, weight),
                        "readout_idle": resting,
                    }
                )
    return rows


def to_toml(library: str = "sg13g2") -> str:
    """Return the table as `tetrit.sim.cost` reads it."""
    import tomli_w

    source = (
        f"tetrit characterise --machine simd: SimdMac and SimdReadout mapped to {library}, zero-delay toggles of the "
        "netlists on synthetic operands; without the array's skew registers and control; see tetrit.flow.simd_energy"
    )
    rows = [
        {name: round(entry, 5) if isinstance(entry, float) else entry for name, entry in row.items()}
        for row in prices(library)
    ]
    reference = {"quire_bits": REFERENCE.quire_bits, "clock_mhz": REFERENCE.clock_mhz}
    return tomli_w.dumps({"source": source, "reference": reference, "price": rows})
