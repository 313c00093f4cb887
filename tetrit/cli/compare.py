"""`tetrit compare`: weight estimators on several tasks, from several seeds, at equal budget."""

__all__ = ["command"]

from pathlib import Path

import click

from tetrit.cli._options import (
    folder_of,
    interruptible,
    jobs_option,
    out_option,
    progress_option,
    resume_option,
    shown,
    table,
)


@click.command()
@click.argument("config", type=click.Path(path_type=Path), metavar="CONFIG.toml")
@out_option("compare", "cells and results")
@resume_option
@jobs_option
@progress_option
def command(config: Path, out: Path | None, resume: bool, jobs: int | None, progress: bool | None) -> None:
    """Compare weight estimators: each on every task, from every seed, for the same steps.

    Writes comparison.json, comparison.md, cells.csv and figures. Ctrl-C (or SIGTERM) leaves with exit code 130 (or
    143); --resume goes on from there.
    """
    from tetrit.files import write_atomic
    from tetrit.train import compare

    chosen = compare.load_config(config)
    folder = folder_of(out, "compare", config)
    with interruptible("; go on with --resume"):
        found = compare.run(chosen, folder, resume=resume, jobs=jobs, progress=shown(progress))
    write_atomic(folder / "comparison.md", f"# {chosen.name}\n\n{compare.markdown(found)}")
    write_atomic(folder / "cells.csv", compare.to_csv(found))
    from tetrit.report import comparison

    for name, content in comparison.draw(found).items():
        write_atomic(folder / f"{name}.png", content)
    for task, (header, rows) in compare.tables(found).items():
        click.echo(f"{task}\n{table(header, rows)}\n")
    click.echo(f"{compare.NOTES}\nresults in {folder}")
