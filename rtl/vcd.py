"""The authority for VCD, the value change dump of IEEE 1364 (Verilog): its toggles counted in a stream."""

__all__ = ["read_vcd"]

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from tetrit.errors import InvalidValueError
from tetrit.rtl.activity import Activity
from tetrit.rtl.interchange import Matching, opened
from tetrit.rtl.netlist import Netlist

_UNITS_NS = {"s": 1e9, "ms": 1e6, "us": 1e3, "ns": 1.0, "ps": 1e-3, "fs": 1e-6}
_RANGE = re.compile(r"(?P<name>.*?)\s*(?:\[(?P<high>-?\d+)(?::(?P<low>-?\d+))?\])?")


@dataclass(kw_only=True)
class _Bits:
    """The nets of one identifier, from bit 0 upwards, and what has happened to them."""

    nets: list[list[int]]
    last: list[str] = field(default_factory=list)
    since: list[int] = field(default_factory=list)
    high: list[int] = field(default_factory=list)
    toggles: list[int] = field(default_factory=list)
    lost: list[int | None] = field(default_factory=list)
    hazy: list[bool] = field(default_factory=list)

    def __post_init__(self) -> None:
        width = len(self.nets)
        self.last, self.since, self.high, self.toggles = [""] * width, [0] * width, [0] * width, [0] * width
        self.lost, self.hazy = [0] * width, [False] * width  # since when unknown, and whether for any time

    def change(self, bit: int, value: str, time: int) -> None:
        """Take a new value; unknown ones leave the bit as it was."""
        lost, last = self.lost[bit], self.last[bit]
        if value not in "01":
            self.lost[bit] = time if lost is None else lost
            return
        if lost is not None:
            self.hazy[bit] |= time > lost
            self.lost[bit] = None
        if value == last:
            return
        if last:
            self.toggles[bit] += 1
            if last == "1":
                self.high[bit] += time - self.since[bit]
        self.last[bit], self.since[bit] = value, time


def read_vcd(
    path: str | Path, netlist: Netlist, *, scope: str | None = None, period_ns: float | None = None
) -> Activity:
    """Read the activity of a netlist from a VCD file that any simulator wrote, in a stream.

    Memory grows with the number of nets, not with the length of the file. A change counts from one known value to the
    other, whatever unknown values lie between; the first known value is none.

    Parameters
    ----------
    path, netlist, scope, period_ns
        As for `read_saif`.

    Returns
    -------
    Activity
        The counts, to be priced by its `energy`; `outputs` is empty.

    Raises
    ------
    InvalidValueError
        If the file cannot be read or is no VCD (with its line), has no such instance, or has other nets than the
        netlist: the text says how many and names some.
    """
    matching = Matching(path, netlist, scope)
    with opened(path) as file:
        reader = _Reader(matching, file)
        reader.header()
        reader.changes()
    for bits in reader.found.values():
        for bit, nets in enumerate(bits.nets):
            high = bits.high[bit] + (reader.time - bits.since[bit] if bits.last[bit] == "1" else 0)
            hazy = bits.hazy[bit] or bits.lost[bit] is not None
            for net in nets:
                matching.note(net, bits.toggles[bit], high / reader.time if reader.time else 0.0, unknown=hazy)
    return matching.activity(reader.time * reader.unit_ns, period_ns)


class _Reader:
    """The two parts of a file: what there is, and how it changes."""

    def __init__(self, matching: Matching, file: TextIO):
        self._matching = matching
        self._line = 0
        self._words = self._scan(file)
        self.found: dict[str, _Bits] = {}
        self.time = 0
        self.unit_ns = 1.0

    def header(self) -> None:
        """Read the declarations."""
        for word in self._words:
            if word == "$enddefinitions":
                self._rest()
                return
            if word == "$timescale":
                text = "".join(self._rest()).lower()
                match = re.fullmatch(r"(\d+)([munpf]?s)", text)
                if match is None:
                    raise self._error(f"'$timescale' must be a number and a unit of time, got '{text}'")
                self.unit_ns = int(match[1]) * _UNITS_NS[match[2]]
            elif word == "$scope":
                rest = self._rest()
                if len(rest) != 2:
                    raise self._error("'$scope' must have a kind and a name")
                self._matching.enter(rest[1].lstrip("\\"))
            elif word == "$upscope":
                self._rest()
                self._matching.leave()
            elif word == "$var":
                self._variable(self._rest())
            elif word.startswith("$"):
                self._rest()
            else:
                raise self._error(f"not a VCD file: a declaration must begin with '$', got '{word}'")
        raise self._error("the file ends early: '$enddefinitions' is missing")

    def changes(self) -> None:
        """Count the changes."""
        found = self.found
        start: int | None = None
        for word in self._words:
            first = word[0]
            if first in "01xXzZ":
                bits = found.get(word[1:])
                if bits is not None:
                    bits.change(0, first, self.time)
            elif first in "bB":
                identifier = next(self._words, "")
                bits = found.get(identifier)
                if bits is not None:
                    self._vector(bits, word[1:])
            elif first == "#":
                if not word[1:].isdigit():
                    raise self._error(f"a time must follow '#', got '{word}'")
                start = int(word[1:]) if start is None else start
                self.time = int(word[1:]) - start
            elif first in "rR":
                next(self._words, "")
            elif word == "$comment":
                self._rest()
            elif first != "$":
                raise self._error(f"a value change must stand here, got '{word}'")

    def _vector(self, bits: _Bits, value: str) -> None:
        width = len(bits.nets)
        if len(value) < width:  # shorter ones are filled up with 0, or with x and z
            value = ("0" if value[:1] in ("0", "1") else value[:1]) * (width - len(value)) + value
        for bit in range(width):
            bits.change(bit, value[-1 - bit], self.time)

    def _variable(self, words: list[str]) -> None:
        """Take ``kind width identifier name [range]``."""
        if len(words) < 4 or not words[1].isdigit():
            raise self._error("'$var' must have a kind, a width, an identifier and a name")
        if not self._matching.inside or words[0] in ("parameter", "real", "event"):
            return
        width, identifier = int(words[1]), words[2]
        match = _RANGE.fullmatch(" ".join(words[3:]).lstrip("\\"))
        assert match is not None
        low = int(match["low"] or (match["high"] if width == 1 else 0) or 0)
        indexed = width > 1 or match["high"] is not None
        names = [f"{match['name']}[{low + bit}]" if indexed else match["name"] for bit in range(width)]
        nets = [self._matching.net(name) for name in names]
        bits = self.found.setdefault(identifier, _Bits(nets=[[] for _ in nets]))
        if len(bits.nets) != width:
            raise self._error(f"identifier '{identifier}' has {len(bits.nets)} bits and {width}")
        for own, net in zip(bits.nets, nets, strict=True):
            if net >= 0:
                own.append(net)

    def _scan(self, file: TextIO) -> Iterator[str]:
        for number, line in enumerate(file, start=1):
            self._line = number
            yield from line.split()

    def _rest(self) -> list[str]:
        """Return the words up to ``$end``."""
        words: list[str] = []
        for word in self._words:
            if word == "$end":
                return words
            words.append(word)
        raise self._error("the file ends early: '$end' is missing")

    def _error(self, text: str) -> InvalidValueError:
        return InvalidValueError(f"{self._matching.path}:{max(1, self._line)}: {text}")
