"""What `tetrit run` and `tetrit verify` share about waveforms: options, and what is said of the files."""

__all__ = ["recorder", "waves_summary", "waves_window_options"]

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tetrit.cli._options import table

if TYPE_CHECKING:
    from tetrit.verify.waves import Waves

_MOST_ROWS = 20


def waves_window_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say which cycles are recorded."""
    for option in (
        click.option(
            "--waves-from",
            type=click.IntRange(0, 2**50),
            metavar="CYCLE",
            help="First recorded cycle.  [default: so that 3/4 come before the first mismatch; 0 if there is none]",
        ),
        click.option(
            "--waves-cycles",
            type=click.IntRange(1, 2**40),
            metavar="N",
            help="Recorded cycles of each bench.  [default: 2000]",
        ),
    ):
        command = option(command)
    return command


def recorder(directory: Path | None, cycles: int | None, first: int | None) -> "Waves | None":
    """Return what records, or None; a window without waveforms is a usage error."""
    if directory is None:
        for name, value in (("--waves-cycles", cycles), ("--waves-from", first)):
            if value is not None:
                raise click.UsageError(f"{name} is about what --waves records")
        return None
    from tetrit.errors import InvalidValueError
    from tetrit.verify.waves import DEFAULT_CYCLES, Waves

    if directory.exists() and not directory.is_dir():
        raise InvalidValueError(f"cannot write waveforms to '{directory}': it is no folder")
    return Waves(directory, cycles=DEFAULT_CYCLES if cycles is None else cycles, first=first)


def waves_summary(waves: "Waves") -> str:
    """Return the files that were made, in lines."""
    rows = [
        (
            made.path.name,
            f"{made.first} to {made.end - 1}",
            "" if made.mismatch is None else str(made.mismatch),
            str(made.signals),
            f"{made.fst_bytes / 1e3:.1f}",
            f"{made.vcd_bytes / 1e3:.1f}",
        )
        for made in sorted(waves.recordings, key=lambda made: (made.mismatch is None, made.path.name))
    ]
    lines = [f"waveforms in {waves.directory}:"]
    header = ("file", "cycles", "mismatch in", "signals", "kB", "kB as VCD")
    lines.append(table(header, rows[:_MOST_ROWS]))
    if len(rows) > _MOST_ROWS:
        lines.append(f"and {len(rows) - _MOST_ROWS} more")
    lines += [f"no waveform of '{name}': it ends before cycle {waves.first}" for name in waves.short]
    return "\n".join(lines)
