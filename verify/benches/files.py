"""How a bench gets its stimulus and leaves what it observed."""

__all__ = ["cycle", "end_with_window", "load", "report", "save"]

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
import numpy.typing as npt
from cocotb.triggers import Timer
from cocotb.utils import get_sim_time

from tetrit.verify.simulate import END_CYCLE_VARIABLE, FOLDER_VARIABLE, OBSERVED, STIMULUS


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


def cycle() -> int:
    """Return the number of the cycle that the last rising edge has begun; a clock period is two steps of time."""
    return (int(get_sim_time("step")) + 1) // 2


def end_with_window() -> None:
    """Let the simulation end, with nothing observed, at the end of the cycles that are recorded, if any are."""
    end = int(os.environ.get(END_CYCLE_VARIABLE, "0"))

    async def stop() -> None:
        await Timer(2 * end, "step")
        save({}, [])
        cocotb.pass_test("the window is recorded")

    if end:
        cocotb.start_soon(stop())
