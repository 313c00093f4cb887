"""The authority for the sizes that a co-processor derives from its machine and its bus."""

__all__ = ["Geometry"]

from dataclasses import dataclass

from tetrit import checks, formats
from tetrit.errors import InvalidValueError
from tetrit.hardware import ShiftArray
from tetrit.hardware.memory import Memory
from tetrit.hardware.simd_engine import SimdEngine

SHIFT_RECORD_BITS = 128
CODE_BITS = 16
"""Bits of a code of a result on its way from the array to the writer."""


def _power(bits: int) -> int:
    """Return the smallest power of two that is not below `bits`."""
    return 1 << (bits - 1).bit_length()


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Sizes of a co-processor.

    Attributes
    ----------
    machine : SimdEngine or ShiftArray
        The array; a shift array must be output stationary.
    data_bits : int
        Width of the memory bus: 32, 64, .. 1024.
    address_bits : int
        Width of its addresses: 32 or 64.
    burst_beats : int
        Most words of a burst, 1 to 256.
    """

    machine: SimdEngine | ShiftArray
    data_bits: int = 64
    address_bits: int = 32
    burst_beats: int = 16

    def __post_init__(self) -> None:
        if not isinstance(self.machine, SimdEngine | ShiftArray):
            raise TypeError(f"`machine` must be a SimdEngine or a ShiftArray, got {self.machine!r}")
        if isinstance(self.machine, ShiftArray) and self.machine.dataflow != "output_stationary":
            raise InvalidValueError(f"`machine` must be output stationary, got {self.machine.dataflow!r}")
        widths = (32, 64, 128, 256, 512, 1024)
        for name, known in (("data_bits", widths), ("address_bits", (32, 64))):
            value = checks.integer(name, getattr(self, name))
            object.__setattr__(self, name, value)
            if value not in known:
                raise InvalidValueError(f"`{name}` must be one of {', '.join(map(str, known))}, got {value}")
        object.__setattr__(self, "burst_beats", checks.integer("burst_beats", self.burst_beats, maximum=256))
        for name, words, steps in (
            ("act_memory", self.act_half_words, self.act_steps_per_word),
            ("weight_memory", self.weight_half_words, self.weight_steps_per_word),
        ):
            least = max(self.act_steps_per_word, self.weight_steps_per_word) // steps
            if words < least:
                members = self.machine.rows if name == "act_memory" else self.machine.cols
                raise InvalidValueError(
                    f"`{name}` must have at least {2 * least * members * self.bus_bytes} bytes for {members} vectors "
                    f"of a bus of {self.data_bits} bits, got {getattr(self.machine, name).size_bytes}"
                )
        if self.result_rows < 1:
            raise InvalidValueError(
                f"`{self._result_name}` must have at least {self.result_bits // 8} bytes, "
                f"got {self.result_memory.size_bytes}"
            )

    @property
    def _result_name(self) -> str:
        return "result_memory" if isinstance(self.machine, SimdEngine) else "acc_memory"

    @property
    def result_memory(self) -> Memory:
        """The memory of results."""
        found: Memory = getattr(self.machine, self._result_name)
        return found

    @property
    def bus_bytes(self) -> int:
        """Bytes of a word of the bus."""
        return self.data_bits // 8

    @property
    def act_step_bits(self) -> int:
        """Bits of a row of A that one step takes."""
        if isinstance(self.machine, SimdEngine):
            return self.machine.port_bits
        return _power(self.machine.activations.bits)

    @property
    def weight_step_bits(self) -> int:
        """Bits of a row of W that one step takes."""
        if isinstance(self.machine, SimdEngine):
            return self.machine.port_bits
        return _power(self.machine.weights.bits)

    @property
    def act_steps_per_word(self) -> int:
        """Steps that a bus word of a row of A holds."""
        return self.data_bits // self.act_step_bits

    @property
    def weight_steps_per_word(self) -> int:
        """Steps that a bus word of a row of W holds."""
        return self.data_bits // self.weight_step_bits

    @property
    def act_half_words(self) -> int:
        """Bus words of each row that half of the activation memory holds: a power of two, or 0 if it is too small."""
        return self._half_words(self.machine.act_memory, self.machine.rows)

    @property
    def weight_half_words(self) -> int:
        """Bus words of each output that half of the weight memory holds: a power of two, or 0 if it is too small."""
        return self._half_words(self.machine.weight_memory, self.machine.cols)

    def _half_words(self, memory: Memory, members: int) -> int:
        words = memory.size_bytes // (2 * members * self.bus_bytes)
        return 1 << (words.bit_length() - 1) if words else 0

    @property
    def chunk_steps(self) -> int:
        """Steps of a chunk: what half of both operand memories holds."""
        return min(
            self.act_half_words * self.act_steps_per_word,
            self.weight_half_words * self.weight_steps_per_word,
        )

    @property
    def act_chunk_words(self) -> int:
        """Bus words of each row in a chunk."""
        return self.chunk_steps // self.act_steps_per_word

    @property
    def weight_chunk_words(self) -> int:
        """Bus words of each output in a chunk."""
        return self.chunk_steps // self.weight_steps_per_word

    @property
    def record_bits(self) -> int:
        """Bits of the parameters of one output."""
        return self.machine.quire_bits if isinstance(self.machine, SimdEngine) else SHIFT_RECORD_BITS

    @property
    def record_words(self) -> int:
        """Bus words of the parameters of one output; each begins with a word of its own."""
        return -(-self.record_bits // self.data_bits)

    @property
    def result_bits(self) -> int:
        """Bits of a row of results on its way from the array to the writer."""
        return self.machine.cols * CODE_BITS

    @property
    def result_rows(self) -> int:
        """Rows that the memory of results holds."""
        return self.result_memory.size_bytes * 8 // self.result_bits

    @property
    def max_terms(self) -> int:
        """Most terms that a shift array's accumulators add up, whatever they are."""
        assert isinstance(self.machine, ShiftArray)
        largest = _largest(self.machine.activations) * _largest(self.machine.weights)
        return (2 ** (self.machine.acc_bits - 1) - 1) // largest


def _largest(found: formats.RealFormat) -> int:
    return max(abs(end) for end in found.integer_range)
