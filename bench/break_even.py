"""Where a crossbar takes less than digital arrays: one layer, over array size and ADC bits, at one technology node.

Run from the repository root: ``python bench/break_even.py`` (a minute); writes the tables of ``docs/analog_cost.md``
between its marks and ``docs/analog_cost.png``, the same bytes every time, and ``build/bench/break_even.json``.
``--check`` writes nothing and says whether the page is up to date.

The layer is SZT weights and int8 activations. Crossbars hold all of it at once; digital arrays take it tile by tile.
Every digital figure is of sg13g2, 130 nm, and scaled to the node of the crossbar's figures explicitly, with the bounds
of that scaling; figures at 130 nm stand beside.
"""

import argparse
import json
import math
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from analog_tables import NODE_NM, adc_table, bounds, cells_table, peripherals_table, table

from tetrit import hardware, sim
from tetrit.explore import products
from tetrit.explore.workload import Gemm, GemmWorkload
from tetrit.files import write_atomic
from tetrit.hardware import Adc, Crossbar
from tetrit.report import style
from tetrit.sim import Workload
from tetrit.sim.cost import AnalogPrices, Figure
from tetrit.sim.cost.crossbar_area import crossbar_area, total
from tetrit.sim.cost.scaling import scale

PAGE = Path("docs/analog_cost.md")
PLOT = Path("docs/analog_cost.png")
OUT = Path("build/bench/break_even.json")
DIGITAL_NM = 130.0
SIZES = (64, 128, 256, 512, 1024)
BITS = (4, 5, 6, 7, 8, 9, 10)
BATCH, N_IN, N_OUT = 64, 1024, 1024
MACS = BATCH * N_IN * N_OUT
ZEROS = 0.5
"""Of the weights; SZT with the default thresholds has about as many."""

SEED = 1
DIGITAL = (
    ("shift array, SZT x int8", "shift_16x16", None),
    ("SIMD, FP4 x FP4", "simd_8x8", "fp4_e2m1"),
    ("SIMD, Posit(4,1) x Posit(4,1)", "simd_8x8", "posit4_1"),
    ("SIMD, Posit(8,0) x Posit(8,0)", "simd_8x8", "posit8_0"),
)


@dataclass(frozen=True, kw_only=True)
class Digital:
    """A digital machine on the layer; energies of a multiply-accumulate.

    Attributes
    ----------
    name : str
    mac_pj, array_pj : Figure
        At 130 nm: with its memories, and of the array alone.
    area_mm2, array_mm2 : Figure
        The same for areas.
    gops : float
    """

    name: str
    mac_pj: Figure
    array_pj: Figure
    area_mm2: Figure
    array_mm2: Figure
    gops: float

    def scaled(self, name: str) -> Figure:
        """Return a figure at the node of the crossbar."""
        return scale(getattr(self, name), DIGITAL_NM, NODE_NM)


@dataclass(frozen=True, kw_only=True)
class Point:
    """A crossbar of one size with converters of some bits.

    Attributes
    ----------
    mac_pj : Figure
        Energy of a multiply-accumulate, activations read and results written included.
    cells_pj : float
        Of it, what cells take.
    isaac_pj : float
        Energy with the default prices, whose converters cost 2^bits in proportion.
    area_mm2 : Figure
        Of all arrays.
    gops : float
        Throughput of all of them together.
    error : float
        Root mean square of the outputs' error, over that of the outputs: of the converters alone.
    """

    mac_pj: Figure
    cells_pj: float
    isaac_pj: float
    area_mm2: Figure
    gops: float
    error: float


def machine(size: int, bits: int | None, dac_bits: int) -> Crossbar:
    """Return the preset with phase-change cells, square, for ternary weights and without errors of cells and wires."""
    preset = hardware.load_crossbar("crossbar_256_pcm")
    cell = preset.cell.replace(
        program_sigma_siemens=(), drift_mean=None, drift_sigma=None, flicker=None, thermal=False, temperature_per_k=0.0
    )
    return preset.replace(
        rows=size,
        cols=size,
        device=cell,
        weight_format="szt",
        bits_per_cell=1,
        dac_bits=dac_bits,
        adc_bits=bits,
        adc=preset.adc if bits is not None else Adc(),
        r_row_ohm=0.0,
        r_col_ohm=0.0,
        r_driver_ohm=0.0,
        r_sense_ohm=0.0,
        settle_cycles=round(preset.read_time_s * preset.clock_mhz * 1e6),  # a digit takes as long as it is integrated
    )


