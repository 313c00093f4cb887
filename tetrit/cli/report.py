"""`tetrit report`: a finished run's report again: its summary, tables for other programs, and two runs compared."""

__all__ = ["command"]

from pathlib import Path
from typing import Any

import click

from tetrit.cli._options import table

_RUN = click.Path(path_type=Path)


@click.group()
def command() -> None:
    """Show, export or compare the reports of finished runs; RUN is a folder, or its report.json."""


@command.command()
@click.argument("run", type=_RUN, metavar="RUN")
def show(run: Path) -> None:
    """Print the summary that the run printed at its end."""
    from tetrit import report

    click.echo(report.summary(report.read(run)))


@command.command()
@click.argument("run", type=_RUN, metavar="RUN")
@click.option("--out", type=_RUN, required=True, metavar="DIR", help="Folder for the files.")
def export(run: Path, out: Path) -> None:
    """Write the layers as layers.csv and layers.tex, and every figure as SVG and PNG."""
    from tetrit import report

    report.require()
    from tetrit.report import plots, style

    data = report.read(run)
    files: dict[str, str | bytes] = {"layers.csv": report.layers_csv(data), "layers.tex": report.layers_latex(data)}
    for plot in plots.draw(data).values():
        files |= {f"{plot.name}.svg": style.alone(plot.svg), f"{plot.name}.png": plot.png}
    for path in report.write_files(out, files):
        click.echo(path)


@command.command()
@click.argument("before", type=_RUN, metavar="A")
@click.argument("after", type=_RUN, metavar="B")
@click.option("--all", "complete", is_flag=True, help="Every place, not only the first of many.")
def diff(before: Path, after: Path, complete: bool) -> None:
    """Print every figure and setting in which two runs differ, the summary's first.

    Times, and the machine that a run took place on, are left out.
    """
    from tetrit import report

    found = report.differences(report.read(before), report.read(after))
    shown = found if complete else found[:_SHOWN]
    rows = [
        (each.place, _text(each.before), _text(each.after), "" if each.ratio is None else f"{each.ratio:.4g}")
        for each in shown
    ]
    if rows:
        click.echo(table(("place", "A", "B", "B / A"), rows))
    rest = len(found) - len(shown)
    hint = f", {rest} more with --all" if rest else ""
    count = "1 difference" if len(found) == 1 else f"{len(found)} differences"
    click.echo(f"{count}{hint}" if found else "no differences")


_SHOWN = 60
_WIDEST = 32


def _text(value: Any) -> str:
    text = "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _WIDEST else text[: _WIDEST - 3] + "..."
