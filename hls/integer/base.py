"""What every node of an integer network is: the authority for the protocol by which graphs check and run them."""

__all__ = ["IntegerNode", "OneInput"]

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tetrit.errors import InvalidValueError
from tetrit.hls.integer.tensor import IntegerTensor

Ints = npt.NDArray[np.int64]
Tensors = Mapping[str, IntegerTensor]


@dataclass(frozen=True, kw_only=True, eq=False)
class IntegerNode(ABC):
    """One step of an integer network; it gives one tensor.

    Attributes
    ----------
    name : str
        Unique within a graph.
    output : str
        The tensor that it gives.
    """

    name: str
    output: str

    def __post_init__(self) -> None:
        for field in ("name", "output"):
            value = getattr(self, field)
            if not isinstance(value, str):
                raise TypeError(f"`{field}` of a node must be a string, got {value!r}")
            if not value:
                raise InvalidValueError(f"`{field}` of a node must not be empty")
        try:
            self._validate()
        except InvalidValueError as error:
            raise InvalidValueError(f"node '{self.name}': {error}") from None
        except TypeError as error:
            raise TypeError(f"node '{self.name}': {error}") from None

    @abstractmethod
    def _validate(self) -> None:
        """Raise TypeError or InvalidValueError for a field that can never be right."""

    @property
    @abstractmethod
    def sources(self) -> tuple[str, ...]:
        """The tensors that it takes."""

    @abstractmethod
    def check(self, tensors: Tensors) -> None:
        """Raise InvalidValueError if its tensors do not fit it; the message does not name the node."""

    @abstractmethod
    def compute(self, inputs: Sequence[Ints], tensors: Tensors) -> Ints:
        """Return the output, with the batch first, of inputs that are known to fit."""

    def reach(self, tensors: Tensors) -> int:
        """Return the greatest magnitude that its accumulator can have, whatever the inputs; 0 without one."""
        return 0

    def same(self, tensors: Tensors, *fields: str) -> None:
        """Raise InvalidValueError unless all inputs have these fields of the output."""
        out = tensors[self.output]
        for source in self.sources:
            for field in fields:
                has, wants = getattr(tensors[source], field), getattr(out, field)
                if has != wants:
                    raise InvalidValueError(
                        f"`{field}` of '{source}' must be that of '{self.output}', {wants}, got {has}"
                    )


@dataclass(frozen=True, kw_only=True, eq=False)
class OneInput(IntegerNode):
    """A node with one input."""

    input: str

    @property
    def sources(self) -> tuple[str, ...]:  # noqa: D102
        return (self.input,)
