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
@click.option(
    "--header", type=click.Path(path_type=Path), metavar="FILE.h", help="Write the co-processor's C header too."
)
@click.option("--list", "list_components", is_flag=True, help="List the components.")
def command(
    component: str | None,
    machine: str | None,
    output: Path | None,
    name: str | None,
    header: Path | None,
    list_components: bool,
) -> None:
    """Write the Verilog of one component."""
    from tetrit import hardware, rtl

    if list_components:
        click.echo("\n".join(rtl.components()))
        return
    if component is None:
        raise click.UsageError("COMPONENT is missing; `tetrit rtl --list` lists them")
    if header is not None and rtl.full_name(component) != "MatmulCoprocessor":
        raise click.UsageError("--header is for the co-processor only")
    design = rtl.build(component, hardware.load(rtl.default_machine(component) if machine is None else machine))
    text = rtl.to_verilog(design, name or component)
    files = {} if output is None else {output: text}
    if header is not None:
        files[header] = rtl.coprocessor.header()
    for path, content in files.items():
        from tetrit.report import write_files

        write_files(path.parent, {path.name: content})
    if output is None:
        click.echo(text, nl=False)
