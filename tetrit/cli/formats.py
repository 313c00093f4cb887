"""`tetrit formats`: the number formats and their code tables."""

__all__ = ["command"]

import click

from tetrit.cli._options import table


@click.command()
@click.argument("name", required=False)
def command(name: str | None) -> None:
    """List the number formats, or print the codes of one."""
    from tetrit import formats

    if name is None:
        rows = [
            (each.name, str(each.bits), f"{each.max_value:g}", f"{each.min_positive:g}")
            for each in map(formats.get, formats.names())
        ]
        click.echo(table(("format", "bits", "largest", "smallest positive"), rows))
        return
    chosen = formats.get(name)
    digits = -(-chosen.bits // 4)
    codes = [
        (f"0x{code:0{digits}x}", f"{code:0{chosen.bits}b}", repr(value))
        for code, value in enumerate(chosen.values.tolist())
    ]
    click.echo(table(("code", "bits", "value"), codes))