def codes_and_inputs() -> tuple[np.ndarray, np.ndarray]:
    """Return SZT codes with `ZEROS` zeros, and int8 inputs, normally distributed to three deviations."""
    rng = np.random.default_rng(SEED)
    zero = rng.random((N_IN, N_OUT)) < ZEROS
    sign = rng.integers(0, 2, (N_IN, N_OUT))
    codes = np.where(zero, 2 * sign, 1 + 2 * sign).astype(np.uint8)
    x = np.clip(np.rint(rng.normal(size=(BATCH, N_IN)) * 127 / 3), -127, 127).astype(np.int64)
    return codes, x


def measure(
    size: int, dac_bits: int, codes: np.ndarray, x: np.ndarray, bits_tried: tuple[int, ...]
) -> dict[int, Point]:
    """Return the points of one array size."""
    exact = sim.build(machine(size, None, dac_bits)).load(codes).matmul(x).output
    size_of, memory = float(np.sqrt((exact**2).mean())), activations_pj()
    found = {}
    for bits in bits_tried:
        target = machine(size, bits, dac_bits)
        engine = sim.build(target).load(codes).calibrate(x)
        run = engine.matmul(x, read_noise="off")
        survey = AnalogPrices.survey(target, node_nm=NODE_NM)
        parts = survey.figures_of(run.events, target, cells_pj=run.breakdown["cells"])
        layout = engine.layout
        area = total(crossbar_area(target, arrays=layout.row_arrays * layout.col_arrays, node_nm=NODE_NM))
        found[bits] = Point(
            mac_pj=total([per_mac(total(parts)), memory]),
            cells_pj=run.breakdown["cells"] / MACS,
            isaac_pj=run.energy_pj / MACS + memory.value,
            area_mm2=area,
            gops=2 * MACS / run.cycles * target.clock_mhz * 1e-3,
            error=float(np.sqrt(((run.output - exact) ** 2).mean())) / size_of,
        )
    return found


def per_mac(energy: Figure) -> Figure:
    """Return an energy in pJ for each multiply-accumulate."""
    low, high = (None if edge is None else edge / MACS for edge in (energy.low, energy.high))
    return Figure(value=energy.value / MACS, unit="pJ", origin=energy.origin, source=energy.source, low=low, high=high)


def digital() -> list[Digital]:
    """Return all digital machines on the layer."""
    work = GemmWorkload(
        name="layer", gemms=(Gemm(name="layer", workload=Workload(m=BATCH, k=N_IN, n=N_OUT)),), zeros=ZEROS
    )
    rows = []
    for name, preset, fmt in DIGITAL:
        target = hardware.load(preset)
        if fmt is None:
            found = products.shift(work, target, area_mode="table")
        else:
            found = products.simd(work, target, fmt, fmt, area_mode="table")
        energy = {part: uj * 1e6 / MACS for part, uj in found.energy_uj.items()}
        source = found.sources["energy_uj"]
        parts = {"mac_pj": energy, "array_pj": energy, "area_mm2": found.area_mm2, "array_mm2": found.area_mm2}
        figures = {
            key: Figure(
                value=sum(x for part, x in values.items() if not (key.startswith("array") and "memory" in part)),
                unit=key.split("_")[1].replace("pj", "pJ"),
                origin="modelled",
                source=source if key.endswith("pj") else "sg13g2, the tables of tetrit explore",
            )
            for key, values in parts.items()
        }
        rows.append(Digital(name=name, gops=2 * MACS / found.latency_us * 1e-3, **figures))
    return rows


def activations_pj() -> Figure:
    """Return what reading each input once and writing each result takes for a MAC, at the prices of the digital array.

    Both are 8 bits, in a memory like that of the preset, scaled.
    """
    memory = hardware.load_shift_array("shift_16x16").act_memory
    bits = 8 * BATCH * (N_IN * memory.read_pj_per_bit + N_OUT * memory.write_pj_per_bit)
    figure = Figure(value=bits / MACS, unit="pJ", origin="published", source=memory.energy_source)
    return scale(figure, DIGITAL_NM, NODE_NM)


