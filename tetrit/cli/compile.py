"""`tetrit compile`: a network onto a machine: mapping of every layer, memory plan, files, and C++ where asked."""

__all__ = ["command"]

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from tetrit.cli._options import arrays_option, formats_option, nonzero_option, shape_option, table

_SUFFIXES = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "KIB": 2**10, "MIB": 2**20}


def _bytes(ctx: click.Context, option: click.Parameter, text: str | None) -> int | None:
    """Return the bytes that a text like ``65536`` or ``64KiB`` means."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,15})\s*([A-Za-z]*)", text.strip())
    if found is None or found[2].upper() not in _SUFFIXES or int(found[1]) == 0:
        raise click.BadParameter(f"'{text}' is no number of bytes such as 65536, 64KiB or 1MB", ctx, option)
    return int(found[1]) * _SUFFIXES[found[2].upper()]


@click.command()
@click.argument("network", metavar="NETWORK")
@click.option("--machine", required=True, metavar="PRESET|FILE.toml", help="`tetrit machines` lists the presets.")
@click.option(
    "--cost",
    type=click.Choice(["latency", "energy", "edp"]),
    default="latency",
    show_default=True,
    help="What is made least in every layer.",
)
@click.option(
    "--memory-budget",
    callback=_bytes,
    metavar="BYTES",
    help="Scratchpad for activations between layers, as 65536 or 64KiB.  [default: the least without traffic]",
)
@click.option("--no-off-chip", is_flag=True, help="Let operands be in the scratchpads at no cost.")
@click.option(
    "--off-chip-bits",
    type=click.IntRange(1, 4096),
    default=64,
    show_default=True,
    metavar="N",
    help="Bits that off-chip memory moves in a cycle.",
)
@formats_option
@nonzero_option
@arrays_option
@shape_option
@click.option("--hls-cpp", is_flag=True, help="Write C++ for high-level synthesis too; needs an integer network.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of the results.  [default: build/compile/ and the name of the network]",
)
def command(
    network: str,
    machine: str,
    cost: str,
    memory_budget: int | None,
    no_off_chip: bool,
    off_chip_bits: int,
    formats: str,
    nonzero: float,
    arrays: int | None,
    shape: dict[str, tuple[int, ...]],
    hls_cpp: bool,
    out: Path | None,
) -> None:
    """Map a network onto a machine: cycles, roofline and energy of every layer, and a memory plan.

    NETWORK is an ONNX file, a checkpoint of `tetrit train` (.safetensors), or the name of a published network; see
    `tetrit.hls.networks`. Writes compile.json, layers.csv and figures (PNG and SVG), all or none.
    """
    from tetrit import hardware, report
    from tetrit.flow import compiling
    from tetrit.hls.mapping import OFF_CHIP
    from tetrit.report import compiled
    from tetrit.report.canonical import to_json

    pair = tuple(part.strip() for part in formats.split(","))
    if len(pair) != 2:
        raise click.BadParameter(f"'{formats}' is no pair of formats such as posit8_0,fp4_e2m1", param_hint="--formats")
    out = Path("build", "compile", Path(network).stem) if out is None else out
    report.check_directory(out)
    target = hardware.load(machine)
    read = compiling.read_network(network, shape)
    result = compiling.compile_network(
        read,
        target,
        cost,
        memory_budget=memory_budget,
        off_chip=None if no_off_chip else OFF_CHIP.replace(width_bits=off_chip_bits),
        formats=pair,
        nonzero=nonzero,
        arrays=arrays,
    )
    figures = compiled.draw(result, compiling.rows(result))
    written = compiling.write_cpp(read, out / "hls_cpp") if hls_cpp else None
    report.write_files(out, {"compile.json": to_json(result), "layers.csv": compiling.to_csv(result), **figures})
    click.echo(_text(result, compiling.rows(result)))
    if written is not None:
        click.echo(f"C++ in {written}")
    click.echo(f"results in {out}")


def _text(result: Mapping[str, Any], rows: list[dict[str, Any]]) -> str:
    """Return the tables that are printed."""
    from tetrit.report.numbers import in_unit, percent, significant

    header = ("layer", "times", "m x k x n", "cycles", "busy", "bound by", "MAC/byte", "energy", "proven")
    body = []
    for row in rows:
        groups = f" x {row['count']:,}" if row["count"] > 1 else ""
        intensity = row["intensity_macs_per_byte"]
        body.append(
            (
                row["name"],
                str(row["times"]),
                f"{row['m']:,} x {row['k']:,} x {row['n']:,}{groups}",
                f"{row['cycles'] * row['times']:,}",
                percent(row["utilization"], 1),
                row["bound"],
                "-" if intensity is None else significant(intensity),
                in_unit(row["energy_pj"] * row["times"] * 1e-6, "µJ"),
                "yes" if row["optimal"] else "no",
            )
        )
    totals, plan, net = result["totals"], result["memory_plan"], result["network"]
    least = "least without traffic" if plan["budget_bytes"] is None else f"budget {plan['budget_bytes']:,} bytes"
    proof = "optimal, proven" if plan["optimal"] else "not proven to be the least"
    lines = [
        f"{net['name']}: {net['layers']:,} layers, {net['macs']:,} MACs; least {result['cost']}",
        "",
        table(header, body),
        "",
        f"cycles   {totals['cycles']:,} ({in_unit(totals['latency_us'], 'µs')} at {significant(result['clock_mhz'])} "
        f"MHz), {percent(totals['utilization'], 1)} busy",
        f"energy   {in_unit(totals['energy_pj'] * 1e-6, 'µJ')} (modelled)",
        f"mapping  proven to be optimal in {totals['proven_layers']:,} of {net['layers']:,} layers",
        f"memory   peak {plan['peak_bytes']:,} bytes ({least}), traffic {plan['traffic_bytes']:,} bytes, "
        f"{plan['method']}: {proof}",
    ]
    return "\n".join(lines)
