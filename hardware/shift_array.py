"""The multiplier-free array described, with every width and interval that simulator and RTL derive from it."""

__all__ = ["DATAFLOWS", "WEIGHT_FORMATS", "Dataflow", "ShiftArray"]

from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

from tetrit import checks, formats
from tetrit.errors import InvalidValueError
from tetrit.hardware.memory import Memory

Dataflow = Literal["weight_stationary", "output_stationary"]
DATAFLOWS: tuple[Dataflow, ...] = ("weight_stationary", "output_stationary")
WEIGHT_FORMATS: tuple[str, ...] = ("szt", "int2_symmetric", "pot2", "pot3", "pot4", "pot3z", "pot4z", "posit4_1")
ACT_FORMATS: tuple[str, ...] = tuple(f"int{bits}" for bits in range(2, 17))


@dataclass(frozen=True, kw_only=True)
class ShiftArray:
    """A systolic array whose processing elements select, negate and shift instead of multiplying.

    Every weight is zero or plus or minus a power of two, so a product is a masked, shifted, optionally negated
    activation. Weight codes are decoded once, at the edge of the array; the processing elements hold decoded weights.

    *Weight stationary*: rows carry the reduction (k), columns the outputs (n). A tile's weights sit in one of two banks
    while the other bank is loaded. *Output stationary*: rows carry activation vectors (m), columns outputs (n); sums
    stay
    in place and a finished tile drains while the next one computes.

    Attributes
    ----------
    rows, cols : int
        Size of the array.
    act_format : str
        ``int2`` .. ``int16``.
    weight_format : str
        One of `WEIGHT_FORMATS`. ``int2_symmetric`` is two's-complement ternary.
    acc_bits : int
        Width of accumulators and partial sums, two's complement. The unit is the weight format's smallest positive
        value.
    dataflow : {"weight_stationary", "output_stationary"}
        Fixed when the hardware is built.
    multiplier_bits : int
        Width of the requantiser's dyadic multiplier.
    clock_mhz : float
        Clock that latencies are stated for.
    weight_memory, act_memory, acc_memory : Memory
        Scratchpads of weight codes, activations, and partial sums and results. The accumulator memory has a read and a
        write port.
    """

    rows: int
    cols: int
    act_format: str = "int8"
    weight_format: str = "szt"
    acc_bits: int = 24
    dataflow: Dataflow = "weight_stationary"
    multiplier_bits: int = 16
    clock_mhz: float = 100.0
    weight_memory: Memory = field(default_factory=Memory)
    act_memory: Memory = field(default_factory=Memory)
    acc_memory: Memory = field(default_factory=Memory)

    def __post_init__(self) -> None:
        for name, maximum in (("rows", 4096), ("cols", 4096)):
            object.__setattr__(self, name, checks.integer(name, getattr(self, name), maximum=maximum))
        checks.choice("act_format", self.act_format, ACT_FORMATS)
        checks.choice("weight_format", self.weight_format, WEIGHT_FORMATS)
        checks.choice("dataflow", self.dataflow, DATAFLOWS)
        object.__setattr__(self, "acc_bits", checks.integer("acc_bits", self.acc_bits, minimum=2, maximum=63))
        object.__setattr__(
            self, "multiplier_bits", checks.integer("multiplier_bits", self.multiplier_bits, minimum=2, maximum=31)
        )
        object.__setattr__(self, "clock_mhz", checks.real("clock_mhz", self.clock_mhz, minimum=0.0, exclusive=True))
        for name in ("weight_memory", "act_memory", "acc_memory"):
            if not isinstance(getattr(self, name), Memory):
                raise TypeError(f"`{name}` must be a Memory, got {getattr(self, name)!r}")
        needed = formats.accumulator_bits(self.activations, self.weights, 1)
        if self.acc_bits < needed:
            raise InvalidValueError(
                f"`acc_bits` must be at least {needed} to hold one product of {self.act_format} and "
                f"{self.weight_format}, got {self.acc_bits}"
            )

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, validated again."""
        return replace(self, **changes)

    @property
    def weights(self) -> formats.RealFormat:
        """The weight format."""
        return _real(formats.get(self.weight_format))

    @property
    def activations(self) -> formats.RealFormat:
        """The activation format."""
        return _real(formats.get(self.act_format))

    @property
    def weight_vector_bits(self) -> int:
        """Bits of one row of weight codes."""
        return self.cols * self.weights.bits

    @property
    def act_vector_bits(self) -> int:
        """Bits of one vector of activations."""
        return self.rows * self.activations.bits

    @property
    def acc_vector_bits(self) -> int:
        """Bits of one vector of partial sums or results."""
        return self.cols * self.acc_bits

    @property
    def weight_word_bits(self) -> int:
        """Bits of a word of the weight memory."""
        return self.weight_memory.word_bits(self.weight_vector_bits)

    @property
    def act_word_bits(self) -> int:
        """Bits of a word of the activation memory."""
        return self.act_memory.word_bits(self.act_vector_bits)

    @property
    def acc_word_bits(self) -> int:
        """Bits of a word of the accumulator memory."""
        return self.acc_memory.word_bits(self.acc_vector_bits)

    @property
    def weight_words(self) -> int:
        """Cycles that the weight memory takes to deliver one row of codes."""
        return self.weight_memory.words(self.weight_vector_bits)

    @property
    def act_words(self) -> int:
        """Cycles that the activation memory takes to deliver one vector."""
        return self.act_memory.words(self.act_vector_bits)

    @property
    def acc_words(self) -> int:
        """Cycles that the accumulator memory takes to deliver, or to take, one vector."""
        return self.acc_memory.words(self.acc_vector_bits)

    @property
    def pipeline_depth(self) -> int:
        """Cycles from an accepted activation vector (or, output stationary, a drained row) to its result vector."""
        return self.rows + self.cols - 1 if self.dataflow == "weight_stationary" else self.cols


def _real(found: formats.Format) -> formats.RealFormat:
    assert isinstance(found, formats.RealFormat)
    return found
