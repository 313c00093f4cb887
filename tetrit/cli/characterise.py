"""`tetrit characterise`: the table of energy per event that modelled energies are computed from."""

__all__ = ["command"]

from pathlib import Path

import click


@click.command()
@click.option("--library", default="sg13g2", show_default=True, help="Embedded cell library.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE.toml", help="Instead of standard output."
)
def command(library: str, output: Path | None) -> None:
    """Measure the energy per event of every shift array on its mapped netlist.

    Takes about a minute; the result for the default library is part of the package.
    """
    from tetrit.flow.characterise import to_toml

    text = to_toml(library)
    if output is None:
        click.echo(text, nl=False)
        return
    from tetrit.report import write_files

    write_files(output.parent, {output.name: text})
