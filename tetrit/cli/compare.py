"""`tetrit compare`: weight estimators on several tasks, from several seeds, at equal budget."""

__all__ = ["command"]

import sys
from pathlib import Path

import click

from tetrit.cli._options import table


@click.command()
@click.argument("config", type=click.Path(path_type=Path), metavar="CONFIG.toml")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of cells and results.  [default: build/compare/ and the name of the file]",
)
@click.option("--resume", is_flag=True, help="Go on with what is in DIR, to the same result.")
@click.option("--jobs", type=click.IntRange(1, 1024), metavar="N", help="Processes.  [default: one for each core]")
@click.option("--progress/--no-progress", default=None, help="A progress bar.  [default: on a terminal]")
@click.pass_context
def command(
    ctx: click.Context, config: Path, out: Path | None, resume: bool, jobs: int | None, progress: bool | None
) -> None:
    """Compare weight estimators: each on every task, from every seed, for the same steps.

    Writes comparison.json, comparison.md, cells.csv and figures. Ctrl-C (or SIGTERM) leaves with exit code 130 (or
    143); --resume goes on from there.
    """
    from tetrit.files import write_atomic
    from tetrit.train import compare, loop

    chosen = compare.load_config(config)
    folder = Path("build", "compare", config.stem) if out is None else out
    shown = sys.stderr.isatty() if progress is None else progress
    try:
        found = compare.run(chosen, folder, resume=resume, jobs=jobs, progress=shown)
    except loop.Interrupted as stop:
        click.echo(f"tetrit: {stop}; go on with --resume", err=True)
        ctx.exit(130)
    write_atomic(folder / "comparison.md", f"# {chosen.name}\n\n{compare.markdown(found)}")
    write_atomic(folder / "cells.csv", compare.to_csv(found))
    from tetrit.report import comparison

    for name, content in comparison.draw(found).items():
        write_atomic(folder / f"{name}.png", content)
    for task, (header, rows) in compare.tables(found).items():
        click.echo(f"{task}\n{table(header, rows)}\n")
    click.echo(f"{compare.NOTES}\nresults in {folder}")