def digital_table(rows: list[Digital]) -> str:
    """Return the digital machines at both nodes."""
    header = [
        "digital machine",
        "fJ/MAC, 130 nm",
        "of it the array",
        f"fJ/MAC, {NODE_NM:g} nm",
        f"of it the array, {NODE_NM:g} nm",
        "mm2, 130 nm",
        "of it the array",
    ]
    lines = [
        [
            row.name,
            f"{row.mac_pj.value * 1e3:,.0f}",
            f"{row.array_pj.value * 1e3:,.0f}",
            bounds(row.scaled("mac_pj"), ",.0f", 1e3),
            bounds(row.scaled("array_pj"), ",.0f", 1e3),
            f"{row.area_mm2.value:.2f}",
            f"{row.array_mm2.value:.2f}",
        ]
        for row in rows
    ]
    return table(header, lines)


def density_table(rows: list[Digital]) -> str:
    """Return throughput per area of the digital machines, with area scaled, and with area and delay scaled."""
    delay = scale(Figure(value=1.0, unit="ns", origin="modelled", source="a delay"), DIGITAL_NM, NODE_NM).value
    header = ["digital machine", "GOPS", *(f"GOPS/mm2, {text}" for text in
              ("130 nm", "area scaled", "area and clock scaled", "array alone, area and clock scaled"))]  # fmt: skip
    lines = []
    for row in rows:
        small, alone = row.scaled("area_mm2").value, row.scaled("array_mm2").value
        densities = (
            row.gops / row.area_mm2.value,
            row.gops / small,
            row.gops / small / delay,
            row.gops / alone / delay,
        )
        lines.append([row.name, f"{row.gops:.1f}", *(f"{density:,.0f}" for density in densities)])
    return table(header, lines)


Points = dict[int, dict[int, Point]]


def grid(points: Points, cell: Callable[[Point], str]) -> str:
    """Return a table of all points, bits down and sizes across."""
    rows = [[str(bits), *(cell(points[size][bits]) for size in SIZES)] for bits in BITS]
    return table(["ADC bits", *(f"{size} x {size}" for size in SIZES)], rows)


def conversion_pj(bits: int) -> Figure:
    """Return what a converted current takes, until it is added: at any size, since converters keep their rate."""
    named = dict(AnalogPrices.survey(machine(SIZES[0], bits, 8), node_nm=NODE_NM).figures)
    return total([named[event] for event in ("adc_conversion", "integration", "shift_add")])


def break_even(points: Points, rows: list[Digital], name: str) -> str:
    """Return the rows from which an array takes less than each digital machine: by the values, at best, at worst.

    Each conversion serves the multiply-accumulates of a column, so the energy of one is a floor plus a conversion over
    the rows. At worst the crossbar is at its upper bound and the digital machine at its lower one.
    """
    edges = (("value", "value"), ("low", "high"), ("high", "low"))

    def least(bits: int, limit: Figure, mine: str, other: str) -> str:
        conversion = getattr(conversion_pj(bits), mine)
        floor = getattr(points[SIZES[-1]][bits].mac_pj, mine) - conversion / SIZES[-1]
        margin = getattr(limit, other) - floor
        return f"{math.ceil(conversion / margin):,}" if margin > 0 else "never"

    lines = []
    for bits in BITS:
        line = [str(bits)]
        for row in rows:
            value, best, worst = (least(bits, row.scaled(name), *edge) for edge in edges)
            line.append(f"{value} ({best} to {worst})")
        lines.append(line)
    return table(["ADC bits", *(row.name for row in rows)], lines)


def inputs_table(points: dict[int, Point], serial: dict[int, Point], bits: int) -> str:
    """Return what it takes to give inputs at once, or bit by bit, on every size."""
    header = [f"{bits}-bit ADC"]
    header += [
        f"{text}, {way}" for way in ("8 bits at once", "bit by bit") for text in ("fJ/MAC", "of it cells", "error")
    ]
    rows = []
    for size in SIZES:
        row = [f"{size} x {size}"]
        for point in (points[size], serial[size]):
            energies = bounds(point.mac_pj, ",.0f", 1e3), f"{1e3 * point.cells_pj:,.0f}"
            row += [*energies, f"{100 * point.error:.1f} %"]
        rows.append(row)
    return table(header, rows)


