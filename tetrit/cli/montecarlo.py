"""`tetrit montecarlo`: a trained network on many chips of a crossbar, in corners and over time."""

__all__ = ["command"]

from pathlib import Path

import click

from tetrit.cli._options import (
    folder_of,
    interruptible,
    jobs_option,
    out_option,
    progress_option,
    resume_option,
    shown,
    table,
)


@click.command()
@click.argument("config", type=click.Path(path_type=Path), metavar="CONFIG.toml")
@click.option("--chips", type=int, metavar="N", help="How many chips.  [default: the configuration's, or 100]")
@out_option("montecarlo", "chips and results")
@resume_option
@jobs_option
@progress_option
def command(
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
    from tetrit.files import write_atomic
    from tetrit.montecarlo import tables
    from tetrit.report import montecarlo as figures

    chosen = montecarlo.load_config(config)
    if chips is not None:
        chosen = chosen.with_chips(chips)
    folder = folder_of(out, "montecarlo", config)
    with interruptible():
        found = montecarlo.run(chosen, folder, resume=resume, jobs=jobs, progress=shown(progress))
    write_atomic(folder / "montecarlo.md", montecarlo.markdown(found))
    write_atomic(folder / "chips.csv", montecarlo.to_csv(found))
    for name, content in figures.draw(found).items():
        write_atomic(folder / f"{name}.png", content)
    click.echo(f"{table(*tables.table(found))}\n\n{tables.NOTES}\nresults in {folder}")
