"""Make the tables of docs/comparison.md, and run the scripts that make those of other pages.

``python tools/tables`` makes all of them, in half an hour the first time; what has not changed since is kept in
build/tables and takes seconds. ``python tools/tables elements fp8`` makes some of them. Same code and tools, same
bytes. ``--check`` writes nothing and says, by its exit code 1, that a file is not what the code gives.
"""

__all__ = ["BUILDERS", "SCRIPTS", "Script", "main"]

import argparse
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import arrays
import elements
import fp8
import rmmec
from measuring import ROOT, Kept
from tqdm import tqdm
from writing import Table, csv_text, markdown, replaced

from tetrit.errors import TetritError, ToolError
from tetrit.files import write_atomic

PAGE = Path("docs/comparison.md")
CSV = Path("docs/tables")

BUILDERS: dict[str, tuple[Callable[[Kept, Callable[[], None]], list[Table]], int]] = {
    "published": (rmmec.build_published, 1),
    "elements": (elements.build, elements.STEPS),
    "fp8": (fp8.build, fp8.STEPS),
    "arrays": (arrays.build, arrays.STEPS),
    "fpga_elements": (arrays.build_fpga, arrays.FPGA_STEPS),
    "rmmec": (rmmec.build, rmmec.STEPS),
}
"""What makes the tables of the page, and of how many designs."""


@dataclass(frozen=True, kw_only=True)
class Script:
    """A script that writes another page or table of figures, the same bytes each time."""

    path: str
    arguments: tuple[str, ...] = ()
    writes: str


SCRIPTS = {
    "registers": Script(path="tools/registers.py", writes="docs/reference/coprocessor_registers.md"),
    "simd_synthesis": Script(path="bench/simd_synthesis.py", writes="docs/simd_synthesis.md"),
    "fpga": Script(path="bench/fpga.py", writes="docs/fpga.md"),
    "area": Script(path="bench/explore_area.py", writes="sim/cost/area_sg13g2.toml"),
    "break_even": Script(path="bench/break_even.py", writes="docs/analog_cost.md"),
    "coefficients": Script(path="bench/cross_validation.py", writes="docs/coefficients.md"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Make what is asked for; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python tools/tables", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = (*BUILDERS, *SCRIPTS)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}; by default all")
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a file is out of date")
    parser.add_argument("--root", type=Path, default=ROOT, metavar="DIR", help="where docs/ is; by default here")
    parser.add_argument("--kept", type=Path, metavar="DIR", help="where results are kept; by default build/tables")
    args = parser.parse_args(arguments)
    for name in args.names:
        if name not in known:
            parser.error(f"unknown table '{name}'; known: {', '.join(known)}")
    chosen = args.names or [name for name in known if not (args.check and name in SCRIPTS)]
    if args.check and (scripts := [name for name in chosen if name in SCRIPTS]):
        parser.error(f"`--check` is for the tables of {PAGE} alone, not for {', '.join(scripts)}")
    try:
        stale = _build([name for name in chosen if name in BUILDERS], args.root, args.kept, check=args.check)
        for name in chosen:
            if name in SCRIPTS:
                _run(name)
    except (TetritError, OSError) as error:
        sys.stderr.write(f"tools/tables: {error}\n")
        return 2
    for path in stale:
        sys.stdout.write(f"out of date: {path}\n")
    return int(bool(stale))


def _build(names: list[str], root: Path, folder: Path | None, *, check: bool) -> list[Path]:
    """Make tables and write what differs; return what would differ if `check`."""
    kept = Kept() if folder is None else Kept(folder)
    page = (root / PAGE).read_text(encoding="utf-8")
    files: dict[Path, str] = {}
    with tqdm(total=sum(BUILDERS[name][1] for name in names), unit="design", disable=not names) as bar:
        for name in names:
            make, steps = BUILDERS[name]
            before = bar.n
            bar.set_description(name)
            for table in make(kept, bar.update):
                page = replaced(page, table.name, markdown(table))
                files[CSV / f"{table.name}.csv"] = csv_text(table)
            bar.update(before + steps - bar.n)  # what was kept took no step
    files[PAGE] = page
    stale = [path for path, text in files.items() if not _holds(root / path, text)]
    if not check:
        for path in stale:
            write_atomic(root / path, files[path])
        return []
    return stale


def _holds(path: Path, text: str) -> bool:
    """Return whether a file is there and holds exactly this text."""
    return path.exists() and path.read_bytes() == text.encode()


def _run(name: str) -> None:
    """Run a script that writes a page of its own."""
    script = SCRIPTS[name]
    sys.stderr.write(f"{script.path}: {script.writes}\n")
    done = subprocess.run([sys.executable, script.path, *script.arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise ToolError(f"{script.path} failed: {lines[-1]}")
