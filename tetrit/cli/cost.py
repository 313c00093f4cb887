"""`tetrit cost`: area, time and energy of a machine, and of a network on it, with the origin of every figure."""

__all__ = ["command"]

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tetrit.cli._options import arrays_option, formats_option, nonzero_option, shape_option, table

if TYPE_CHECKING:
    from tetrit.flow.costing import Costs, Row

_WIDTH = 116
_TITLES = {
    "area": "area",
    "event": "energy of an event",
    "time": "times",
    "leakage": "leakage",
    "latency": "latency",
    "energy": "energy of the network",
    "off-chip": "off-chip memory",
}


@click.command()
@click.option(
    "--machine",
    metavar="PRESET|FILE.toml",
    help="`tetrit machines` lists the presets.  [default: that of the configuration, else shift_16x16]",
)
@click.option(
    "--network",
    metavar="NAME|FILE.onnx|CONFIG.toml",
    help="A published network (see `tetrit compile`), an ONNX file, a checkpoint, or a perceptron's run configuration.",
)
@click.option("--node", type=float, metavar="NM", help="Scale to another technology node too, such as 28.")
@click.option("--voltage", type=float, metavar="V", help="Supply there.  [default: the node's nominal one]")
@click.option(
    "--nodes",
    type=click.Path(path_type=Path),
    metavar="FILE.toml",
    help="A table of nodes in place of the own one.",
)
@click.option(
    "--process",
    type=click.Choice(["hp", "lp"]),
    default="hp",
    show_default=True,
    help="High-performance or low-power transistors, where the table has both.",
)
@click.option(
    "--offchip", metavar="KIND", help="Such as ddr4, lpddr4 or hbm2; none: no off-chip memory.  [default: as `compile`]"
)
@click.option(
    "--memories",
    type=click.Choice(["machine", "model"]),
    default="machine",
    show_default=True,
    help="Prices of scratchpads: what the machine says of them, or the model of SRAM.",
)
@formats_option
@nonzero_option
@arrays_option
@shape_option
@click.option(
    "--json", "json_path", type=click.Path(path_type=Path), metavar="FILE", help="Write the figures here too."
)
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Write cost.json and cost.csv here too.")
def command(
    machine: str | None,
    network: str | None,
    node: float | None,
    voltage: float | None,
    nodes: Path | None,
    process: str,
    offchip: str | None,
    memories: Any,
    formats: str,
    nonzero: float,
    arrays: int | None,
    shape: dict[str, tuple[int, ...]],
    json_path: Path | None,
    out: Path | None,
) -> None:
    """Print what a machine costs, and what a network takes on it, without training anything.

    Every figure comes with its origin (synthesised, modelled, published or assumed) and its source; figures at another
    node stand beside the library's own, with their bounds. What has no price is listed.
    """
    from tetrit import hardware, report
    from tetrit.flow import costing
    from tetrit.report.canonical import to_json
    from tetrit.sim.cost.scaling import NodeTable

    pair = tuple(part.strip() for part in formats.split(","))
    if len(pair) != 2:
        raise click.BadParameter(f"'{formats}' is no pair of formats such as posit8_0,fp4_e2m1", param_hint="--formats")
    for name, value in (("--voltage", voltage), ("--nodes", nodes)):
        if value is not None and node is None:
            raise click.UsageError(f"`{name}` is about another node: give `--node` too")
    if out is not None:
        report.check_directory(out)
    target = costing.Target(
        node_nm=node,
        voltage_v=voltage,
        table=NodeTable.modelled() if nodes is None else NodeTable.load(nodes),
        process=process,
    )
    if shape and network is None:
        raise click.UsageError("`--shape` is about a network: give `--network` too")
    work = None if network is None else costing.read(network, shape)
    own = None if machine is not None or work is None else work.machine
    chosen = "shift_16x16" if machine is None else machine
    found = costing.cost(
        hardware.load(chosen) if own is None else own,
        None if work is None else work.products,
        target=target,
        off_chip=costing.off_chip_of(offchip),
        pair=pair,
        nonzero=nonzero,
        arrays=arrays,
        memories=memories,
    )
    name = "" if work is None else work.name
    label = Path(chosen).stem if own is None else f"machine of {name}"
    content = costing.to_dict(found, name=label, network=name or None)
    text = to_json(content)
    if json_path is not None:
        report.write_files(json_path.parent, {json_path.name: text})
    if out is not None:
        report.write_files(out, {"cost.json": text, "cost.csv": costing.to_csv(found)})
    click.echo(_text(found, label, name))
    if out is not None:
        click.echo(f"results in {out}")


