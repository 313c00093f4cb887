"""The SIMD engine's element in gates beside its baselines: area, critical path, energy per MAC with and without gating.

Run it as ``python bench/simd_synthesis.py``: it writes docs/simd_synthesis.md and build/bench/simd_synthesis.json, in
some minutes. With ``--liberty FILE.lib`` it maps the same designs to a library of your own, and the table goes to the
end of that page, in place of the one that is there; ``-o FILE.md`` writes a page of its own instead.
"""

import argparse
from dataclasses import asdict
from pathlib import Path

from _common import write

from tetrit.flow.simd_breakdown import breakdown, to_section
from tetrit.flow.simd_synthesis import Figures, figures, to_markdown

PAGE = Path("docs/simd_synthesis.md")
OTHER = "\n## With another library\n"
MODES = ("fp4_e2m1", "posit4_1")


def section(rows: list[Figures], command: str) -> str:
    """Return the table of a page and what it rests on, as a section of another page."""
    page = to_markdown(rows, command)
    table = page[page.index("| design |") : page.index("\n## Targets")]
    rest = page[page.index("\n- operands: ") : page.index("; 100 MHz")] + "; 100 MHz; no glitches"
    assumptions = "\n".join(f"- {line}" for line in rows[0].assumptions)
    gate = ""
    if "enables by multiplexers" in assumptions:
        gate = "\nIt has no clock gate: enables become multiplexers, and all that gating saves is in isolated operands."
    return (
        f"{OTHER}\nWritten by `{command}`. The same designs, mapped to `{rows[0].library}`,\n"
        f"with its full tables of delay and energy.{gate}\n\n{table}{rest}\n{assumptions}\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", default="sg13g2")
    parser.add_argument("--liberty", type=Path, metavar="FILE.lib")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.md")
    args = parser.parse_args()
    if args.output is None and args.library != "sg13g2":
        parser.error(f"`--output` is needed for another embedded library than that of {PAGE}")
    rows = []
    for row in figures(args.library, args.liberty):
        rows.append(row)
        energies = ", ".join(f"{mode} {energy:.2f}" for mode, energy in row.energy_pj.items())
        print(
            f"{row.name:34} gating {row.gating!s:5} flat {row.flat!s:5} {row.area_um2:10.0f} um2 {row.delay_ns:6.2f} ns"
            f"  pJ a step: {energies}",
            flush=True,
        )
    command = "python bench/simd_synthesis.py"
    output = args.output or PAGE
    before, mark, after = PAGE.read_text(encoding="utf-8").partition(OTHER) if PAGE.exists() else ("", "", "")
    if args.output is None and args.liberty is not None:
        text = before + section(rows, f"{command} --liberty {args.liberty.name}")
    else:
        parts = []
        for part in breakdown(args.library, args.liberty):
            parts.append(part)
            print(
                f"digits at {part.borders}: {', '.join(f'{mode} {part.ratio(mode):.3f}' for mode in MODES)}", flush=True
            )
        text = to_markdown(rows, command, to_section(parts)) + (mark + after if args.output is None else "")
    output.write_text(text, encoding="utf-8")
    print(f"written to {output}")
    write(
        "simd_synthesis" if args.liberty is None else "simd_synthesis_liberty", {"designs": [asdict(r) for r in rows]}
    )


if __name__ == "__main__":
    main()
