"""Processing elements among themselves: every weight format, the same registers, the same operands."""

__all__ = ["ROWS", "STEPS", "TITLES", "Element", "build", "measured"]

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from measuring import Kept, Measured, figure, gate_equivalents, measure, text_of
from operands import STATISTICS, TERMS, element_trace
from writing import Column, Row, Table

from tetrit import formats
from tetrit.errors import ToolError
from tetrit.hardware import WEIGHT_FORMATS
from tetrit.rtl import Activity
from tetrit.rtl.baselines import ACCUMULATORS, IntegerMac, MacElement, QuireMac, RoundingMac, ShiftMac
from tetrit.rtl.baselines.arithmetic import ADDERS, Adders

N_TERMS = 4096
"""Products that every exact sum must hold: 12 bits more than one product takes."""

TITLES = {
    "szt": "SZT",
    "int2_symmetric": "ternary",
    "pot3": "pot3",
    "pot3z": "pot3 with zero",
    "pot4": "pot4",
    "int4": "INT4",
    "int8": "INT8",
    "int16": "INT16",
    "fp4_e2m1": "FP4 E2M1",
    "posit4_1": "Posit(4,1)",
    "posit8_0": "Posit(8,0)",
    "posit16_1": "Posit(16,1)",
    "fp8_e4m3": "FP8 E4M3",
    "fp8_e5m2": "FP8 E5M2",
}


@dataclass(frozen=True, kw_only=True)
class Element:
    """One row: formats, and how the sum is kept.

    Attributes
    ----------
    act, weight : str
        Formats.
    how : str
        ``"exact"``, a width in bits, or an accumulator of `ACCUMULATORS`.
    """

    act: str
    weight: str
    how: str = "exact"

    @property
    def bits(self) -> int:
        """Width of the sum."""
        if self.how in ACCUMULATORS:
            return ACCUMULATORS[self.how].bits
        return formats.accumulator_bits(self.act, self.weight, N_TERMS) if self.how == "exact" else int(self.how)

    @property
    def sum_title(self) -> str:
        """What the sum is, in words."""
        return self.how.upper() if self.how in ACCUMULATORS else f"{self.bits} bits"

    def make(self, adders: Adders) -> MacElement:
        """Return the element."""
        if self.how in ACCUMULATORS:
            return RoundingMac(self.weight, self.how, adders=adders)
        if not self.act.startswith("int"):
            return QuireMac(self.act, self.weight, self.bits, adders=adders)
        kind = ShiftMac if self.weight in WEIGHT_FORMATS else IntegerMac
        return kind(self.act, self.weight, self.bits, adders=adders)


ROWS = (
    *(Element(act="int8", weight=weight) for weight in ("szt", "int2_symmetric", "pot3", "pot3z", "pot4")),
    Element(act="int4", weight="int4"),
    Element(act="int8", weight="int4"),
    Element(act="int8", weight="int8"),
    Element(act="int8", weight="int8", how="32"),
    *(Element(act=name, weight=name) for name in ("fp4_e2m1", "posit4_1", "posit8_0", "posit16_1")),
    *(
        Element(act=name, weight=name, how=how)
        for name in ("fp8_e4m3", "fp8_e5m2")
        for how in ("exact", "fp16", "fp32")
    ),
)


def measured(kept: Kept, row: Element, adders: Adders) -> Measured:
    """Map and price one element; what its netlist adds up must be right."""
    element = row.make(adders)
    traces = {name: element_trace(element, row.act, row.weight, name) for name in STATISTICS}
    return measure(
        kept,
        element,
        lambda _: traces,
        inputs_from=f"{row.act} {row.weight} {text_of(__file__)}",
        check=lambda name, activity: _check(row, traces[name], activity),
    )


def _check(row: Element, trace: Mapping[str, Any], activity: Activity) -> None:
    """Raise ToolError unless the sums are those of the operands: exactly, or as near as rounding allows."""
    act, weight = formats.get(row.act), formats.get(row.weight)
    ends = np.flatnonzero(trace["last_in"][:-1])
    result = activity.outputs["result"][ends + 1]
    if row.how in ACCUMULATORS:
        kind, codes = (np.float16, np.uint16) if row.how == "fp16" else (np.float32, np.uint32)
        sums = np.packbits(result, axis=1, bitorder="little").view(codes).view(kind)[:, 0].astype(np.float64)
        products = act.values[trace["act_in"]] * weight.values[trace["weight_in"]]
        edges = [0, *(ends + 1)]
        wanted, sizes = (np.add.reduceat(terms, edges)[:-1] for terms in (products, np.abs(products)))
        unit = 2.0 ** -ACCUMULATORS[row.how].fraction_bits
        right = bool((np.abs(sums - wanted) <= TERMS * unit * sizes).all())
    else:
        place = [1 << bit for bit in range(row.bits)]
        found = [sum(p for p, bit in zip(place, bits, strict=False) if bit) for bits in result.tolist()]
        products = [
            int(act.integers[a]) * int(weight.integers[w])
            for a, w in zip(trace["act_in"].tolist(), trace["weight_in"].tolist(), strict=True)
        ]
        starts = [0, *(ends[:-1] + 1).tolist()]
        right = found == [
            sum(products[start : end + 1]) % (1 << row.bits) for start, end in zip(starts, ends.tolist(), strict=True)
        ]
    if not right:
        raise ToolError(f"the netlist of {row} gives wrong sums")


def build(kept: Kept, step: Callable[[], None], rows: tuple[Element, ...] = ROWS) -> list[Table]:
    """Return a table for each kind of adder; `step` is called after each design."""
    return [_table(kept, step, rows, adders) for adders in ("compact", "fast")]


def _table(kept: Kept, step: Callable[[], None], rows: tuple[Element, ...], adders: Adders) -> Table:
    made = []
    for row in rows:
        found = measured(kept, row, adders)
        figures = {
            "gates": figure(gate_equivalents(found.area_um2), "NAND2"),
            "logic": figure(gate_equivalents(found.area_um2 - found.register_um2), "NAND2"),
            "area": figure(found.area_um2, "um2"),
            "delay": figure(found.delay_ns, "ns"),
            **{name: figure(found.energy_pj[name], "pJ/MAC") for name in STATISTICS},
        }
        step()
        made.append(Row(names=(TITLES[row.act], TITLES[row.weight], row.sum_title), figures=figures))
    columns = (
        Column(key="gates", title="gates"),
        Column(key="logic", title="of them logic"),
        Column(key="area", title="area, um2"),
        Column(key="delay", title="path, ns", form=".1f"),
        Column(key="normal", title="pJ/MAC", form=".2f"),
        Column(key="relu", title="pJ/MAC, after ReLU", form=".2f"),
    )
    return Table(name=f"elements_{adders}", heads=("activation", "weight", "sum"), columns=columns, rows=made)


STEPS = len(ROWS) * len(ADDERS)
"""Designs that `build` measures."""
