"""The files of an exploration's results."""

__all__ = ["write"]

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tetrit.explore.plots import draw
from tetrit.explore.space import Space
from tetrit.explore.tables import markdown, to_csv
from tetrit.files import write_atomic


def write(space: Space, rows: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Write ``points.csv``, ``front.md`` and the figures as PNG and SVG."""
    write_atomic(out / "points.csv", to_csv(space, rows))
    write_atomic(out / "front.md", markdown(space, rows))
    for name, content in draw(space, rows).items():
        write_atomic(out / name, content)
