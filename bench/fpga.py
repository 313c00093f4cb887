"""What the components take of an FPGA, as the table of docs/fpga.md: Yosys for the 7 series, nextpnr for an ECP5.

``python bench/fpga.py`` writes the table; the array of 16 x 16 takes minutes. Same versions of the tools, same table.
"""

import time
from pathlib import Path

from _common import write

from tetrit import hardware, rtl

ROWS = (
    ("SZTDecoder", "shift_16x16"),
    ("ShiftPE", "shift_16x16"),
    ("Requantizer", "shift_16x16"),
    ("ShiftPEArray", "shift_8x8"),
    ("ShiftPEArray", "shift_16x16"),
    ("SimdMac", "simd_4x4"),
)
PAGE = Path(__file__).parents[1] / "docs" / "fpga.md"
MARK = "<!-- table -->\n"


def main():
    head = "\n| component | machine | LUT6 | flip-flops | DSP48 | ECP5 LUT4 | flip-flops | MULT18X18 | MHz |\n"
    lines = [head, "|---|---|" + "--:|" * 7 + "\n"]
    figures = {}
    for name, machine in ROWS:
        start = time.perf_counter()
        found = [rtl.map_fpga(rtl.build(name, hardware.load(machine)), family) for family in ("xilinx", "ecp5")]
        cells = [f"{each.luts:,} | {each.flip_flops:,} | {each.dsps}" for each in found]
        lines.append(f"| `{name}` | `{machine}` | {' | '.join(cells)} | {found[1].fmax_mhz:.1f} |\n")
        figures[f"{name} {machine}"] = [{"luts": each.luts, "dsps": each.dsps} for each in found]
        print(lines[-1], end="", flush=True)
        print(f"{time.perf_counter() - start:.0f} s")
    before, _, _ = PAGE.read_text(encoding="utf-8").partition(MARK)
    PAGE.write_text(before + MARK + "".join(lines), encoding="utf-8")
    write("fpga", figures)


if __name__ == "__main__":
    main()
