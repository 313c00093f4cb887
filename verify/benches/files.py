"""How a bench gets its stimulus and leaves what it observed."""

__all__ = ["load", "report", "save"]

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit.verify.simulate import FOLDER_VARIABLE, OBSERVED, STIMULUS


def load() -> dict[str, npt.NDArray[Any]]:
    """Return the arrays that the parent process left for this bench."""
    with np.load(Path(os.environ[FOLDER_VARIABLE], STIMULUS)) as stimulus:
        return dict(stimulus)


def save(observed: Mapping[str, Any], messages: Sequence[str]) -> None:
    """Leave the observed arrays and what was wrong with them for the parent process."""
    np.savez(Path(os.environ[FOLDER_VARIABLE], OBSERVED), **observed, messages=np.array(messages, dtype=str))


def report(messages: Sequence[str]) -> None:
    """Fail the cocotb test with the first messages, if there are any."""
    assert not messages, "; ".join(messages[:5])
