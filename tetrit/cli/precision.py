"""`tetrit precision`: a format for every layer of a network, chosen within limits and tried."""

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
    help="Folder of networks, choices and results.  [default: build/precision/ and the name of the file]",
)
@click.option("--resume", is_flag=True, help="Go on with what is in DIR, to the same result.")
@click.option("--jobs", type=click.IntRange(1, 1024), metavar="N", help="Processes.  [default: one for each core]")
@click.option("--progress/--no-progress", default=None, help="Progress bars.  [default: on a terminal]")
@click.pass_context
def command(
    ctx: click.Context, config: Path, out: Path | None, resume: bool, jobs: int | None, progress: bool | None
) -> None:
    """Choose a format for every layer: sensitivities, limits as the simulators price them, accuracy of the choices.

    Trains the network, measures how much each layer minds each format, chooses within limits on energy, cycles or size,
    and tries all choices, untrained and after a short training. Writes precision.json, precision.md, choices.csv and
    figures. Ctrl-C (or SIGTERM) leaves with exit code 130 (or 143); --resume goes on from there.
    """
    from tetrit.errors import Interrupted
    from tetrit.files import write_atomic
    from tetrit.flow import precision, precision_config, precision_result

    chosen = precision_config.load_config(config)
    folder = Path("build", "precision", config.stem) if out is None else out
    shown = sys.stderr.isatty() if progress is None else progress
    try:
        found = precision.run(chosen, folder, resume=resume, jobs=jobs, progress=shown)
    except Interrupted as stop:
        click.echo(f"tetrit: {stop}; go on with --resume", err=True)
        ctx.exit(130)
    write_atomic(folder / "precision.md", precision_result.markdown(found))
    write_atomic(folder / "choices.csv", precision_result.to_csv(found))
    from tetrit.report import precision as figures

    for name, content in figures.draw(found).items():
        write_atomic(folder / name, content)
    for name, (header, rows) in precision_result.tables(found).items():
        click.echo(f"{name}\n{table(header, rows)}\n")
    click.echo(f"results in {folder}")
