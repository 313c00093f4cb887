"""`tetrit precision`: a format for every layer of a network, chosen within limits and tried."""

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
@out_option("precision", "networks, choices and results")
@resume_option
@jobs_option
@progress_option
def command(config: Path, out: Path | None, resume: bool, jobs: int | None, progress: bool | None) -> None:
    """Choose a format for every layer: sensitivities, limits as the simulators price them, accuracy of the choices.

    Trains the network, measures how much each layer minds each format, chooses within limits on energy, cycles or size,
    and tries all choices, untrained and after a short training. Writes precision.json, precision.md, choices.csv and
    figures. Ctrl-C (or SIGTERM) leaves with exit code 130 (or 143); --resume goes on from there.
    """
    from tetrit.files import write_atomic
    from tetrit.flow import precision, precision_config, precision_result

    chosen = precision_config.load_config(config)
    folder = folder_of(out, "precision", config)
    with interruptible("; go on with --resume"):
        found = precision.run(chosen, folder, resume=resume, jobs=jobs, progress=shown(progress))
    write_atomic(folder / "precision.md", precision_result.markdown(found))
    write_atomic(folder / "choices.csv", precision_result.to_csv(found))
    from tetrit.report import precision as figures

    for name, content in figures.draw(found).items():
        write_atomic(folder / name, content)
    for name, (header, rows) in precision_result.tables(found).items():
        click.echo(f"{name}\n{table(header, rows)}\n")
    click.echo(f"results in {folder}")
