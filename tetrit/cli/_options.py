"""What several commands share: the machine option, and aligned tables."""

__all__ = ["machine_option", "table"]

from collections.abc import Sequence

import click

machine_option = click.option(
    "--machine",
    metavar="PRESET|FILE.toml",
    help="The machine that sizes and formats are taken from; `tetrit machines` lists the presets.  "
    "[default: simd_8x8 for the SIMD engine and the co-processor, else shift_16x16]",
)


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
