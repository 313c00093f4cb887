"""Reports of a run: canonical JSON with a schema, a page that opens offline, figures, and the table on the terminal."""

__all__ = [
    "Difference",
    "check_directory",
    "differences",
    "read",
    "require",
    "schema",
    "summary",
    "to_json",
    "write",
    "write_files",
]

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tetrit.errors import InvalidValueError, ToolError
from tetrit.report.canonical import check, plain, schema, to_json
from tetrit.report.difference import Difference, differences
from tetrit.report.files import check_directory, write_files
from tetrit.report.reading import read
from tetrit.report.terminal import summary


def require() -> None:
    """Raise ToolError if what pages and figures are made with is not installed."""
    try:
        from tetrit.report import html, plots  # noqa: F401
    except ModuleNotFoundError as error:
        raise ToolError(f"a report needs {error.name}, which is not installed: pip install 'tetrit[run]'") from None


def write(
    report: Mapping[str, Any], out_dir: Path | str, extra_files: Mapping[str, str | bytes] = MappingProxyType({})
) -> list[Path]:
    """Write ``report.json``, ``report.html``, one PNG per figure, and `extra_files`: all of them or none.

    Contract: equal reports give equal bytes. Everything is drawn before the first byte is written; files that exist are
    replaced together, at the end.

    Parameters
    ----------
    report : mapping
        See ``schema/report-v2.json``, or `schema`.
    out_dir : path-like
        Made if need be.
    extra_files : mapping of str to str or bytes
        Relative path -> content, e.g. Verilog.

    Returns
    -------
    list of Path
        What was written: JSON, page, figures, then the extra files.

    Raises
    ------
    InvalidValueError
        If a block is missing or unknown, a number is not finite, a name leads out of `out_dir` or is the report's own,
        or `out_dir` cannot be written.
    ToolError
        If matplotlib or jinja2 is not installed.
    """
    check(report)
    data: dict[str, Any] = plain(report)
    require()
    from tetrit.report import html, plots

    for name in extra_files:
        if name in ("report.json", "report.html", *(f"{figure}.png" for figure in plots.NAMES)):
            raise InvalidValueError(f"`extra_files` must not hold '{name}', which is the report's own")
    drawn = plots.draw(data)
    files: dict[str, str | bytes] = {"report.json": to_json(data), "report.html": html.render(data, drawn)}
    files |= {f"{plot.name}.png": plot.png for plot in drawn.values()}
    return write_files(out_dir, files | dict(extra_files))
