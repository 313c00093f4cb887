"""`tetrit machines`: the machines that come with tetrit, as TOML to start from."""

__all__ = ["command"]

import click


@click.command()
@click.argument("name", metavar="[PRESET|FILE.toml]", required=False)
def command(name: str | None) -> None:
    """List the machine presets, or print one as complete TOML."""
    from tetrit import hardware

    if name is None:
        click.echo("\n".join(hardware.presets()))
        return
    click.echo(hardware.to_toml(hardware.load(name)), nl=False)
