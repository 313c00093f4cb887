"""Energy per event of shift arrays, from the switching of their mapped netlists on synthetic operands."""

__all__ = ["characterise", "table", "to_toml"]

from collections.abc import Iterator

import numpy as np

from tetrit import checks, rtl
from tetrit.hardware import DATAFLOWS, WEIGHT_FORMATS, ShiftArray
from tetrit.rtl import Synthesis, simulate, synthesize
from tetrit.sim.program import Mapping, Workload
from tetrit.sim.shift import cycles, streams
from tetrit.sim.shift.tiles import tile_list
from tetrit.sim.shift.trace import port_trace

VECTORS = 256
REFERENCE = ShiftArray(rows=8, cols=8)
"""The array of the committed table, in every dataflow and weight format."""


def characterise(machine: ShiftArray, array: Synthesis, *, seed: int = 0) -> dict[str, float]:
    """Return the energy in pJ of ``pe_idle``, ``pe_zero`` and ``pe_active``, edge of the array included.

    Three measurements: the array clocked with nothing to do; one tile of weights that are all zero; one of weights that
    are all nonzero. Each event's price is what is left after the idle cycles are taken off, per processing element and
    cycle. A format without zeros has no ``pe_zero``.

    Operands (our assumption): activations as after a ReLU, half of them 0, the others half-normal with a standard
    deviation of a quarter of the range; weights uniform over the codes; biases normal with that of one activation.

    Parameters
    ----------
    machine : ShiftArray
        The array.
    array : Synthesis
        Of its `ShiftPEArray`.
    seed : int
        Of the operands.

    Returns
    -------
    dict of str to float
        By event.
    """
    checks.integer("seed", seed, minimum=0)
    period_ns = 1000.0 / machine.clock_mhz
    elements = machine.rows * machine.cols
    still = {"results__ready": np.ones(64, dtype=np.uint8)}
    prices = {"pe_idle": simulate(array.structure, still).energy(period_ns).total_pj / elements}
    integers = machine.weights.integers
    usable = ~np.isnan(machine.weights.values)
    top = int(machine.activations.integers.max())
    for event, chosen in (("pe_zero", usable & (integers == 0)), ("pe_active", usable & (integers != 0))):
        if not chosen.any():
            continue
        rng = np.random.default_rng(seed)
        stationary = machine.dataflow == "weight_stationary"
        m, k = (VECTORS, machine.rows) if stationary else (machine.rows, VECTORS)
        acts = np.minimum(np.abs(rng.normal(0, top / 4, (m, k))).astype(np.int64), top) * rng.integers(0, 2, (m, k))
        weight = rng.choice(np.flatnonzero(chosen), size=(k, machine.cols)).astype(np.uint8)
        bias = rng.normal(0, top / 4, machine.cols).astype(np.int64)
        mapping = Mapping(tile_m=m, tile_k=k, tile_n=machine.cols)
        sent = streams(acts, weight, bias, mapping, machine)
        plan = cycles.schedule(tile_list(Workload(m=m, k=k, n=machine.cols), mapping), machine)
        total = simulate(array.structure, port_trace(sent, plan, machine)).energy(period_ns).total_pj * plan.cycles
        macs = m * k * machine.cols
        prices[event] = (total - prices["pe_idle"] * (plan.cycles * elements - macs)) / macs
    return prices


def table(library: str = "sg13g2") -> Iterator[tuple[str, str, dict[str, float]]]:
    """Yield (dataflow, weight format, energy by event) of the reference array in every variant."""
    for dataflow in DATAFLOWS:
        for weight_format in WEIGHT_FORMATS:
            machine = REFERENCE.replace(dataflow=dataflow, weight_format=weight_format)
            yield (
                dataflow,
                weight_format,
                characterise(machine, synthesize(rtl.build("ShiftPEArray", machine), library)),
            )


def to_toml(library: str = "sg13g2") -> str:
    """Return the table as `tetrit.sim.cost` reads it."""
    import tomli_w

    source = (
        f"tetrit characterise: {REFERENCE.rows} x {REFERENCE.cols} arrays mapped to {library}, zero-delay "
        "toggles of the netlist on synthetic operands; see tetrit.flow.characterise"
    )
    prices = [
        {"dataflow": dataflow, "weight_format": weight_format} | {event: round(pj, 5) for event, pj in energies.items()}
        for dataflow, weight_format, energies in table(library)
    ]
    reference = {name: getattr(REFERENCE, name) for name in ("rows", "cols", "act_format", "acc_bits", "clock_mhz")}
    return tomli_w.dumps({"source": source, "reference": reference, "price": prices})