def drawing(points: Points, rows: list[Digital]) -> bytes:
    """Return a plot of the energy of a multiply-accumulate over the size of arrays, beside the digital machines."""
    with style.themed():
        figure = style.figure(3.4)
        axes = figure.add_subplot()
        for bits, colour, marker in ((4, style.SKY, "s"), (8, style.BLUE, "o"), (10, style.PURPLE, "^")):
            line = [points[size][bits].mac_pj for size in SIZES]
            axes.plot(SIZES, [1e3 * f.value for f in line], color=colour, marker=marker, label=f"crossbar, {bits} bits")
            if bits == 8:
                edges = [[1e3 * getattr(f, edge) for f in line] for edge in ("low", "high")]
                axes.fill_between(SIZES, *edges, color=colour, alpha=0.18, linewidth=0, label="its bounds, 8 bits")
        for row, dashes in zip(rows[:2], ("--", ":"), strict=True):
            name = row.name.split(",")[0] if "shift" in row.name else "SIMD, FP4"
            axes.axhline(1e3 * row.scaled("mac_pj").value, color=style.ORANGE, linestyle=dashes, label=name)
            alone = 1e3 * row.scaled("array_pj").value
            axes.axhline(alone, color=style.GREEN, linestyle=dashes, label=f"{name}, no memories")
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.minorticks_off()
        axes.set_xticks(SIZES, [str(size) for size in SIZES])
        ticks = (10, 20, 50, 100, 200, 500)
        axes.set_yticks(ticks, [str(tick) for tick in ticks])
        axes.set_xlabel("rows and columns of an array")
        axes.set_ylabel(f"fJ per MAC at {NODE_NM:g} nm")
        axes.grid(axis="y")
        figure.legend(loc="outside lower center", ncols=2)
        return style.png(figure, dpi=150)


def sections() -> tuple[dict[str, str], bytes]:
    """Return the tables of the page by their marks, and its plot."""
    codes, x = codes_and_inputs()
    rows = digital()
    points: Points = {}
    serial = {}
    for size in SIZES:
        points[size] = measure(size, 8, codes, x, BITS)
        serial[size] = measure(size, 1, codes, x, (6,))[6]
        sys.stderr.write(f"{size} x {size} done\n")
    limit = rows[0].scaled("array_pj").value

    def energy(point: Point) -> str:
        mark = "**" if point.mac_pj.value < limit else ""
        return f"{mark}{bounds(point.mac_pj, ',.0f', 1e3)}{mark}"

    return {
        "adc": adc_table(),
        "peripherals": peripherals_table(),
        "cells": cells_table(),
        "digital": digital_table(rows),
        "digital density": density_table(rows),
        "energy": grid(points, energy),
        "isaac": grid(points, lambda point: f"{1e3 * point.isaac_pj:,.0f}"),
        "error": grid(points, lambda point: f"{100 * point.error:.1f} %"),
        "area": grid(points, lambda point: bounds(point.area_mm2, ".2f")),
        "density": grid(points, lambda point: f"{point.gops / point.area_mm2.value:,.0f}"),
        "break-even with memories": break_even(points, rows, "mac_pj"),
        "break-even of arrays": break_even(points, rows, "array_pj"),
        "inputs": inputs_table({size: points[size][6] for size in SIZES}, serial, 6),
    }, drawing(points, rows)


def main() -> None:
    """Write the tables, or check them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the page is out of date")
    checking = parser.parse_args().check
    page = PAGE.read_text(encoding="utf-8")
    found, plot = sections()
    made = page
    for name, text in found.items():
        mark = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
        if not mark.search(made):
            sys.exit(f"{PAGE} has no marks for '{name}'")
        made = mark.sub(lambda match, text=text: f"{match[1]}{text}\n{match[2]}", made)
    if checking:
        if made != page or PLOT.read_bytes() != plot:
            sys.exit(f"{PAGE} is out of date: run python bench/break_even.py")
        return
    write_atomic(PAGE, made)
    write_atomic(PLOT, plot)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
