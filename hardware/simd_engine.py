"""The mixed-precision SIMD array described: formats, lanes, quires, and every width that simulator and RTL derive."""

__all__ = ["SIMD_FORMATS", "LaneMode", "SimdEngine"]

from dataclasses import dataclass, field, replace
from typing import Any, Self

from tetrit import checks, formats
from tetrit.errors import InvalidValueError
from tetrit.hardware.memory import Memory

SIMD_FORMATS: tuple[str, ...] = ("fp4_e2m1", "posit4_1", "posit8_0", "posit16_1")
PORT_BITS = 16
MAC_LATENCY = 3
READOUT_LATENCY = 4


@dataclass(frozen=True, kw_only=True)
class LaneMode:
    """How a processing element works on one pair of formats.

    Attributes
    ----------
    act_format, weight_format : str
        The pair.
    lanes : int
        Products per cycle; a lane's operands are ``port_bits / lanes`` bits apart.
    lane_quire_bits : int
        Width of each lane's quire, two's complement.
    lsb_exponent : int
        A quire's unit is ``2**lsb_exponent``, the product of both formats' units.
    max_terms : int
        Most products that a lane can add up whatever they are.
    """

    act_format: str
    weight_format: str
    lanes: int
    lane_quire_bits: int
    lsb_exponent: int
    max_terms: int


