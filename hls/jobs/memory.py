"""Addresses: constants one after the other, each once, and buffers that share memory when their lives do not meet."""

__all__ = ["Constants", "Segment", "allocate"]

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tetrit.hls.jobs.drafts import Buffer
from tetrit.hls.jobs.place import aligned
from tetrit.hls.memory.packing import lowest

_LINE = 64
"""Buffers begin at multiples of this."""


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A part of the memory map.

    Attributes
    ----------
    name : str
        What lies there.
    kind : {"weights", "parameters", "activations"}
        Constants, or a buffer.
    address, n_bytes : int
        Where.
    first, last : int
        Steps between which a buffer is used, -1 for what is there before the first; all steps for constants.
    """

    name: str
    kind: str
    address: int
    n_bytes: int
    first: int
    last: int


@dataclass(kw_only=True, eq=False)
class Constants:
    """Constants that lie in memory from address 0 on; equal ones lie there once."""

    data: list[bytes] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    _known: dict[bytes, int] = field(default_factory=dict, repr=False)

    @property
    def end(self) -> int:
        """The first address after them."""
        return self.segments[-1].address + len(self.data[-1]) if self.segments else 0

    def add(self, name: str, kind: str, data: npt.NDArray[np.uint8], step: int) -> int:
        """Return the address of data, which may be the beginning of others'."""
        given = data.tobytes()
        given += bytes(-len(given) % step)
        for known, address in self._known.items():
            if known.startswith(given):
                return address
        address = aligned(self.end, _LINE)
        self._known[given] = address
        self.data.append(given)
        self.segments.append(Segment(name=name, kind=kind, address=address, n_bytes=len(given), first=-1, last=1 << 30))
        return address


def allocate(lives: Sequence[tuple[Buffer, int, int]], base: int) -> int:
    """Give every buffer an address from `base` on, and return the first address after all of them.

    Largest first, each at the least address where it meets no other one that lives at the same time.

    Parameters
    ----------
    lives : sequence of (Buffer, int, int)
        With the first and the last step that use it.
    base : int
        Where they may begin.
    """
    placed: list[tuple[int, int, int, int]] = []
    top = base
    for buffer, first, last in sorted(lives, key=lambda life: (-life[0].n_bytes, life[1], life[0].name)):
        taken = ((low, aligned(high, _LINE)) for low, high, begun, done in placed if first <= done and begun <= last)
        buffer.address = at = lowest(taken, buffer.n_bytes, aligned(base, _LINE))
        placed.append((at, at + buffer.n_bytes, first, last))
        top = max(top, at + buffer.n_bytes)
    return top
