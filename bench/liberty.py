"""Straight lines and single energies beside a library's full tables, on the same mapped netlists and activity.

Run it as ``python bench/liberty.py [FILE.lib]``: by default it takes OSU's 0.18 um library, which ``tools/osu018.sh``
fetches out of Debian's package. Each design is mapped and simulated once; its energy and critical path are then
computed by the full tables (each output at its load, each pin at its transition) and by their reduction (single
energies, and lines at 50 ps). It prints the table of docs/energy.md and writes build/bench/liberty.json.
"""

import argparse
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from _common import write
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tetrit import hardware, rtl
from tetrit.flow.simd_energy import element_trace
from tetrit.rtl import Synthesis, simulate, synthesize
from tetrit.rtl.energy import cell_energies_fj
from tetrit.rtl.flat import flatten
from tetrit.rtl.timing import analyse

OSU018 = Path(".venv/osu018/osu018_stdcells.lib")
SIMD_FORMAT = "posit8_0"
PERIOD_NS = 10.0
N_CYCLES = 400
QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)
Inputs = dict[str, Any] | None


class Counter(wiring.Component):
    """Eight bits that count up."""

    enable: In(1)
    count: Out(8)

    def elaborate(self, platform: object) -> Module:
        """Return the logic."""
        m = Module()
        with m.If(self.enable):
            m.d.sync += self.count.eq(self.count + 1)
        return m


@dataclass(frozen=True, kw_only=True)
class Row:
    """One design: energy per cycle and critical path by full tables, and those of the reduction over these."""

    name: str
    cells: int
    energy_pj: float
    energy_ratio: float
    module_ratios: list[float]
    cell_ratios: list[float]
    delay_ns: float
    delay_ratio: float


def designs() -> Iterator[tuple[str, wiring.Component, Inputs]]:
    """Yield names, designs and what they are fed; None for random bits, enables and handshakes at 1."""
    shift, simd = hardware.load("shift_16x16"), hardware.load("simd_8x8")
    yield "8-bit counter", Counter(), None
    yield "SZT decoder", rtl.build("SZTDecoder", shift), None
    yield "shift PE", rtl.build("ShiftPE", shift), None
    yield "SIMD MAC", rtl.build("SimdMac", simd), element_trace(simd, SIMD_FORMAT, SIMD_FORMAT)
    yield "shift array, 16 x 16", rtl.build("ShiftPEArray", shift), None


def random_inputs(result: Synthesis, n_cycles: int) -> dict[str, Any]:
    rng = np.random.default_rng(7)
    inputs = {}
    for name, nets in flatten(result.structure).inputs.items():
        if name not in ("clk", "rst"):
            held = name.rpartition("__")[2] in ("valid", "ready", "enable")
            inputs[name] = np.full((n_cycles, len(nets)), 1) if held else rng.integers(0, 2, (n_cycles, len(nets)))
    return inputs


def compare(name: str, component: wiring.Component, inputs: Inputs, liberty: Path, n_cycles: int) -> Row:
    result = synthesize(component, liberty=liberty)
    lines = replace(result.structure, technology=result.technology.replace(tables=()))
    inputs = random_inputs(result, n_cycles) if inputs is None else inputs
    full = simulate(result.structure, inputs, n_warmup=n_cycles // 10)
    small = replace(full, flat=flatten(lines))
    energy, reduced = full.energy(PERIOD_NS), small.energy(PERIOD_NS)
    counts = (full.toggles, full.ticks, full.clock_of)
    per_cell = [sum(cell_energies_fj(activity.flat, *counts)) for activity in (small, full)]
    seen = per_cell[1] > 0
    timing, straight = analyse(full.flat), analyse(small.flat)
    return Row(
        name=name,
        cells=full.flat.n_cells,
        energy_pj=energy.total_pj,
        energy_ratio=reduced.total_pj / energy.total_pj,
        module_ratios=sorted(reduced.by_module[module] / fj for module, fj in energy.by_module.items() if fj > 0),
        cell_ratios=np.quantile(per_cell[0][seen] / per_cell[1][seen], QUANTILES).tolist(),
        delay_ns=timing.delay_ns,
        delay_ratio=straight.delay_ns / timing.delay_ns,
    )


def line(row: Row) -> str:
    modules = f"{row.module_ratios[0]:.3f} to {row.module_ratios[-1]:.3f}"
    least, low, _, high, most = row.cell_ratios
    return (
        f"| {row.name} | {row.cells:,} | {row.energy_pj:,.2f} | {row.energy_ratio:.3f} | {modules} | "
        f"{low:.2f} to {high:.2f} | {least:.2f} to {most:.2f} | {row.delay_ns:.2f} | {row.delay_ratio:.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("liberty", type=Path, nargs="?", default=OSU018, metavar="FILE.lib")
    parser.add_argument("--cycles", type=int, default=N_CYCLES)
    args = parser.parse_args()
    ratios = "ratio, design | modules | 90 % of cells | all cells | path, ns | ratio, path"
    print(f"| design | cells | pJ a cycle | {ratios} |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    rows = []
    for name, component, inputs in designs():
        rows.append(compare(name, component, inputs, args.liberty, args.cycles))
        print(line(rows[-1]), flush=True)
    write("liberty", {"library": args.liberty.name, "designs": [asdict(row) for row in rows]})


if __name__ == "__main__":
    main()
