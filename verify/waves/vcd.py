"""The authority for turning VCD into FST while it is written, with signals of the bench beside those of the design."""

__all__ = ["Signal", "Track", "VcdToFst", "vcd_to_fst"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.verify.waves import _kernels
from tetrit.verify.waves.fst import Bytes, Enumeration, FstWriter, Ints
from tetrit.verify.waves.header import Header, Variable, parse_header

_END = b"$enddefinitions"
_BLOCK_CHARACTERS = 2 << 20
"""Changes and characters of values after which a block is written: some 30 MB of memory, at a tenth of file size."""

_PIECE_BYTES = 1 << 18
_LARGEST_CODE = 1 << 26
_BASE, _FIRST = 94, 33


@dataclass(frozen=True, kw_only=True)
class Signal:
    """A variable of the file, as viewers find it.

    Attributes
    ----------
    scope : str
        Names of its scopes, joined by dots.
    name : str
        Its own.
    bits : int
        Its width.
    range : str
        As in ``[7:0]``, or empty.
    named : bool
        Whether its values have names.
    """

    scope: str
    name: str
    bits: int
    range: str
    named: bool = False

    @property
    def path(self) -> str:
        """Scopes and name, joined by dots."""
        return f"{self.scope}.{self.name}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Track:
    """A signal of the bench.

    Attributes
    ----------
    name : str
        Its name.
    bits : int
        Its width.
    times : ndarray of int64, shape (n,)
        When it changes, in the unit of the VCD; ascending.
    values : ndarray of uint8, shape (n, bits)
        Characters, the highest bit first.
    enumeration : Enumeration or None
        Names of its values.
    """

    name: str
    bits: int
    times: Ints
    values: Bytes
    enumeration: Enumeration | None = None

    @classmethod
    def of(
        cls,
        name: str,
        bits: int,
        times: npt.ArrayLike,
        values: Sequence[int | None] | Ints,
        enumeration: Enumeration | None = None,
    ) -> "Track":
        """Return one of integers, of which the low bits count; None is unknown. Values that repeat are left out."""
        at = np.asarray(times, dtype=np.int64)
        if len(values) != at.size or (np.diff(at) < 0).any():
            raise InvalidValueError(f"track '{name}' must have ascending times, one for each value")
        if isinstance(values, np.ndarray):
            planes = values[:, np.newaxis] >> np.minimum(np.arange(bits - 1, -1, -1), 63)
            characters = (planes & 1).astype(np.uint8) + np.uint8(ord("0"))
        else:
            mask = (1 << bits) - 1
            texts = ["x" * bits if value is None else f"{value & mask:0{bits}b}" for value in values]
            characters = np.frombuffer("".join(texts).encode(), dtype=np.uint8).reshape(-1, bits)
        kept = np.ones(at.size, dtype=bool)
        kept[1:] = (characters[1:] != characters[:-1]).any(axis=1)
        return cls(name=name, bits=bits, times=at[kept], values=characters[kept], enumeration=enumeration)


class VcdToFst:
    """Takes VCD piece by piece and writes an FST file; as a context, as `FstWriter` is.

    Exact: every signal has the value of the VCD at every time of the VCD. Memory does not grow with the length.

    Parameters
    ----------
    path : Path
        The file.
    top, name : str, optional
        A scope to which the file is confined, and what it is called.
    scale : int
        What times are multiplied by.
    exponent : int, optional
        Power of ten of the unit of time after that, in seconds; default: that of the VCD.
    tracks : sequence of Track
        Signals of the scope `bench`, put before all others.
    until : int, optional
        Time, in the unit of the VCD, until which they go on after the VCD has ended; default: not at all. Verilator
        leaves out times in which nothing changes.
    enumerations : mapping of str to Enumeration
        For variables of this name and of the enumeration's width.
    block : int
        Changes and characters after which a block is written.

    Raises
    ------
    InvalidValueError
        What comes is no VCD of bits, or the file cannot be written.
    """

    BENCH = "bench"

    def __init__(
        self,
        path: Path,
        *,
        top: str | None = None,
        name: str | None = None,
        scale: int = 1,
        exponent: int | None = None,
        tracks: Sequence[Track] = (),
        until: int | None = None,
        enumerations: Mapping[str, Enumeration] | None = None,
        block: int = _BLOCK_CHARACTERS,
    ) -> None:
        self.path = Path(path)
        self.top, self.name = top, name
        self.scale = checks.integer("scale", scale)
        self.exponent = exponent
        self.tracks = tuple(tracks)
        self.until = until
        self.enumerations = dict(enumerations or {})
        self.block = checks.integer("block", block)
        self.signals: list[Signal] = []
        self.bytes_read = 0
        self.end_time = -1
        self._rest = b""
        self._file: FstWriter | None = None
        self._track_signals: list[int] = []
        self._track_done = [0] * len(self.tracks)
        self._counts = np.zeros(3, dtype=np.int64)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def feed(self, text: bytes) -> None:
        """Take the next piece."""
        self.bytes_read += len(text)
        self._rest += text
        if self._file is None:
            self._begin()
        if self._file is not None and len(self._rest) >= _PIECE_BYTES:
            self._scan()

    def close(self) -> None:
        """Complete the file.

        Raises
        ------
        InvalidValueError
            If the VCD ended within its declarations, or in the middle of a line.
        """
        if self._file is None:
            raise InvalidValueError("the VCD ends within its declarations")
        try:
            if self._rest and not self._rest.endswith(b"\n"):
                self._rest += b"\n"
            self._scan()
            n_times = int(self._counts[0])
            if self.until is not None and n_times and self.until > self._times[n_times - 1]:
                self._rest = b"#%d\n" % self.until
                self._scan()
            self._write()
        except BaseException:
            self.discard()
            raise
        self._file.close()

    def discard(self) -> None:
        """Remove what was written."""
        if self._file is not None:
            self._file.discard()

    def _begin(self) -> None:
        """Read the declarations once they are complete."""
        at = self._rest.find(_END)
        end = self._rest.find(b"$end", at + len(_END)) if at >= 0 else -1
        if end < 0:
            return
        header = parse_header(self._rest[:at].decode(errors="replace"))
        self._rest = self._rest[end + 4 :]
        codes = header.codes
        if self.top is not None:
            header = header.inside(self.top, self.name or self.top)
        exponent = header.exponent if self.exponent is None else self.exponent
        self._file = FstWriter(self.path, timescale=exponent)
        try:
            self._declare(self._file, header, codes)
        except BaseException:
            self._file.discard()
            raise
        sizes = (1 << 16, 1 << 16, 1 << 18)
        self._times = np.zeros(sizes[0], dtype=np.int64)
        self._signal, self._when, self._start = (np.zeros(sizes[1], dtype=np.int64) for _ in range(3))
        self._values = np.zeros(sizes[2], dtype=np.uint8)

    def _declare(self, file: FstWriter, header: Header, codes: Mapping[str, int]) -> None:
        if self.tracks:
            file.scope(self.BENCH)
            for track in self.tracks:
                span = f"[{track.bits - 1}:0]" if track.bits > 1 else ""
                name = f"{track.name} {span}".rstrip()
                self._track_signals.append(file.variable(name, track.bits, enumeration=track.enumeration))
                named = track.enumeration is not None
                self.signals.append(Signal(scope=self.BENCH, name=track.name, bits=track.bits, range=span, named=named))
            file.upscope()
        numbers = {code: _number(code) for code in codes}
        largest = max(numbers.values(), default=0)
        if largest > _LARGEST_CODE:
            raise InvalidValueError(f"a VCD file's codes must be short, got {max(codes, key=len)!r}")
        self._signal_of = np.full(largest + 1, -1, dtype=np.int64)
        self._signal_of[list(numbers.values())] = -2
        path: list[str] = []
        for each in header.declarations:
            if each.scope:
                file.scope(each.scope, each.kind)
                path.append(each.scope)
            elif each.variable is None:
                file.upscope()
                path.pop()
            else:
                self._variable(file, each.variable, path, numbers[each.variable.code])
        self._bits = np.array(file.bits, dtype=np.int64)

    def _variable(self, file: FstWriter, variable: Variable, path: Sequence[str], number: int) -> None:
        known = int(self._signal_of[number])
        enumeration = self.enumerations.get(variable.name)
        if enumeration is not None and enumeration.bits != variable.bits:
            enumeration = None
        signal = file.variable(
            f"{variable.name} {variable.range}".rstrip(),
            variable.bits,
            kind=variable.kind,
            alias=None if known < 0 else known,
            enumeration=enumeration,
        )
        self._signal_of[number] = signal
        self.signals.append(
            Signal(
                scope=".".join(path),
                name=variable.name,
                bits=variable.bits,
                range=variable.range,
                named=enumeration is not None,
            )
        )

    def _scan(self) -> None:
        """Take all whole lines; write blocks as they fill."""
        text = np.frombuffer(self._rest, dtype=np.uint8)
        at, why = 0, _kernels.FULL
        while why in (_kernels.FULL, _kernels.CUT):
            log = (self._times, self._signal, self._when, self._start, self._values, self._counts)
            at, why = _kernels.scan(text, at, self._signal_of, self._bits, *log, self.block)
            if why == _kernels.CUT:
                self._write()
            elif why == _kernels.FULL:
                for name in ("_times", "_signal", "_when", "_start", "_values"):
                    array = getattr(self, name)
                    setattr(self, name, np.concatenate([array, np.zeros_like(array)]))
        if why != _kernels.DONE:
            line = bytes(text[at:][:80]).split(b"\n")[0].decode(errors="replace")
            wrong = {
                _kernels.UNKNOWN: "stands for no variable",
                _kernels.NO_VALUE: "is no value of bits",
                _kernels.BACKWARDS: "is before the last time",
            }
            raise InvalidValueError(f"a line of the VCD {wrong[why]}: '{line}'")
        self._rest = self._rest[at:]

    def _write(self) -> None:
        """Write what was logged as a block."""
        n_times, n_changes, n_chars = self._counts.tolist()
        if not n_times:
            return
        assert self._file is not None
        times = self._times[:n_times]
        taken = [self._due(number, times) for number in range(len(self.tracks))]
        together = np.union1d(times, np.concatenate([times[:1], *(track.times for track in taken)]))
        together = together[together >= times[0]]
        moved = np.searchsorted(together, times)
        parts = [
            (
                self._signal[:n_changes],
                moved[self._when[:n_changes]],
                self._start[:n_changes],
                self._values[:n_chars],
            )
        ]
        for signal, track in zip(self._track_signals, taken, strict=True):
            start = np.arange(track.times.size, dtype=np.int64) * track.bits
            when = np.searchsorted(together, track.times)
            parts.append((np.full(track.times.size, signal), when, start, track.values.ravel()))
        before = np.cumsum([0, *(values.size for *_, values in parts[:-1])])
        self._file.block(
            together * self.scale,
            np.concatenate([signal for signal, *_ in parts]),
            np.concatenate([when for _, when, *_ in parts]),
            np.concatenate([start + offset for (_, _, start, _), offset in zip(parts, before, strict=True)]),
            np.concatenate([values for *_, values in parts]),
        )
        self.end_time = int(together[-1]) * self.scale
        self._times[0] = together[-1]
        self._counts[:] = (1, 0, 0)

    def _due(self, number: int, times: Ints) -> Track:
        """Return what a track does in the times of a block."""
        track, done = self.tracks[number], self._track_done[number]
        if self.end_time < 0:  # of what came before the window, the last counts
            done = max(0, int(np.searchsorted(track.times, times[0], side="right")) - 1)
        end = int(np.searchsorted(track.times, times[-1], side="right"))
        self._track_done[number] = end
        return replace(track, times=track.times[done:end], values=track.values[done:end])


def vcd_to_fst(vcd: Path, fst: Path) -> int:
    """Convert a file; return the bytes read.

    Parameters
    ----------
    vcd : Path
        Of any simulator; vectors of bits only.
    fst : Path
        Written in one step.

    Raises
    ------
    InvalidValueError
        It is no such VCD, or one of the files cannot be opened.
    """
    try:
        with Path(vcd).open("rb") as source, VcdToFst(Path(fst)) as target:
            while piece := source.read(_PIECE_BYTES):
                target.feed(piece)
    except OSError as error:
        raise InvalidValueError(f"cannot read '{vcd}': {error.strerror or error}") from None
    return target.bytes_read


def _number(code: str) -> int:
    number, weight = 0, 1
    for char in code:
        number += weight * (ord(char) - _FIRST + 1)
        weight *= _BASE
    return number
