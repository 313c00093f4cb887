"""One training of a comparison in a folder of its own: begun, gone on with, or found finished."""

__all__ = ["RESULT", "read_result", "run_cell"]

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tetrit.errors import InvalidValueError
from tetrit.files import write_atomic
from tetrit.train.compare.config import Cell
from tetrit.train.loop.start import CHECKPOINT
from tetrit.train.loop.start import run as train

RESULT = "result.json"
"""Written last of all: a cell that has it is finished."""

_SCHEMA = "tetrit-compare-cell/1"


def run_cell(cell: Cell, after_step: Callable[[str, int], None] | None = None) -> None:
    """Do what is left of a cell, and write its result; a training that diverges is a result too.

    Raises
    ------
    InvalidValueError
        If the folder holds another run, or what the training itself raises for wrong input.
    Interrupted
        After Ctrl-C or SIGTERM: a checkpoint is written.
    """
    from tetrit.train.compare.indicators import indicators
    from tetrit.train.loop.trainer import DivergedError

    if read_result(cell) is not None:
        return
    begun = {"schema": _SCHEMA, "config_sha256": cell.config.sha256}
    start = None if cell.float_run is None else _read(cell.float_run / RESULT)
    if start is not None and start["status"] == "diverged":
        _write(cell, begun | {"status": "diverged", "message": start["message"]})
        return
    try:
        metrics = train(
            cell.config,
            cell.folder,
            resume=(cell.folder / CHECKPOINT).exists(),
            after_step=after_step,
            float_run=cell.float_run,
            observe=indicators,
        )
    except DivergedError as error:
        _write(cell, begun | {"status": "diverged", "message": error.what})
        return
    kept = {name: metrics[name] for name in ("platform", "data", "model", "history", "results")}
    _write(cell, begun | {"status": "finished"} | kept)


def read_result(cell: Cell) -> dict[str, Any] | None:
    """Return the result of a cell, None if it is not finished; raises InvalidValueError if it is another's."""
    result = _read(cell.folder / RESULT)
    if result is not None and result["config_sha256"] != cell.config.sha256:
        raise InvalidValueError(f"'{cell.folder}' holds a run of another configuration: choose another folder")
    return result


def _read(path: Path) -> dict[str, Any] | None:
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        if result["schema"] != _SCHEMA or "config_sha256" not in result or "status" not in result:
            raise ValueError
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InvalidValueError(f"cannot read '{path}': {error.strerror}") from None
    except (ValueError, TypeError, KeyError):
        raise InvalidValueError(f"'{path}' is not what tetrit has written there") from None
    found: dict[str, Any] = result
    return found


def _write(cell: Cell, result: dict[str, Any]) -> None:
    write_atomic(cell.folder / RESULT, json.dumps(result, indent=1, allow_nan=False) + "\n")
