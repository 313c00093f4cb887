"""`tetrit synth`: area and delay of one component, mapped to a cell library."""

__all__ = ["command"]

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tetrit.cli._options import machine_option, table

if TYPE_CHECKING:
    from tetrit.rtl import Synthesis


@click.command()
@click.argument("component")
@machine_option
@click.option("--library", default="sg13g2", show_default=True, help="Embedded cell library.")
@click.option("--liberty", type=click.Path(path_type=Path), metavar="FILE.lib", help="A liberty file in its place.")
@click.option(
    "--json", "json_path", type=click.Path(path_type=Path), metavar="FILE", help="Write the figures here too."
)
def command(component: str, machine: str | None, library: str, liberty: Path | None, json_path: Path | None) -> None:
    """Print the area and the critical path of one component."""
    from tetrit import hardware, rtl

    machine = rtl.default_machine(component) if machine is None else machine
    result = rtl.synthesize(rtl.build(component, hardware.load(machine)), library=library, liberty=liberty)
    if json_path is not None:
        from tetrit.report import write_files

        figures = json.dumps(_figures(component, machine, result), indent=2) + "\n"
        write_files(json_path.parent, {json_path.name: figures})
    click.echo(_text(result))


def _text(result: "Synthesis") -> str:
    """Return figures, tables by module and by cell, the critical path, and what all of it rests on."""
    share = {cell.name: cell.area_um2 for cell in result.technology.cells}
    modules = [
        (name, str(each.instances), f"{each.own_area_um2:.1f}", f"{each.total_area_um2:.1f}")
        for name, each in result.modules.items()
    ]
    cells = [
        (name, str(count), f"{count * share[name]:.1f}")
        for name, count in sorted(result.cells.items(), key=lambda item: -item[1] * share[item[0]])
    ]
    path = [(step.net, step.cell_type or "input", f"{step.arrival_ns:.3f}") for step in result.critical_path]
    return "\n".join(
        (
            f"{result.name}: {result.area_um2:.1f} um2, {result.delay_ns:.3f} ns, {sum(result.cells.values())} cells",
            "",
            table(("module", "instances", "own um2", "with submodules um2"), modules),
            "",
            table(("cell", "count", "um2"), cells),
            "",
            f"critical path, ends at {result.critical_end}:",
            table(("net", "driven by", "at ns"), path),
            "",
            "assumptions:",
            *(f"- {line}" for line in result.assumptions),
        )
    )


def _figures(component: str, machine: str, result: "Synthesis") -> dict[str, Any]:
    """Return the same figures for a JSON file."""
    return {
        "component": component,
        "machine": machine,
        "technology": result.technology.name,
        "area_um2": result.area_um2,
        "leakage_nw": result.leakage_nw,
        "delay_ns": result.delay_ns,
        "cells": dict(result.cells),
        "modules": {
            name: {
                "instances": each.instances,
                "own_area_um2": each.own_area_um2,
                "total_area_um2": each.total_area_um2,
                "cells": dict(each.cells),
            }
            for name, each in result.modules.items()
        },
        "critical_path": [
            {"net": step.net, "cell": step.cell, "cell_type": step.cell_type, "arrival_ns": step.arrival_ns}
            for step in result.critical_path
        ],
        "critical_end": result.critical_end,
        "assumptions": list(result.assumptions),
    }
