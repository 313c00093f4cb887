"""`tetrit report`: a finished run's report again: its summary, page, tables and plots, and two runs compared."""

__all__ = ["command"]

from pathlib import Path
from typing import Any

import click

from tetrit.cli._options import table
from tetrit.errors import InvalidValueError, unknown_name

_RUN = click.Path(path_type=Path)
_TABLES, _PLOTS = ("csv", "json", "tex"), ("svg", "png")
_SHOWN = 25
_WIDEST = 32


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
@click.option(
    "--format",
    "formats",
    type=click.Choice((*_TABLES, *_PLOTS)),
    multiple=True,
    help="Only these, e.g. --format csv --format svg.  [default: all]",
)
@click.option("--only", "names", multiple=True, metavar="NAME", help="Only tables and plots of this name, e.g. layers.")
def export(run: Path, out: Path, formats: tuple[str, ...], names: tuple[str, ...]) -> None:
    """Write every table as CSV, JSON and LaTeX, and every plot as SVG and PNG.

    CSV and JSON have raw values in base units and all digits; LaTeX (for booktabs) has what the page shows.
    """
    from tetrit import report

    data = report.read(run)
    report.require()
    from tetrit.report import plots, style, tables
    from tetrit.report.export import FORMATS

    chosen = formats or (*_TABLES, *_PLOTS)
    found = tables.build(data)
    for name in names:
        if name not in {*found, *plots.NAMES}:
            raise unknown_name("table or plot", name, {*found, *plots.NAMES})
    wanted = set(names or (*found, *plots.NAMES))
    files: dict[str, str | bytes] = {
        f"{name}.{suffix}": FORMATS[suffix](each)
        for name, each in found.items()
        if name in wanted
        for suffix in _TABLES
        if suffix in chosen
    }
    if set(chosen) & {*_PLOTS}:
        for name, plot in plots.draw(data, wanted).items():
            files |= {f"{name}.svg": style.alone(plot.svg)} if "svg" in chosen else {}
            files |= {f"{name}.png": plot.png} if "png" in chosen else {}
    for name in names:
        if not any(file.startswith(f"{name}.") for file in files):
            raise InvalidValueError(f"'{run}' has nothing named '{name}' in {', '.join(chosen)}")
    for path in report.write_files(out, files):
        click.echo(path)


@command.command()
@click.argument("run", type=_RUN, metavar="RUN")
@click.option("--out", type=_RUN, metavar="DIR", help="Folder for the files.  [default: that of RUN]")
def page(run: Path, out: Path | None) -> None:
    """Make report.html, and the plots beside it, again from a run's report.json."""
    from tetrit import report

    data = report.read(run)
    report.require()
    from tetrit.report import html, plots

    drawn = plots.draw(data)
    files: dict[str, str | bytes] = {"report.html": html.render(data, drawn)}
    files |= {f"{name}.png": plot.png for name, plot in drawn.items()}
    for path in report.write_files(out or (run if run.is_dir() else run.parent), files):
        click.echo(path)


@command.command()
@click.argument("before", type=_RUN, metavar="A")
@click.argument("after", type=_RUN, metavar="B")
@click.option("--all", "complete", is_flag=True, help="Every place, not only the first of many.")
@click.option("--html", "file", type=_RUN, metavar="FILE", help="Write all of them to a page instead of printing them.")
def diff(before: Path, after: Path, complete: bool, file: Path | None) -> None:
    """Print every setting and figure in which two runs differ: configuration, summary, then the greatest changes.

    Times, and the machine that a run took place on, are left out.
    """
    from tetrit import report

    found = report.differences(report.read(before), report.read(after))
    if file is not None:
        report.require()
        from tetrit.report import html

        content = html.render_differences(found, (str(before), str(after)))
        for path in report.write_files(file.parent, {file.name: content}):
            click.echo(path)
        return
    left_out = 0
    for group in dict.fromkeys(each.group for each in found):
        members = [each for each in found if each.group == group]
        shown = members if complete else members[:_SHOWN]
        left_out += len(members) - len(shown)
        rows = [(each.place, _text(each.before), _text(each.after), each.change) for each in shown]
        click.echo(f"{table((group, 'A', 'B', 'change'), rows)}\n")
    hint = f", {left_out:,} more with --all" if left_out else ""
    count = "1 difference" if len(found) == 1 else f"{len(found):,} differences"
    click.echo(f"{count}{hint}" if found else "no differences")


def _text(value: Any) -> str:
    from tetrit.report.tables.compared import short

    text = "" if value is None else short(value)
    return text if len(text) <= _WIDEST else text[: _WIDEST - 3] + "..."
