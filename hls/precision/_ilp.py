"""The integer program of a choice: one format a layer, groups of one format, sums within limits, solved by HiGHS."""

__all__ = ["Ilp", "Solved"]

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit.errors import ToolError
from tetrit.hls.highs import solver

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SLACK = 1e-12
"""Share of a limit, or of the largest summand, by which float sums may be beyond it and still count as within."""

_OBJECTIVE = 1e6
"""The largest coefficient of the objective: HiGHS takes solutions that differ by less than its tolerance as equal."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Solved:
    """The best choice that was found.

    Attributes
    ----------
    formats : ndarray of int64, shape (layers,)
    optimal : bool
        Whether no other is better; False after a time-out.
    bound : float
        What the objective is at least, for any choice.
    """

    formats: Ints
    optimal: bool
    bound: float


class Ilp:
    """The choices that are allowed.

    Parameters
    ----------
    losses : ndarray, shape (layers, formats)
        Infinite where a layer cannot have a format.
    groups : sequence of sequences of int
        Layers of one format.
    caps : sequence of (ndarray of shape (layers, formats), float)
        Sums of the first over the layers are at most the second.
    """

    def __init__(self, losses: Floats, groups: Sequence[Sequence[int]], caps: Sequence[tuple[Floats, float]]) -> None:
        self.allowed = np.isfinite(losses)
        self.groups = groups
        self.caps = [(np.where(self.allowed, array, 0.0), limit) for array, limit in caps]

    def solve(self, objective: Floats, *, time_limit_s: float = math.inf) -> Solved | None:
        """Return the choice with the least sum of `objective`, None where there is none.

        HiGHS works with tolerances, so that a sum may end a little beyond a limit: such a choice is cut off, and the
        rest searched again. After a time-out without any choice, `formats` is empty.
        """
        end = time.monotonic() + time_limit_s
        summands = np.where(self.allowed, objective, 0.0)
        offset = np.where(self.allowed, objective, np.inf).min(axis=1)
        shifted = np.where(self.allowed, objective - offset[:, np.newaxis], 0.0)
        scale = float(shifted.max()) / _OBJECTIVE or 1.0
        model = self._model(shifted / scale)
        while True:
            if math.isfinite(end):
                model.setOptionValue("time_limit", max(0.0, end - time.monotonic()) + model.getRunTime())
            model.run()
            status, info = model.getModelStatus().name, model.getInfo()
            if status == "kInfeasible":
                return None
            bound = math.fsum(offset) + info.mip_dual_bound * scale
            if status not in ("kOptimal", "kTimeLimit"):
                raise ToolError(f"HiGHS ended with the status {model.modelStatusToString(model.getModelStatus())}")
            if not math.isfinite(info.objective_function_value) or info.primal_solution_status != 2:
                return Solved(formats=np.empty(0, dtype=np.int64), optimal=False, bound=bound)
            values = np.array(model.getSolution().col_value).reshape(self.allowed.shape)
            formats: Ints = values.argmax(axis=1).astype(np.int64)
            if self._within(formats):
                total = math.fsum(summands[np.arange(len(formats)), formats])
                return Solved(formats=formats, optimal=status == "kOptimal", bound=min(bound, total))
            self._exclude(model, formats)

    def _within(self, formats: Ints) -> bool:
        rows = np.arange(len(formats))
        return all(
            math.fsum(array[rows, formats]) <= limit + SLACK * max(abs(limit), float(np.abs(array).max()))
            for array, limit in self.caps
        )

    def _model(self, objective: Floats) -> Any:
        model = solver(parallel="off", mip_abs_gap=0.0)
        import highspy

        n_layers, n_formats = self.allowed.shape
        count = n_layers * n_formats
        columns = np.arange(count, dtype=np.int32)
        model.addVars(count, np.zeros(count), self.allowed.astype(np.float64).ravel())
        model.changeColsCost(count, columns, objective.ravel())
        model.changeColsIntegrality(count, columns, np.full(count, highspy.HighsVarType.kInteger))
        number = columns.reshape(n_layers, n_formats)
        for row in number:
            model.addRow(1.0, 1.0, n_formats, row, np.ones(n_formats))
        for first, *others in self.groups:
            for other in others:
                for mine, theirs in zip(number[first], number[other], strict=True):
                    model.addRow(0.0, 0.0, 2, np.array([mine, theirs], dtype=np.int32), np.array([1.0, -1.0]))
        for array, limit in self.caps:
            unit = float(np.abs(array).max()) or 1.0
            model.addRow(-highspy.kHighsInf, limit / unit, count, columns, array.ravel() / unit)
        return model

    def _exclude(self, model: Any, formats: Ints) -> None:
        """Cut off one choice: not all of its layers may have its formats."""
        import highspy

        n_layers, n_formats = self.allowed.shape
        taken = (np.arange(n_layers) * n_formats + formats).astype(np.int32)
        model.addRow(-highspy.kHighsInf, n_layers - 1.0, n_layers, taken, np.ones(n_layers))
