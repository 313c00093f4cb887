"""FP8 multiply-accumulates against INT8, beside the published comparison of gates."""

__all__ = ["STEPS", "build"]

from collections.abc import Callable, Mapping

from elements import TITLES, Element, measured
from measuring import Kept, Measured, figure
from writing import Column, Row, Table

from tetrit.rtl.baselines.arithmetic import ADDERS
from tetrit.sim.cost.figure import Figure

_INTEGER = Element(act="int8", weight="int8", how="32")
_ROWS = (
    Element(act="int8", weight="int8"),
    *(
        Element(act=name, weight=name, how=how)
        for name in ("fp8_e4m3", "fp8_e5m2")
        for how in ("fp16", "fp32", "exact")
    ),
)
STEPS = (1 + len(_ROWS)) * len(ADDERS)
"""Designs that `build` measures."""

_SOURCE = "arXiv 2303.17951 (van Baalen et al.), as summaries of it quote it: gates of FP8-E4 over INT8"
_PUBLISHED: Mapping[tuple[str, str], float] = {("fp8_e4m3", "fp16"): 1.53, ("fp8_e4m3", "fp32"): 2.83}
"""Gates over those of INT8, by operand format and accumulator."""


def build(kept: Kept, step: Callable[[], None]) -> list[Table]:
    """Return the table; `step` is called after each design."""

    def both(row: Element) -> dict[str, Measured]:
        found = {}
        for adders in ADDERS:
            found[adders] = measured(kept, row, adders)
            step()
        return found

    base = both(_INTEGER)
    rows = []
    for row in _ROWS:
        figures = {}
        for adders, found in both(row).items():
            over = base[adders]
            logic, least = found.area_um2 - found.register_um2, over.area_um2 - over.register_um2
            figures |= {
                f"logic_{adders}": figure(logic / least, ""),
                f"gates_{adders}": figure(found.area_um2 / over.area_um2, ""),
                f"energy_{adders}": figure(found.energy_pj["normal"] / over.energy_pj["normal"], ""),
            }
        published = _PUBLISHED.get((row.weight, row.how))
        if published is not None:
            figures["published"] = Figure(value=published, unit="", origin="published", source=_SOURCE)
        rows.append(Row(names=(TITLES[row.weight], row.sum_title), figures=figures))
    columns = (
        Column(key="logic_compact", title="logic, compact", form=".2f"),
        Column(key="logic_fast", title="logic, fast", form=".2f"),
        Column(key="gates_compact", title="all gates, compact", form=".2f"),
        Column(key="gates_fast", title="all gates, fast", form=".2f"),
        Column(key="energy_compact", title="energy, compact", form=".2f"),
        Column(key="energy_fast", title="energy, fast", form=".2f"),
        Column(key="published", title="published, gates", form=".2f"),
    )
    return [Table(name="fp8", heads=("operands", "sum"), columns=columns, rows=rows)]
