"""`tetrit run`: the whole way of one configuration, from data to report."""

__all__ = ["command"]

import sys
from pathlib import Path

import click


@click.command()
@click.argument("config", type=click.Path(path_type=Path), metavar="CONFIG.toml")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Folder of the results.")
@click.option("--progress/--no-progress", default=None, help="Progress bars.  [default: on a terminal]")
def command(config: Path, out: Path, progress: bool | None) -> None:
    """Train, map, simulate, verify and cost one network."""
    from tetrit import flow, report

    shown = sys.stderr.isatty() if progress is None else progress
    click.echo(report.summary(flow.run(config, out, progress=shown)))
