"""`tetrit train`: a network in PyTorch, from a configuration, with checkpoints."""

__all__ = ["command"]

from pathlib import Path
from typing import Any

import click

from tetrit.cli._options import folder_of, interruptible, out_option, progress_option, shown, table


@click.command()
@click.argument("config", type=click.Path(path_type=Path), metavar="CONFIG.toml")
@out_option("train", "checkpoint, metrics and parameters")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in DIR, to the same result bit for bit.")
@progress_option
def command(config: Path, out: Path | None, resume: bool, progress: bool | None) -> None:
    """Train one network in PyTorch, in float or quantised.

    Ctrl-C (or SIGTERM) finishes the step, writes a checkpoint and leaves with exit code 130 (or 143); --resume goes on
    from there.
    """
    from tetrit.train import loop

    chosen = loop.load_config(config)
    folder = folder_of(out, "train", config)
    with interruptible("; go on with --resume"):
        metrics = loop.run(chosen, folder, resume=resume, progress=shown(progress))
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
