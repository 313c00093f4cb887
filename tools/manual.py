"""Fills the parts of the manual that the package is the authority for: formats, and the help of the commands."""

__all__ = ["on_page_markdown"]

from typing import Any

import click

from tetrit import formats
from tetrit.cli import cli


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the markers of one page; called by MkDocs."""
    parts = (("<!-- formats -->", _formats), ("<!-- block formats -->", _blocks), ("<!-- commands -->", _commands))
    for marker, text in parts:
        if marker in markdown:
            markdown = markdown.replace(marker, text())
    return markdown


def _formats() -> str:
    rows = ["| name | bits | largest | smallest positive |", "|---|---|---|---|"]
    for found in map(formats.get, formats.names()):
        rows.append(f"| `{found.name}` | {found.bits} | {found.max_value:g} | {found.min_positive:g} |")
    return "\n".join(rows)


def _blocks() -> str:
    rows = [
        "| name | elements | scale | elements per scale | bits per element | largest |",
        "|---|---|---|---|---|---|",
    ]
    for found in map(formats.block_format, formats.block_names()):
        shared = "all" if found.block is None else found.block
        rows.append(
            f"| `{found.name}` | `{found.element.name}` | {found.scale.upper()} | {shared} "
            f"| {found.bits_per_element:g} | {found.max_value:g} |"
        )
    return "\n".join(rows)


def _commands() -> str:
    pages = []
    group = click.Context(cli, info_name="tetrit", max_content_width=100)
    for name in cli.list_commands(group):
        command = cli.get_command(group, name)
        context = click.Context(command, info_name=name, parent=group, max_content_width=100)
        pages.append(f"## tetrit {name}\n\n```text\n{command.get_help(context)}\n```\n")
    return "\n".join(pages)
