"""The SIMD engine's element in gates beside its baselines: area, critical path, energy per MAC with and without gating.

Run it as ``python bench/simd_synthesis.py``: it writes docs/simd_synthesis.md and build/bench/simd_synthesis.json, in
a few minutes. ``--liberty FILE.lib`` maps to a library of your own instead, and writes where ``-o`` says.
"""

import argparse
from dataclasses import asdict
from pathlib import Path

from _common import write

from tetrit.flow.simd_synthesis import figures, to_markdown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", default="sg13g2")
    parser.add_argument("--liberty", type=Path, metavar="FILE.lib")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.md")
    args = parser.parse_args()
    output = args.output
    if output is None:
        if args.liberty is not None or args.library != "sg13g2":
            parser.error("`--output` is needed for another library than that of docs/simd_synthesis.md")
        output = Path("docs/simd_synthesis.md")
    rows = []
    for row in figures(args.library, args.liberty):
        rows.append(row)
        energies = ", ".join(f"{mode} {energy:.2f}" for mode, energy in row.energy_pj.items())
        print(
            f"{row.name:34} gating {row.gating!s:5} flat {row.flat!s:5} {row.area_um2:10.0f} um2 {row.delay_ns:6.2f} ns"
            f"  pJ a step: {energies}",
            flush=True,
        )
    output.write_text(to_markdown(rows, "python bench/simd_synthesis.py"), encoding="utf-8")
    print(f"written to {output}")
    write("simd_synthesis", {"designs": [asdict(row) for row in rows]})


if __name__ == "__main__":
    main()
