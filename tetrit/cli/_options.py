"""What several commands share: options, how an interruption ends, and aligned tables."""

__all__ = [
    "arrays_option",
    "folder_of",
    "formats_option",
    "interruptible",
    "jobs_option",
    "machine_option",
    "nonzero_option",
    "out_option",
    "progress_option",
    "resume_option",
    "shape_option",
    "shown",
    "table",
]

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click


def _shapes(ctx: click.Context, option: click.Parameter, texts: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """Return the shapes that texts like ``input=1x3x224x224`` mean."""
    shapes = {}
    for text in texts:
        name, mark, sizes = text.rpartition("=")
        if not mark or not name or not re.fullmatch(r"\d{1,9}(x\d{1,9})*", sizes):
            raise click.BadParameter(f"'{text}' is no name and shape such as input=1x3x224x224", ctx, option)
        shapes[name] = tuple(int(size) for size in sizes.split("x"))
    return shapes


machine_option = click.option(
    "--machine",
    metavar="PRESET|FILE.toml",
    help="The machine that sizes and formats are taken from; `tetrit machines` lists the presets.  "
    "[default: simd_8x8 for the SIMD engine and the co-processor, else shift_16x16]",
)
formats_option = click.option(
    "--formats",
    default="posit8_0,posit8_0",
    show_default=True,
    metavar="ACT,WEIGHT",
    help="Formats on a SIMD engine.",
)
nonzero_option = click.option(
    "--nonzero",
    type=float,
    default=1.0,
    show_default=True,
    metavar="SHARE",
    help="Share of weights that are not zero, for the energy of a shift array.",
)
arrays_option = click.option(
    "--arrays", type=click.IntRange(1), metavar="N", help="Arrays of a crossbar that each layer can have."
)
shape_option = click.option(
    "--shape", multiple=True, callback=_shapes, metavar="NAME=1x3x224x224", help="Of a dynamic input of an ONNX file."
)
resume_option = click.option("--resume", is_flag=True, help="Go on with what is in DIR, to the same result.")
jobs_option = click.option(
    "--jobs", type=click.IntRange(1, 1024), metavar="N", help="Processes.  [default: one for each core]"
)
progress_option = click.option(
    "--progress/--no-progress", default=None, help="Progress bars.  [default: on a terminal]"
)


def out_option(command: str, holds: str) -> Callable[[Any], Any]:
    """Return the option for the folder of a command's results, of which `holds` says what they are."""
    return click.option(
        "--out",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help=f"Folder of {holds}.  [default: build/{command}/ and the name of the file]",
    )


def folder_of(out: Path | None, command: str, source: Path) -> Path:
    """Return the folder of the results: what `out_option` gave, or its default."""
    return Path("build", command, source.stem) if out is None else out


def shown(progress: bool | None) -> bool:
    """Return whether progress is shown: what `progress_option` gave, or whether there is a terminal."""
    return sys.stderr.isatty() if progress is None else progress


@contextmanager
def interruptible(hint: str = "") -> Iterator[None]:
    """Leave with exit code 130 and one line, to which `hint` is added, when work that can be resumed is interrupted."""
    from tetrit.errors import Interrupted

    try:
        yield
    except Interrupted as stop:
        click.echo(f"tetrit: {stop}{hint}", err=True)
        click.get_current_context().exit(130)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align `rows` under `header`: the first column to the left, columns of numbers to the right."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    right = [i > 0 and all(_is_number(row[i]) for row in rows) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    )


def _is_number(text: str) -> bool:
    return not text or text[0].isdigit() or text[0] in "+-" or text in ("nan", "inf")
