"""The authority for running a job of the lockstep bench on a batch model, with the same observations."""

__all__ = ["observe"]

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit.errors import ToolError
from tetrit.verify.batch.library import Library
from tetrit.verify.batch.model import BatchModel
from tetrit.verify.batch.stitching import StitchedModel
from tetrit.verify.benches import comparing
from tetrit.verify.waves.tap import Tap


def observe(
    library: Library | StitchedModel, stimulus: Mapping[str, npt.NDArray[Any]], tap: Tap | None = None
) -> dict[str, npt.NDArray[Any]]:
    """Return what `tetrit.verify.benches.lockstep` observes, array for array.

    Parameters
    ----------
    library : Library or StitchedModel
        The design.
    stimulus : mapping of str to ndarray
        From `tetrit.verify.suites.job.lockstep_stimulus`.
    tap : Tap, optional
        A window that is recorded; row r is cycle r + 1, after the reset.

    Raises
    ------
    ToolError
        If the design lacks a port.
    """
    inputs, expected, checked = (comparing.ports(stimulus, prefix) for prefix in ("in_", "expected_", "check_"))
    model = BatchModel(library) if isinstance(library, Library) else library
    for port in (*inputs, *expected):
        if port not in model.inputs and port not in model.outputs:
            raise ToolError(f"the batch model has no port named '{port}'")
    rows = len(next(iter(inputs.values())))
    idle = {port: np.zeros(rows, dtype=np.int64) for port in model.inputs if port not in inputs}
    seen = model.run({**inputs, **idle}, outputs=list(expected), tap=tap)
    observed, messages = comparing.compare_rows(
        inputs, expected, checked, {port: seen[port].astype(values.dtype) for port, values in expected.items()}
    )
    return {**observed, "messages": np.array(messages, dtype=str)}
