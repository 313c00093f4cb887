"""`tetrit explore`: a space of machines, every point evaluated, and its Pareto front."""

__all__ = ["command"]

from pathlib import Path

import click

from tetrit.cli._options import folder_of, interruptible, jobs_option, out_option, progress_option, shown, table


@click.command()
@click.argument("space", type=click.Path(path_type=Path), metavar="SPACE.toml")
@out_option("explore", "the results")
@jobs_option
@click.option(
    "--dask",
    metavar="ADDRESS|local",
    help="Use the workers of a Dask cluster instead: its scheduler's address, or `local` for one of N workers here.",
)
@progress_option
def command(space: Path, out: Path | None, jobs: int | None, dask: str | None, progress: bool | None) -> None:
    """Evaluate a space of machines on a workload and find its Pareto front.

    Writes points.sqlite, points.csv, front.md and figures. The same command goes on with what is in DIR: after Ctrl-C
    (exit code 130), SIGTERM (143) or a kill, no point is lost, and none that has a result is evaluated again.
    """
    from tetrit.explore import load_space, run, tables

    chosen = load_space(space)
    folder = folder_of(out, "explore", space)
    with interruptible(), run(chosen, folder, jobs=jobs, dask=dask, progress=shown(progress)) as store:
        rows = store.rows()
    from tetrit.explore.writing import write  # and what draws, which takes a while

    write(chosen, rows, folder)
    counts, header, lines, notes = tables.summary(chosen, rows)
    front = f"\n{table(header, lines)}\n" if lines else ""
    click.echo("\n".join([counts, front, *notes, f"results in {folder}"]))
