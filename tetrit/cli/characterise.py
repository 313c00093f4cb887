"""`tetrit characterise`: the table of energy per event that modelled energies are computed from."""

__all__ = ["command"]

from pathlib import Path

import click


@click.command()
@click.option(
    "--machine", type=click.Choice(["shift", "simd"]), default="shift", show_default=True, help="Whose table."
)
@click.option("--library", default="sg13g2", show_default=True, help="Embedded cell library.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE.toml", help="Instead of standard output."
)
def command(machine: str, library: str, output: Path | None) -> None:
    """Measure the energy per event of every shift array, or of the SIMD engine, on mapped netlists.

    Takes about a minute; the results for the default library are part of the package.
    """
    from tetrit.flow import characterise, simd_energy

    text = (characterise if machine == "shift" else simd_energy).to_toml(library)
    if output is None:
        click.echo(text, nl=False)
        return
    from tetrit.report import write_files

    write_files(output.parent, {output.name: text})
