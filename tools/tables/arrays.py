"""Arrays of shift elements against arrays of multipliers, of equal throughput: cells, energy on real data, and LUTs."""

__all__ = ["FPGA_STEPS", "STEPS", "build", "build_fpga"]

from collections.abc import Callable
from functools import partial

import layer
from elements import TITLES, Element
from measuring import Kept, Measured, figure, gate_equivalents, measure, text_of
from writing import Column, Row, Table

from tetrit.hardware import WEIGHT_FORMATS
from tetrit.rtl import map_fpga
from tetrit.rtl.baselines import IntegerMac, MacArray, MacElement
from tetrit.rtl.baselines.arithmetic import ADDERS, Adders
from tetrit.rtl.hierarchy import lower
from tetrit.sim.cost.figure import Figure

ROWS, COLS = 8, 8
FPGA_SIZE = 2
"""Rows and columns of the arrays that are mapped to an FPGA, which takes minutes for larger ones."""

_SHIFTS = ("szt", "int2_symmetric", "pot3z")
_KINDS = (
    *(Element(act="int8", weight=weight) for weight in (*_SHIFTS, "int4", "int8")),
    *(Element(act="int16", weight=weight) for weight in ("pot3z", "int16")),
)
_BASES = {"int8": Element(act="int8", weight="int8"), "int16": Element(act="int16", weight="int16")}
STEPS = len(_KINDS) * len(ADDERS)
FPGA_STEPS = len(_KINDS) + 3
"""Designs that `build` and `build_fpga` measure."""

_SVPE = "arXiv 2004.02396 (n-BQ-NN): SVPE array over VPE-16, ZCU102"


def _array(row: Element, adders: Adders) -> MacArray:
    return MacArray(ROWS, COLS, lambda: row.make(adders))


def _measured(kept: Kept, row: Element, adders: Adders) -> Measured:
    array = _array(row, adders)
    acts, weights = layer.layer_codes(kept, row)
    return measure(
        kept,
        array,
        lambda _: {"digits": layer.array_trace(array, acts, weights)},
        hierarchical=True,
        inputs_from=f"digits {row.act} {row.weight} {text_of(layer.__file__)}",
        check=lambda _, activity: layer.check_sums(array, row, acts, weights, activity),
    )


def build(kept: Kept, step: Callable[[], None]) -> list[Table]:
    """Return the table of arrays in cells; `step` is called after each design."""
    found: dict[tuple[Element, str], Measured] = {}
    for row in _KINDS:
        for adders in ADDERS:
            found[row, adders] = _measured(kept, row, adders)
            step()
    macs, cycles = _cycles(kept)
    rows = []
    for row in _KINDS:
        figures = {}
        for adders in ADDERS:
            mine, base = found[row, adders], found[_BASES[row.act], adders]
            figures |= {
                f"gates_{adders}": figure(gate_equivalents(mine.area_um2), "NAND2"),
                f"delay_{adders}": figure(mine.delay_ns, "ns"),
                f"energy_{adders}": figure(mine.energy_pj["digits"] * cycles / macs, "pJ/MAC"),
                f"area_ratio_{adders}": figure(mine.area_um2 / base.area_um2, ""),
                f"energy_ratio_{adders}": figure(mine.energy_pj["digits"] / base.energy_pj["digits"], ""),
            }
        rows.append(Row(names=(TITLES[row.act], TITLES[row.weight], row.sum_title), figures=figures))
    columns = []
    for adders, mark in (("compact", ""), ("fast", ", fast")):
        columns += [
            Column(key=f"gates_{adders}", title=f"gates{mark}"),
            Column(key=f"delay_{adders}", title=f"path, ns{mark}", form=".1f"),
            Column(key=f"energy_{adders}", title=f"pJ/MAC{mark}", form=".2f"),
            Column(key=f"area_ratio_{adders}", title=f"area ratio{mark}", form=".2f"),
            Column(key=f"energy_ratio_{adders}", title=f"energy ratio{mark}", form=".2f"),
        ]
    heads = ("activation", "weight", "sum")
    notes = (
        f"- {ROWS} x {COLS} elements, {macs:,} products of the digits network's second layer ({layer.IMAGES} images) "
        f"in {cycles:,} cycles in every row: busy in {100 * macs / cycles / ROWS / COLS:.1f} % of all element cycles.",
        "- A ratio is to the multipliers of the same activations' width: INT8 x INT8, or INT16 x INT16.",
    )
    return [Table(name="arrays", heads=heads, columns=tuple(columns), rows=rows, notes=notes)]


def _cycles(kept: Kept) -> tuple[int, int]:
    """Return the products of the workload, and the cycles that an array takes for them."""
    acts, weights = layer.network_layer(kept)
    m, k, n = len(acts), *weights.shape
    return m * k * n, -(-m // ROWS) * -(-n // COLS) * k + 2 * ROWS + COLS - 1


def build_fpga(kept: Kept, step: Callable[[], None]) -> list[Table]:
    """Return the table of elements in look-up tables; `step` is called after each design."""

    def mapped(make: Callable[[], MacElement]) -> dict[str, int]:
        array = MacArray(FPGA_SIZE, FPGA_SIZE, make)

        def made() -> dict[str, int]:
            found = map_fpga(array, "xilinx")
            return {"luts": found.luts, "flip_flops": found.flip_flops, "dsps": found.dsps}

        result: dict[str, int] = kept.get(("xilinx", lower(array, "design").rtlil), made)
        step()
        return result

    found = {(row, ""): mapped(partial(row.make, "fast")) for row in _KINDS}
    for row in _KINDS:
        if row.weight not in WEIGHT_FORMATS:
            soft = partial(IntegerMac, row.act, row.weight, row.bits, soft=True)
            found[row, "in look-up tables"] = mapped(soft)
    rows = []
    for (row, how), cells in found.items():
        base = found[_BASES[row.act], "in look-up tables"]
        source = f"Yosys, 7 series, {FPGA_SIZE} x {FPGA_SIZE} elements, not placed"
        figures = {
            name: Figure(value=value, unit="", origin="synthesised", source=source) for name, value in cells.items()
        }
        if not cells["dsps"]:
            figures["ratio"] = Figure(value=base["luts"] / cells["luts"], unit="", origin="synthesised", source=source)
        rows.append(Row(names=(TITLES[row.act], TITLES[row.weight], how or "as it comes"), figures=figures))
    pot, base = (found[row, how] for row, how in ((_KINDS[-2], ""), (_KINDS[-1], "in look-up tables")))
    columns = (
        Column(key="luts", title="LUT6"),
        Column(key="flip_flops", title="flip-flops"),
        Column(key="dsps", title="DSP48"),
        Column(key="ratio", title="products per LUT over the multiplier's", form=".2f"),
    )
    notes = (
        f"- {FPGA_SIZE} x {FPGA_SIZE} elements. INT16 x pot3 with zero against INT16 x INT16 in look-up tables: "
        f"{base['luts'] / pot['luts']:.1f} times the products per cycle and LUT. `published`, for comparison only: 2.9 "
        f"times, at second hand 957.4 over 332.2 GOP/s, of a whole accelerator on the same FPGA ({_SVPE}).",
    )
    return [
        Table(
            name="fpga_elements", heads=("activation", "weight", "multiplier"), columns=columns, rows=rows, notes=notes
        )
    ]
