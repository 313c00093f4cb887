"""`tetrit rtl`: the Verilog of one component."""

__all__ = ["command"]

from pathlib import Path

import click

from tetrit.cli._options import machine_option


@click.command()
@click.argument("component", required=False)
@machine_option
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE.v", help="Write here, not to stdout.")
@click.option("--name", help="Name of the top module.  [default: the component's]")
@click.option("--list", "list_components", is_flag=True, help="List the components.")
def command(component: str | None, machine: str, output: Path | None, name: str | None, list_components: bool) -> None:
    """Write the Verilog of one component."""
    from tetrit import hardware, rtl

    if list_components:
        click.echo("\n".join(rtl.components()))
        return
    if component is None:
        raise click.UsageError("COMPONENT is missing; `tetrit rtl --list` lists them")
    text = rtl.to_verilog(rtl.build(component, hardware.load_shift_array(machine)), name or component)
    if output is None:
        click.echo(text, nl=False)
    else:
        from tetrit.report import write_files

        write_files(output.parent, {output.name: text})
