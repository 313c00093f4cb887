"""The beginning of a training: its folder, its data, and the state of PyTorch around it."""

__all__ = ["CHECKPOINT", "CONFIG", "METRICS", "MODEL", "TIMINGS", "run"]

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tetrit.errors import InvalidValueError, ToolError
from tetrit.files import alone, write_atomic
from tetrit.train.loop.config import LoopConfig
from tetrit.train.loop.memory import enough

CHECKPOINT = "checkpoint.pt"
CONFIG = "config.json"
METRICS = "metrics.json"
MODEL = "model.pt"
TIMINGS = "timings.json"


def run(
    config: LoopConfig,
    out: Path | str,
    *,
    resume: bool = False,
    progress: bool = False,
    after_step: Callable[[str, int], None] | None = None,
    float_run: Path | str | None = None,
    observe: Callable[[Any], dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Train one network.

    Contract: with the same configuration, data, machine and number of threads, parameters and metrics are the same bit
    for bit, however often the training was interrupted and resumed. The generators and settings of torch, numpy and
    Python are afterwards as they were before.

    Parameters
    ----------
    config : LoopConfig
    out : path-like
        Folder of the results: ``config.json``, ``checkpoint.pt``, ``metrics.json``, ``timings.json`` and, at the end,
        ``model.pt``, the state dict of the network. Every file is written in one step.
    resume : bool, default False
        Go on from the checkpoint there. A training that is finished is left as it is, but for results that are missing.
    progress : bool, default False
        Draw progress bars on standard error.
    after_step : callable, optional
        Called after each step with the name of the phase and the steps done in it.
    float_run : path-like, optional
        Folder of a finished run of ``config.float_part()``: a run that begins takes its network over in the place of a
        float phase of its own, to the same result bit for bit.
    observe : callable, optional
        Called with the quantised network at every evaluation, while its parameters still have the gradients of the last
        step (after clipping, if there is any); what it returns, numbers in lists and dicts, joins the history under
        ``"indicators"``.

    Returns
    -------
    dict
        The metrics, as in ``metrics.json``.

    Raises
    ------
    InvalidValueError
        If the folder holds another run, or this one and `resume` is not set, or another process trains there; the
        checkpoint is missing, damaged, or of other data; the model does not fit the data, or both the memory; or the
        training diverges: the message names the first module, parameter or gradient that was not finite, and the last
        checkpoint is kept.
    ToolError
        If PyTorch, or what the data needs, is not installed.
    Interrupted
        After Ctrl-C or SIGTERM: the step is finished and a checkpoint written.
    """
    out = Path(out)
    _check_folder(config, out, resume)
    try:
        from tetrit.train.loop import session
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "tqdm"):
            raise
        raise ToolError(f"training in PyTorch needs {error.name}: pip install 'tetrit[train]'") from None
    with enough():
        data = config.source.load(config.folder)
    with alone(out), enough():
        _check_folder(config, out, resume)  # again, now that nobody else can write there
        if not resume:
            text = json.dumps({"sha256": config.sha256, "config": config.table()}, indent=2)
            write_atomic(out / CONFIG, f"{text}\n")
        return session.run(
            config,
            data,
            out,
            resume=resume,
            progress=progress,
            after_step=after_step,
            float_run=None if float_run is None else Path(float_run),
            observe=observe,
        )


def _check_folder(config: LoopConfig, out: Path, resume: bool) -> None:
    """Refuse a folder that holds something else than `config` would write, before any work begins.

    The configuration of a run that has left nothing else, since it failed before its first checkpoint, binds nobody.
    """
    begun = (out / CHECKPOINT).exists()
    if (out / CONFIG).exists():
        try:
            found = json.loads((out / CONFIG).read_text(encoding="utf-8"))
            other, table = found["sha256"], found["config"]
        except OSError as error:
            raise InvalidValueError(f"cannot read '{out / CONFIG}': {error.strerror}") from None
        except (ValueError, TypeError, KeyError, RecursionError):
            other, table = None, None
        if not isinstance(other, str) or not isinstance(table, dict):
            raise InvalidValueError(f"'{out / CONFIG}' is not what tetrit has written there")
        if other != config.sha256 and any((out / name).exists() for name in (CHECKPOINT, METRICS, MODEL)):
            change = _difference("", table, config.table())
            raise InvalidValueError(f"'{out}' holds a run of another configuration{change}: choose another folder")
    elif begun:
        raise InvalidValueError(f"'{out}' holds a checkpoint without its {CONFIG}: choose another folder")
    if resume and not begun:
        raise InvalidValueError(f"there is no checkpoint in '{out}' to resume from")
    if begun and not resume:
        raise InvalidValueError(f"'{out}' already holds this run: resume it (--resume) or choose another folder")


def _difference(where: str, there: Any, here: Any) -> str:
    """Say which entry differs first."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in sorted({*there, *here}):
            change = _difference(f"{where}.{key}" if where else key, there.get(key), here.get(key))
            if change:
                return change
        return ""
    return "" if there == here else f" (`{where}` is {json.dumps(there)} there and {json.dumps(here)} here)"
