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
    "--liberty",
    type=click.Path(path_type=Path),
    metavar="FILE.lib",
    help="A liberty file of your own in its place.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the operands.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE.toml", help="Instead of standard output."
)
def command(machine: str, library: str, liberty: Path | None, seed: int, output: Path | None) -> None:
    """Fit the energy per event of every shift array, or of the SIMD engine, to mapped netlists.

    Takes some minutes; the results for the default library are part of the package. Progress goes to standard error.
    """
    from tqdm import tqdm

    from tetrit import report
    from tetrit.flow import characterise, simd_energy
    from tetrit.rtl import load_technology, require_energy, yosys

    # whatever can be wrong, found before the work begins
    if output is not None:
        report.check_directory(output.parent)
    yosys.require()
    require_energy(load_technology(library, liberty))
    maker = characterise if machine == "shift" else simd_energy
    with tqdm(total=maker.N_STEPS, unit="variant") as bar:

        def step(name: str) -> None:
            bar.set_postfix_str(name)
            bar.update()

        text = maker.to_toml(library, liberty, seed=seed, step=step)
    if output is None:
        click.echo(text, nl=False)
        return
    report.write_files(output.parent, {output.name: text})