@dataclass(frozen=True, kw_only=True)
class SimdEngine:
    """An output-stationary array whose elements multiply 4 pairs of 4-bit, 2 of 8-bit or 1 of 16-bit codes a cycle.

    Rows carry vectors of activations (m), columns outputs (n). A word of `port_bits` holds neighbouring codes along the
    reduction (k), low code first: code ``k`` of a vector is in word ``k // lanes``, lane ``k % lanes``. Products are
    exact, and each lane adds them up exactly in a quire of its own, a segment of one register of `quire_bits`. The
    lanes' quires are added and rounded once, when a result is read out at the foot of its column.

    Formats may differ between weights and activations. The wider one sets the lanes; codes of the narrower one lie in
    the low bits of theirs.

    Attributes
    ----------
    rows, cols : int
        Size of the array.
    port_bits : int
        Bits of an operand word of one element; 16.
    formats : tuple of str
        Which of `SIMD_FORMATS` it is built for, in any pair.
    quire_bits : int
        Width of an element's quire register, split evenly among lanes.
    gating : bool
        Whether blocks that a mode leaves idle have their operands held and their clocks stopped.
    mode_switch_cycles : int
        Cycles in which nothing is issued when the pair of formats changes.
    clock_mhz : float
        Clock that latencies are stated for.
    weight_memory, act_memory, result_memory : Memory
        Scratchpads of weights, activations and results; those of operands are double-buffered.

    Notes
    -----
    The formats, and that one reconfigurable multiplier serves all of them, are those of XR-NPE (Chaudhari et al., arXiv
    2508.13049). Lanes, dataflow, pipeline, quire and its width are not published: they are **our assumption**. An
    element's pipeline: operands are kept and passed on; decoded and multiplied; aligned and added.
    """

    rows: int
    cols: int
    port_bits: int = PORT_BITS
    formats: tuple[str, ...] = SIMD_FORMATS
    quire_bits: int = 128
    gating: bool = True
    mode_switch_cycles: int = 1
    clock_mhz: float = 100.0
    weight_memory: Memory = field(default_factory=Memory)
    act_memory: Memory = field(default_factory=Memory)
    result_memory: Memory = field(default_factory=Memory)

    def __post_init__(self) -> None:
        for name in ("rows", "cols"):
            object.__setattr__(self, name, checks.integer(name, getattr(self, name), maximum=4096))
        if checks.integer("port_bits", self.port_bits) != PORT_BITS:
            raise InvalidValueError(f"`port_bits` must be {PORT_BITS}, got {self.port_bits}")
        if not isinstance(self.formats, tuple | list):
            raise TypeError(f"`formats` must be a list of names, got {self.formats!r}")
        for name in self.formats:
            checks.choice("formats", name, SIMD_FORMATS)
        if not self.formats or len(set(self.formats)) != len(self.formats):
            raise InvalidValueError(f"`formats` must name at least one format, and none twice, got {self.formats}")
        object.__setattr__(self, "formats", tuple(name for name in SIMD_FORMATS if name in self.formats))
        if not isinstance(self.gating, bool):
            raise TypeError(f"`gating` must be true or false, got {self.gating!r}")
        object.__setattr__(self, "quire_bits", checks.integer("quire_bits", self.quire_bits, minimum=8, maximum=1024))
        if self.quire_bits % 8:
            raise InvalidValueError(f"`quire_bits` must be a multiple of 8, got {self.quire_bits}")
        object.__setattr__(
            self, "mode_switch_cycles", checks.integer("mode_switch_cycles", self.mode_switch_cycles, minimum=0)
        )
        object.__setattr__(self, "clock_mhz", checks.real("clock_mhz", self.clock_mhz, minimum=0.0, exclusive=True))
        for name in ("weight_memory", "act_memory", "result_memory"):
            if not isinstance(getattr(self, name), Memory):
                raise TypeError(f"`{name}` must be a Memory, got {getattr(self, name)!r}")
        for act in self.formats:
            for weight in self.formats:
                self.mode(act, weight)

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, validated again."""
        return replace(self, **changes)

    @property
    def mac_latency(self) -> int:
        """Cycles from an operand word at an element's input to the quire that holds its products."""
        return MAC_LATENCY

    @property
    def readout_latency(self) -> int:
        """Cycles from an element's finished quires to the code: sum and bias; absolute value; normalise; round."""
        return READOUT_LATENCY

    @property
    def pipeline_depth(self) -> int:
        """Cycles from a row that starts to drain to its vector of codes: the first column's read-out, then the skew."""
        return self.cols - 1 + self.readout_latency

    @property
    def act_vector_bits(self) -> int:
        """Bits of what the array takes per step: one word per row."""
        return self.rows * self.port_bits

    @property
    def weight_vector_bits(self) -> int:
        """Bits of what the array takes per step: one word per column."""
        return self.cols * self.port_bits

    @property
    def result_vector_bits(self) -> int:
        """Bits of a drained row: one code per column, each in a field of `port_bits` whatever its format."""
        return self.cols * self.port_bits

    @property
    def act_word_bits(self) -> int:
        """Width of a word of the activation memory."""
        return self.act_memory.word_bits(self.act_vector_bits)

    @property
    def weight_word_bits(self) -> int:
        """Width of a word of the weight memory."""
        return self.weight_memory.word_bits(self.weight_vector_bits)

    @property
    def result_word_bits(self) -> int:
        """Width of a word of the result memory."""
        return self.result_memory.word_bits(self.result_vector_bits)

    @property
    def act_words(self) -> int:
        """Words, and so cycles, per vector of activations."""
        return self.act_memory.words(self.act_vector_bits)

    @property
    def weight_words(self) -> int:
        """Words, and so cycles, per vector of weights."""
        return self.weight_memory.words(self.weight_vector_bits)

    @property
    def result_words(self) -> int:
        """Words, and so cycles, per drained row."""
        return self.result_memory.words(self.result_vector_bits)

    def mode(self, act_format: str, weight_format: str) -> LaneMode:
        """Return how an element works on a pair of formats.

        Raises
        ------
        InvalidValueError
            The machine lacks one of them, or its quire holds no product of theirs.
        """
        for name, given in (("act_format", act_format), ("weight_format", weight_format)):
            if given not in self.formats:
                raise InvalidValueError(f"`{name}` must be one of {', '.join(self.formats)}, got '{given}'")
        act, weight = formats.get(act_format), formats.get(weight_format)
        lanes = self.port_bits // max(act.bits, weight.bits)
        width = self.quire_bits // lanes
        needed = formats.accumulator_bits(act, weight, 1)
        if needed > width:
            raise InvalidValueError(
                f"`quire_bits` must be at least {needed * lanes} for {act_format} x {weight_format}, "
                f"got {self.quire_bits}"
            )
        largest = max(abs(end) for end in act.integer_range) * max(abs(end) for end in weight.integer_range)
        return LaneMode(
            act_format=act_format,
            weight_format=weight_format,
            lanes=lanes,
            lane_quire_bits=width,
            lsb_exponent=act.lsb_exponent + weight.lsb_exponent,
            max_terms=(2 ** (width - 1) - 1) // largest,
        )