def _text(found: "Costs", machine: str, network: str) -> str:
    """Return everything that is printed: tables by quantity, totals, sources, and what is missing."""
    from tetrit.flow.costing import ASSUMPTIONS, SUMMED
    from tetrit.report.numbers import percent, significant

    target = found.target
    head = f"{machine} at {found.own_nm:g} nm, {significant(found.machine.clock_mhz)} MHz"
    if found.scaled_nm is not None:
        head += f"; scaled to {target.node_nm:g} nm, {significant(target.supply_v)} V, {target.process}"
    lines = [head]
    if found.network is not None:
        mapped = found.network
        lines.append(
            f"{network}: {len(mapped.layers):,} layers, {mapped.macs:,} MACs, {mapped.cycles:,} cycles, "
            f"{percent(mapped.utilization, 1)} busy"
        )
    sources: dict[str, int] = {}
    for quantity, title in _TITLES.items():
        rows = list(found.of(quantity))
        if not rows:
            continue
        if quantity in SUMMED:
            rows.append(found.total(quantity))
        lines += ["", _table(title, rows, found, sources)]
        if quantity in SUMMED:
            lines.append(_origins(rows))
    for efficiency, where in ((found.efficiency("own"), found.own_nm), (found.efficiency("scaled"), found.scaled_nm)):
        if efficiency is not None:
            figures = "  ".join(f"{_value(figure)} {name}" for name, figure in efficiency.figures().items())
            lines += ["", f"at {where:g} nm: {figures}", _wrapped(f"({efficiency.definition})", " ")]
    lines += ["", "sources:", *(_wrapped(f"[{number}] {source}", "    ") for source, number in sources.items())]
    if found.scaled_nm is not None:
        lines.append(f"scaling: {target.table.source}; bounds in brackets")
    for title, texts in (("not priced:", found.missing), ("look at:", found.warnings), ("assumptions:", ASSUMPTIONS)):
        if texts:
            lines += ["", title, *(_wrapped(f"- {text}", "  ") for text in texts)]
    return "\n".join(lines)


def _wrapped(text: str, indent: str) -> str:
    return textwrap.fill(text, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _table(title: str, rows: "list[Row]", found: "Costs", sources: dict[str, int]) -> str:
    scaled = found.scaled_nm is not None
    header = [title, f"{found.own_nm:g} nm", "unit", "bounds", "origin"]
    header += [f"{found.scaled_nm:g} nm", "bounds"] if scaled else []
    body = []
    for row in rows:
        cells = [row.component, _value(row.own), row.own.unit, _bounds(row.own), row.own.origin]
        if scaled:
            cells += ["-", ""] if row.scaled is None else [_value(row.scaled), _bounds(row.scaled)]
        if row.component != "total":
            cells.append(f"[{sources.setdefault(row.own.source, len(sources) + 1)}]")
        else:
            cells.append("")
        body.append(cells)
    return table([*header, "source"], body)


def _value(figure: Any) -> str:
    from tetrit.report.numbers import significant

    return significant(figure.value, 4)


def _bounds(figure: Any) -> str:
    from tetrit.report.numbers import significant

    return "" if figure.low is None else f"({significant(figure.low)} to {significant(figure.high)})"


def _origins(rows: "list[Row]") -> str:
    """Return how much of a total each kind of origin makes up."""
    from tetrit.flow.costing.rows import by_origin
    from tetrit.report.numbers import percent

    parts, total = by_origin(row.own for row in rows[:-1]), rows[-1].own.value
    if total == 0:
        return "of it: nothing"
    return "of it: " + ", ".join(f"{percent(value / total, 1)} {origin}" for origin, value in parts.items())
