"""`tetrit montecarlo`: a trained network on many chips of a crossbar, in corners and over time."""

__all__ = ["command"]

import sys
from pathlib import Path

import click

from tetrit.cli._options import table


@click.command()
@click.argument("config", type=click.Path(path_type=Path), metavar="CONFIG.toml")
@click.option("--chips", type=int, metavar="N", help="How many chips.  [default: the configuration's, or 100]")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of chips and results.  [default: build/montecarlo/ and the name of the file]",
)
@click.option("--resume", is_flag=True, help="Go on with what is in DIR, to the same result.")
@click.option("--jobs", type=click.IntRange(1, 1024), metavar="N", help="Processes.  [default: one for each core]")
@click.option("--progress/--no-progress", default=None, help="Progress bars.  [default: on a terminal]")
@click.pass_context
def command(
    ctx: click.Context,
    config: Path,
    chips: int | None,
    out: Path | None,
    resume: bool,
    jobs: int | None,
    progress: bool | None,
) -> None:
    """Run a network on many chips of an analog crossbar: accuracy over chips, corners and times.

    Writes montecarlo.json, montecarlo.md, chips.csv and figures. Ctrl-C (or SIGTERM) leaves with exit code 130 (or
    143); --resume goes on from there, also with more chips or corners.
    """
    from tetrit import montecarlo
    from tetrit.errors import Interrupted
    from tetrit.files import write_atomic
    from tetrit.montecarlo import tables
    from tetrit.report import montecarlo as figures

    chosen = montecarlo.load_config(config)
    if chips is not None:
        chosen = chosen.with_chips(chips)
    folder = Path("build", "montecarlo", config.stem) if out is None else out
    shown = sys.stderr.isatty() if progress is None else progress
    try:
        found = montecarlo.run(chosen, folder, resume=resume, jobs=jobs, progress=shown)
    except Interrupted as stop:
        click.echo(f"tetrit: {stop}", err=True)
        ctx.exit(130)
    write_atomic(folder / "montecarlo.md", montecarlo.markdown(found))
    write_atomic(folder / "chips.csv", montecarlo.to_csv(found))
    for name, content in figures.draw(found).items():
        write_atomic(folder / f"{name}.png", content)
    click.echo(f"{table(*tables.table(found))}\n\n{tables.NOTES}\nresults in {folder}")
