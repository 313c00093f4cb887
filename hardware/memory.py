"""What a memory level looks like to a machine: size, width of a word, latency, energy of an access."""

__all__ = ["Memory"]

from dataclasses import dataclass, replace
from typing import Any, Self

from tetrit import checks


@dataclass(frozen=True, kw_only=True)
class Memory:
    """A scratchpad that delivers or takes one word per cycle.

    Attributes
    ----------
    size_bytes : int
        Capacity.
    width_bits : int or None
        Bits of a word. None: as wide as one vector of the stream that it serves, so that it never limits the array.
    latency_cycles : int
        Cycles from the request of a word to its arrival. Streams are prefetched, so it is paid at the start of a run
        and
        wherever a partial sum is read back, not per word.
    read_pj_per_bit, write_pj_per_bit : float
        Energy of an access per bit of the word.
    energy_source : str
        Where these energies come from; printed in reports.
    """

    size_bytes: int = 32768
    width_bits: int | None = None
    latency_cycles: int = 0
    read_pj_per_bit: float = 0.0
    write_pj_per_bit: float = 0.0
    energy_source: str = "not priced"

    def __post_init__(self) -> None:
        object.__setattr__(self, "size_bytes", checks.integer("size_bytes", self.size_bytes))
        if self.width_bits is not None:
            object.__setattr__(self, "width_bits", checks.integer("width_bits", self.width_bits))
        object.__setattr__(self, "latency_cycles", checks.integer("latency_cycles", self.latency_cycles, minimum=0))
        for name in ("read_pj_per_bit", "write_pj_per_bit"):
            object.__setattr__(self, name, checks.real(name, getattr(self, name), minimum=0.0))
        if not isinstance(self.energy_source, str):
            raise TypeError(f"`energy_source` must be a string, got {self.energy_source!r}")

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, validated again."""
        return replace(self, **changes)

    def word_bits(self, vector_bits: int) -> int:
        """Width of a word when vectors of `vector_bits` are streamed."""
        return vector_bits if self.width_bits is None else self.width_bits

    def words(self, vector_bits: int) -> int:
        """Words, and so cycles, that one vector of `vector_bits` takes; vectors do not share words."""
        return -(-vector_bits // self.word_bits(vector_bits))
