"""`tetrit run`: the whole way of one configuration, from data to report."""

__all__ = ["command"]

import sys
from pathlib import Path

import click

from tetrit.cli._waves import recorder, waves_summary, waves_window_options


@click.command()
@click.argument("config", type=click.Path(path_type=Path), metavar="CONFIG.toml")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Folder of the results.")
@click.option("--progress/--no-progress", default=None, help="Progress bars.  [default: on a terminal]")
@click.option("--waves", is_flag=True, help="Record waveforms of the verified RTL in DIR/waves; see `tetrit verify`.")
@waves_window_options
@click.pass_context
def command(
    ctx: click.Context,
    config: Path,
    out: Path,
    progress: bool | None,
    waves: bool,
    waves_cycles: int | None,
    waves_from: int | None,
) -> None:
    """Train, map, simulate, verify and cost one network.

    The exit code is 1 if the hardware computes anything else than the model; the report is written all the same.
    """
    from tetrit import flow, report

    shown = sys.stderr.isatty() if progress is None else progress
    recorded = recorder(out / "waves" if waves else None, waves_cycles, waves_from)
    made = flow.run(config, out, progress=shown, waves=recorded)
    click.echo(report.summary(made))
    if recorded is not None:
        click.echo(waves_summary(recorded))
    ctx.exit(0 if all(bench["passed"] for bench in made.get("verify", {}).get("testbenches", [])) else 1)
