"""Copies and clearings, by a job of weights 0 and 1 or by the host, and the constants of products."""

__all__ = ["Mover"]

import numpy as np
import numpy.typing as npt

from tetrit.hardware import ShiftArray
from tetrit.hls.jobs.drafts import Buffer, Costs, Draft, Move, Operands, Spot, Work, collapsed
from tetrit.hls.jobs.forms import Form, Weights
from tetrit.sim.coprocessor import Coprocessor

Ints = npt.NDArray[np.int64]


class Mover:
    """Adds drafts to a list.

    Parameters
    ----------
    unit : Coprocessor
        With a `ShiftArray`.
    costs : Costs
        Of drafts.
    """

    def __init__(self, unit: Coprocessor, costs: Costs) -> None:
        assert isinstance(unit.machine, ShiftArray)
        self.unit, self.costs, self.machine = unit, costs, unit.machine
        self.weights = Weights.of(self.machine.weight_format)
        self.step = unit.data_bytes
        self.drafts: list[Draft] = []

    def add(self, draft: Draft, *touched: Buffer) -> None:
        """Add a draft that uses some buffers."""
        draft.touches = tuple(dict.fromkeys(touched))
        self.drafts.append(draft)

    def move(
        self,
        node: str,
        what: str,
        count: int,
        source: Spot | None,
        source_step: int,
        target: Spot,
        target_step: int,
        block: int,
        instead: Move | None = None,
    ) -> None:
        """Copy or clear `count` blocks, by a job or by the host, whichever costs less.

        `instead` is what the host would do, if that is less than all blocks.
        """
        host = instead or Move(
            name=what, node=node, counts=(count,), source_steps=(source_step,), target_steps=(target_step,),
            source=source, target=target, block=block,
        )  # fmt: skip
        host = collapsed(host)
        touched = [target[0], *([source[0]] if source else [])]
        numbers = [target[1], target_step, *([source[1], source_step] if source else [])]
        if self.weights.moves and not any(number % self.step for number in numbers):
            job = Work(
                name=what, node=node, m=count, a=source, a_stride=source_step, c=target, c_stride=target_step,
                operands=self._identity(block) if source else self._nothing(block),
            )  # fmt: skip
            if (target_step >= block or count == 1) and self.costs.of(job) < self.costs.of(host):
                self.add(job, *touched)
                return
        self.add(host, *touched)

    def _identity(self, n: int) -> Operands:
        weight = np.full((n, n), self.weights.codes[0], dtype=np.uint8)
        weight[np.diag_indices(n)] = self.weights.codes[1]
        bias, one = np.zeros(n, np.int64), np.ones(n, np.int64)
        return Operands(weight=weight, bias=bias, multiplier=2 * one, shift=one)

    def _nothing(self, n: int) -> Operands:
        weight = np.full((1, n), self.weights.codes[0], dtype=np.uint8)
        bias, one = np.zeros(n, np.int64), np.ones(n, np.int64)
        return Operands(weight=weight, bias=bias, multiplier=one, shift=one, same_weights=True)

    def spread(self, offsets: Ints, weight: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8] | None:
        """Return weights at their inputs' offsets in a row of A, zeros between them; None if there are no zeros."""
        size = int(offsets.max()) + 1
        if self.weights.zero is None and size != len(offsets):
            return None
        spread = np.full((size, weight.shape[1]), self.weights.zero or 0, dtype=np.uint8)
        spread[offsets] = weight
        return spread

    def no_zero(self) -> str:
        """Return what is wrong where a format lacks a weight of 0, and what to do."""
        return (
            f"its inputs do not lie side by side, and {self.machine.weight_format} has no weight of 0 for what is "
            f"between them: use a number of channels that is a multiple of {self.step}"
        )

    @staticmethod
    def operands(found: Form, weight: npt.NDArray[np.uint8]) -> Operands:
        """Return the constants of a form, with weights as they lie in the rows of its job."""
        return Operands(weight=weight, bias=found.bias, multiplier=found.multiplier, shift=found.shift, relu=found.relu)
