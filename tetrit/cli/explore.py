"""`tetrit explore`: a space of machines, every point evaluated, and its Pareto front."""

__all__ = ["command"]

import sys
from pathlib import Path

import click

from tetrit.cli._options import table


@click.command()
@click.argument("space", type=click.Path(path_type=Path), metavar="SPACE.toml")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of the results.  [default: build/explore/ and the name of the file]",
)
@click.option("--jobs", type=click.IntRange(1, 1024), metavar="N", help="Processes.  [default: one for each core]")
@click.option(
    "--dask",
    metavar="ADDRESS|local",
    help="Use the workers of a Dask cluster instead: its scheduler's address, or `local` for one of N workers here.",
)
@click.option("--progress/--no-progress", default=None, help="Progress bars.  [default: on a terminal]")
@click.pass_context
def command(
    ctx: click.Context, space: Path, out: Path | None, jobs: int | None, dask: str | None, progress: bool | None
) -> None:
    """Evaluate a space of machines on a workload and find its Pareto front.

    Writes points.sqlite, points.csv, front.md and figures. The same command goes on with what is in DIR: after Ctrl-C
    (exit code 130), SIGTERM (143) or a kill, no point is lost, and none that has a result is evaluated again.
    """
    from tetrit.errors import Interrupted
    from tetrit.explore import load_space, run, tables

    chosen = load_space(space)
    folder = Path("build", "explore", space.stem) if out is None else out
    shown = sys.stderr.isatty() if progress is None else progress
    try:
        with run(chosen, folder, jobs=jobs, dask=dask, progress=shown) as store:
            rows = store.rows()
    except Interrupted as stop:
        click.echo(f"tetrit: {stop}", err=True)
        ctx.exit(130)
    tables.write(chosen, rows, folder)
    counts, header, lines, notes = tables.summary(chosen, rows)
    front = f"\n{table(header, lines)}\n" if lines else ""
    click.echo("\n".join([counts, front, *notes, f"results in {folder}"]))
