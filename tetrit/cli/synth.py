"""`tetrit synth`: area, delay and energy of one component, mapped to cells, or what it takes of an FPGA."""

__all__ = ["command"]

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tetrit.cli._options import machine_option, table

if TYPE_CHECKING:
    from tetrit.rtl import Activity, Energy, FpgaMapping, Synthesis


@click.command()
@click.argument("component")
@machine_option
@click.option("--library", default="sg13g2", show_default=True, help="Embedded cell library.")
@click.option("--liberty", type=click.Path(path_type=Path), metavar="FILE.lib", help="A liberty file in its place.")
@click.option("--fpga", metavar="FAMILY", help="An FPGA in its place: xilinx, or ecp5, which is placed and routed.")
@click.option(
    "--activity",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Switching activity of the gates (SAIF or VCD of any simulator), priced at the machine's clock.",
)
@click.option(
    "--scope", metavar="A/B", help="Instance in that file that is the component.  [default: the first of its name]"
)
@click.option(
    "--netlist",
    type=click.Path(path_type=Path),
    metavar="FILE.v",
    help="Write the gates here too, with models of their cells, for any simulator.",
)
@click.option(
    "--json", "json_path", type=click.Path(path_type=Path), metavar="FILE", help="Write the figures here too."
)
def command(
    component: str,
    machine: str | None,
    library: str,
    liberty: Path | None,
    fpga: Any,
    activity: Path | None,
    scope: str | None,
    netlist: Path | None,
    json_path: Path | None,
) -> None:
    """Print the area and the critical path of one component, and its energy, or what it takes of an FPGA."""
    from tetrit import hardware, rtl
    from tetrit.files import write_atomic

    if fpga is not None:
        for option, given in (("--liberty", liberty), ("--activity", activity), ("--netlist", netlist)):
            if given is not None:
                raise click.UsageError(f"`--fpga` and `{option}` exclude each other: an FPGA has no cell library")
    if scope is not None and activity is None:
        raise click.UsageError("`--scope` is an instance in the file of `--activity`, which is missing")
    machine = rtl.default_machine(component) if machine is None else machine
    target = hardware.load(machine)
    design = rtl.build(component, target)
    files = {}
    if fpga is None:
        result = rtl.synthesize(design, library=library, liberty=liberty)
        text, figures = _text(result), _figures(component, machine, result)
        if activity is not None:
            period_ns = 1000.0 / target.clock_mhz
            counted = rtl.read_activity(activity, result.structure, scope=scope, period_ns=period_ns)
            energy = counted.energy(period_ns)
            figures["energy"] = _energy_figures(activity, counted, energy, period_ns)
            text = f"{text}\n\n{_energy_text(activity, counted, energy, period_ns)}"
        if netlist is not None:
            files[netlist] = f"{result.netlist}\n{result.models}"
    else:
        mapping = rtl.map_fpga(design, fpga)
        text, figures = _fpga_text(mapping), {"component": component, "machine": machine} | _fpga_figures(mapping)
    if json_path is not None:
        files[json_path] = json.dumps(figures, indent=2) + "\n"
    for path, content in files.items():
        write_atomic(path, content)
    click.echo(text)


def _energy_text(path: Path, activity: "Activity", energy: "Energy", period_ns: float) -> str:
    """Return the energy by kind and by module."""
    kinds, modules = (
        [(name, f"{pj:.4f}", f"{pj / energy.total_pj:.1%}") for name, pj in part.items()]
        for part in (energy.by_kind, energy.by_module)
    )
    return "\n".join(
        (
            f"energy: {energy.total_pj:.4f} pJ a cycle at {1000 / period_ns:g} MHz (synthesised), "
            f"by {activity.n_cycles} cycles of {path.name}",
            "",
            table(("kind", "pJ a cycle", "share"), kinds),
            "",
            table(("module", "pJ a cycle", "share"), modules),
            *(
                [f"\nunknown at times, so perhaps too few toggles: {activity.n_unknown} nets"]
                if activity.n_unknown
                else []
            ),
        )
    )


def _energy_figures(path: Path, activity: "Activity", energy: "Energy", period_ns: float) -> dict[str, Any]:
    """Return the same for a JSON file."""
    return {
        "activity": path.name,
        "origin": "synthesised",
        "cycles": activity.n_cycles,
        "unknown_nets": activity.n_unknown,
        "period_ns": period_ns,
        "total_pj": energy.total_pj,
        "by_kind": dict(energy.by_kind),
        "by_module": dict(energy.by_module),
    }


def _fpga_text(mapping: "FpgaMapping") -> str:
    """Return figures, primitives, and what the figures rest on."""
    clock = "" if mapping.fmax_mhz is None else f", {mapping.fmax_mhz:.1f} MHz"
    return "\n".join(
        (
            f"{mapping.name} on {mapping.device}: {mapping.luts} LUTs, {mapping.flip_flops} flip-flops, "
            f"{mapping.brams:g} block RAMs, {mapping.dsps} DSPs{clock}",
            "",
            table(("primitive", "count"), [(kind, str(count)) for kind, count in mapping.cells.items()]),
            "",
            "assumptions:",
            *(f"- {line}" for line in mapping.assumptions),
        )
    )


def _fpga_figures(mapping: "FpgaMapping") -> dict[str, Any]:
    """Return the same figures for a JSON file."""
    names = ("family", "device", "luts", "flip_flops", "brams", "dsps", "fmax_mhz")
    figures = {name: getattr(mapping, name) for name in names}
    return figures | {"cells": dict(mapping.cells), "assumptions": list(mapping.assumptions)}


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
