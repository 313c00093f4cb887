"""`tetrit train`: a network in PyTorch, from a configuration, with checkpoints."""

__all__ = ["command"]

import sys
from pathlib import Path
from typing import Any

import click

from tetrit.cli._options import table


@click.command()
@click.argument("config", type=click.Path(path_type=Path), metavar="CONFIG.toml")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of checkpoint, metrics and parameters.  [default: build/train/ and the name of the file]",
)
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in DIR, to the same result bit for bit.")
@click.option("--progress/--no-progress", default=None, help="Progress bars.  [default: on a terminal]")
@click.pass_context
def command(ctx: click.Context, config: Path, out: Path | None, resume: bool, progress: bool | None) -> None:
    """Train one network in PyTorch, in float or quantised.

    Ctrl-C (or SIGTERM) finishes the step, writes a checkpoint and leaves with exit code 130 (or 143); --resume goes on
    from there.
    """
    from tetrit.train import loop

    chosen = loop.load_config(config)
    shown = sys.stderr.isatty() if progress is None else progress
    folder = Path("build", "train", config.stem) if out is None else out
    try:
        metrics = loop.run(chosen, folder, resume=resume, progress=shown)
    except loop.Interrupted as stop:
        click.echo(f"tetrit: {stop}; go on with --resume", err=True)
        ctx.exit(130)
    click.echo(_text(metrics))
    click.echo(f"results in {folder}")


def _text(metrics: dict[str, Any]) -> str:
    """Return a line for each phase: where it ended, and how good it is."""
    names = list(next(iter(metrics["results"].values()))["test"])
    columns = [(part, name) for part in ("validation", "test") for name in names]
    rows = [
        (
            phase + (", stopped early" if result["stopped_early"] else ""),
            str(result["steps"]),
            *(f"{result[part][name]:.4f}" for part, name in columns),
        )
        for phase, result in metrics["results"].items()
    ]
    return table(("phase", "steps", *(f"{part} {name.replace('_', ' ')}" for part, name in columns)), rows)
