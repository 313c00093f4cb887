"""Make the area table of `tetrit.sim.cost.area`: arrays and elements mapped to sg13g2, and straight lines through them.

Run from the repository root: ``python bench/explore_area.py`` (three minutes); writes
``sim/cost/area_sg13g2.toml``.
"""

from pathlib import Path

import numpy as np
import tomli_w
from scipy.optimize import nnls

from tetrit import rtl
from tetrit.hardware import DATAFLOWS, WEIGHT_FORMATS, ShiftArray, SimdEngine
from tetrit.rtl import SimdMac, SimdReadout, synthesize
from tetrit.sim.cost.area import shift_terms, simd_terms

OUT = Path("sim/cost/area_sg13g2.toml")
SIZES = ((4, 4), (4, 8), (8, 4), (8, 8), (12, 12), (16, 4), (4, 16))
WIDTHS = ((8, 16), (8, 32), (4, 24), (16, 32))
QUIRES = (128, 192, 256)


def shift(machine: ShiftArray) -> dict[str, float]:
    """Return the area of an array's elements, and of all the rest of it, in um2."""
    found = synthesize(rtl.build("ShiftPEArray", machine), "sg13g2", None)
    elements = sum(m.instances * m.own_area_um2 for name, m in found.modules.items() if name.startswith("ShiftPE_"))
    element = next(m for name, m in found.modules.items() if name.split("_")[0] == "ShiftPE")
    elements = element.instances * element.own_area_um2
    return {"element": element.own_area_um2, "rest": found.area_um2 - elements}


def main() -> None:
    """Map everything and write the table."""
    table: dict[str, object] = {
        "source": "bench/explore_area.py: arrays mapped to sg13g2 (Yosys), cell area without routing; straight lines "
        "through 11 SZT arrays a dataflow, other weight formats scaled by their 8 x 8 array",
    }
    rows = []
    for dataflow in DATAFLOWS:
        machines = [ShiftArray(rows=r, cols=c, dataflow=dataflow) for r, c in SIZES]
        machines += [
            ShiftArray(rows=8, cols=8, dataflow=dataflow, act_format=f"int{act}", acc_bits=acc) for act, acc in WIDTHS
        ]
        found = [shift(machine) for machine in machines]
        element_terms = np.array([[1.0, m.activations.bits, m.acc_bits] for m in machines])
        element, _ = nnls(element_terms, np.array([f["element"] for f in found]))
        rest, _ = nnls(np.array([shift_terms(m) for m in machines]), np.array([f["rest"] for f in found]))
        reference = shift(ShiftArray(rows=8, cols=8, dataflow=dataflow))
        for weight_format in WEIGHT_FORMATS:
            mine = shift(ShiftArray(rows=8, cols=8, dataflow=dataflow, weight_format=weight_format))
            rows.append(
                {
                    "dataflow": dataflow,
                    "weight_format": weight_format,
                    "element": [round(float(x) * mine["element"] / reference["element"], 4) for x in element],
                    "rest": [round(float(x) * mine["rest"] / reference["rest"], 4) for x in rest],
                }
            )
            print(rows[-1], flush=True)
    table["shift"] = rows
    widths = ((16, 16), (24, 16), (32, 16), (24, 8), (24, 24))
    machines = [ShiftArray(rows=1, cols=1, acc_bits=acc, multiplier_bits=bits) for acc, bits in widths]
    areas = [synthesize(rtl.build("Requantizer", m), "sg13g2", None).area_um2 for m in machines]
    terms = np.array([[1.0, m.acc_bits, m.acc_bits * m.multiplier_bits] for m in machines])
    table["requantizer"] = [round(float(x), 4) for x in nnls(terms, np.array(areas))[0]]
    engines = []
    for gating in (True, False):
        made = [SimdEngine(rows=1, cols=1, quire_bits=bits, gating=gating) for bits in QUIRES]
        lines = {}
        for part, component in (("element", SimdMac), ("readout", SimdReadout)):
            areas = [synthesize(component(machine), "sg13g2").area_um2 for machine in made]
            print(part, gating, areas, flush=True)
            lines[part] = [
                round(float(x), 4) for x in nnls(np.array([simd_terms(m) for m in made]), np.array(areas))[0]
            ]
        engines.append({"gating": gating, **lines})
    table["simd"] = engines
    OUT.write_text(tomli_w.dumps(table), encoding="utf-8")


if __name__ == "__main__":
    main()
