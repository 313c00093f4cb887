"""The authority for FST files: header, blocks of value changes, geometry and hierarchy, as viewers read them.

There is no standard of the format. This follows what its readers expect: GTKWave's ``fstapi.c`` (libfst), whose writer
defines it, and T. Hutt, "An unofficial FST specification" (blog.timhutt.co.uk/fst_spec). Of the ways that the format
offers this writer uses one: blocks with shared chains (type 8) packed by zlib, and a hierarchy packed by gzip (type 4).
"""

__all__ = ["Enumeration", "FstWriter"]

import gzip
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.verify.waves import _kernels

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

_HEADER, _GEOMETRY, _HIERARCHY, _CHANGES = 0, 3, 4, 8
_HEADER_BYTES = 329
_SCOPE, _UPSCOPE, _ATTRIBUTE = 254, 255, 252
_MISC, _ENUM_TABLE = 0, 7
_SCOPES = {"module": 0, "task": 1, "function": 2, "begin": 3, "fork": 4, "generate": 5, "struct": 6}
_VARIABLES = {
    "event": 0,
    "integer": 1,
    "parameter": 2,
    "reg": 5,
    "supply0": 6,
    "supply1": 7,
    "time": 8,
    "tri": 9,
    "triand": 10,
    "trior": 11,
    "trireg": 12,
    "tri0": 13,
    "tri1": 14,
    "wand": 15,
    "wire": 16,
    "wor": 17,
    "bit": 22,
    "logic": 23,
}
_LEVEL = 4
"""Of zlib: what fstapi uses for chains; 9 makes files a few percent smaller in three times the time."""

_PLAIN_BYTES = 32
"""Chains up to this size are not packed."""


@dataclass(frozen=True, kw_only=True)
class Enumeration:
    """Names of values, which viewers show in place of the values.

    Attributes
    ----------
    name : str
        Of all of them.
    labels : tuple of str
        Of the values 0, 1, ...; without spaces.
    bits : int
        Width of the signals that have them.
    """

    name: str
    labels: tuple[str, ...]
    bits: int

    def __post_init__(self) -> None:
        checks.integer("bits", self.bits)
        for text in (self.name, *self.labels):
            if not text or not text.isascii() or any(char.isspace() or char == "\\" for char in text):
                raise InvalidValueError(f"names of an enumeration must be plain words, got '{text}'")
        if not self.labels or len(self.labels) > 1 << min(self.bits, 32):
            raise InvalidValueError(f"`labels` must be 1 to {1 << min(self.bits, 32)}, got {len(self.labels)}")

    @property
    def text(self) -> str:
        """As the hierarchy has it: name, number, labels, values in binary."""
        values = [f"{value:0{self.bits}b}" for value in range(len(self.labels))]
        return " ".join((self.name, str(len(self.labels)), *self.labels, *values))


class FstWriter:
    """Writes one FST file, under another name until it is complete.

    First the hierarchy is declared, then blocks are written in the order of time, then the file is closed. As a
    context, it closes; after an exception, it removes what was written. It holds one value of each signal in memory.

    Parameters
    ----------
    path : Path
        The file; one that is there is replaced when the new one is complete.
    timescale : int
        Power of ten of the unit of time, in seconds: -9 is a nanosecond.
    writer : str
        Name of the program, for the header.

    Raises
    ------
    InvalidValueError
        If the file cannot be written.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder, FstWriter(Path(folder, "a.fst")) as file:
    ...     file.scope("top")
    ...     clk = file.variable("clk", 1)
    ...     file.upscope()
    ...     file.block(
    ...         np.array([0, 5, 10]), np.array([clk] * 3), np.arange(3), np.arange(3), np.frombuffer(b"010", np.uint8)
    ...     )
    """

    def __init__(self, path: Path, *, timescale: int = -9, writer: str = "tetrit") -> None:
        self.path = Path(path)
        self.timescale = checks.integer("timescale", timescale, minimum=-18, maximum=2)
        self.writer = writer
        self._partial = self.path.with_name(f".{self.path.name}.{os.getpid()}.partial")
        self._tree = bytearray()
        self._bits: list[int] = []
        self._scopes = self._depth = self._variables = self._blocks = 0
        self._enums: dict[Enumeration, int] = {}
        self._frame: Bytes | None = None
        self._frame_at = self._widths = np.zeros(0, dtype=np.int64)
        self._span: tuple[int, int] | None = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.exists() and not self.path.is_file():
                raise InvalidValueError(f"cannot write '{self.path}': it is no regular file")
            self._file = self._partial.open("wb")
        except OSError as error:
            raise InvalidValueError(f"cannot write '{self.path}': {error.strerror or error}") from None
        self._file.write(bytes(1 + _HEADER_BYTES))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    @property
    def bits(self) -> tuple[int, ...]:
        """Width of each signal, the first one's first."""
        return tuple(self._bits)

    def scope(self, name: str, kind: str = "module") -> None:
        """Go down into a scope."""
        self._tree += bytes((_SCOPE, _SCOPES.get(kind, 0))) + _text(name) + b"\0"
        self._scopes += 1
        self._depth += 1

    def upscope(self) -> None:
        """Go up again."""
        assert self._depth
        self._tree.append(_UPSCOPE)
        self._depth -= 1

    def variable(
        self,
        name: str,
        bits: int,
        *,
        kind: str = "wire",
        alias: int | None = None,
        enumeration: Enumeration | None = None,
    ) -> int:
        """Declare a variable in the present scope; return its signal, from 0.

        Parameters
        ----------
        name : str
            With the range of its bits behind a space, where it has one.
        bits : int
            Its width.
        kind : str
            Word of VCD: ``wire``, ``reg``, ``integer``, ...
        alias : int, optional
            A signal that it shares.
        enumeration : Enumeration, optional
            Names of its values.
        """
        assert self._frame is None
        bits = checks.integer("bits", bits, maximum=2**20)
        if enumeration is not None:
            self._enumerate(enumeration)
        signal = len(self._bits) if alias is None else alias
        self._tree += bytes((_VARIABLES.get(kind, 16), 0)) + _text(name)
        self._tree += _varint(bits) + _varint(0 if alias is None else alias + 1)
        self._variables += 1
        if alias is None:
            self._bits.append(bits)
        elif not 0 <= alias < len(self._bits) or self._bits[alias] != bits:
            raise InvalidValueError(f"`alias` must be a signal of {bits} bits, got {alias}")
        return signal

    def _enumerate(self, enumeration: Enumeration) -> None:
        """Declare an enumeration once, and refer to it."""
        known = enumeration in self._enums
        number = self._enums.setdefault(enumeration, len(self._enums) + 1)
        if not known:
            self._tree += bytes((_ATTRIBUTE, _MISC, _ENUM_TABLE)) + _text(enumeration.text) + _varint(number)
        self._tree += bytes((_ATTRIBUTE, _MISC, _ENUM_TABLE)) + _text("") + _varint(number)

    def block(self, times: Ints, signal: Ints, when: Ints, start: Ints, values: Bytes) -> None:
        """Write the changes of some times.

        Parameters
        ----------
        times : ndarray of int64
            Ascending. Of another block than the first, the first one is the last of the block before, and has no
            changes.
        signal, when, start : ndarray of int64, shape (changes,)
            The signal, the index of its time, which ascends for each signal, and where its characters begin.
        values : ndarray of uint8
            Characters, as many for each change as the signal has bits, the highest first.
        """
        self._open()
        assert self._frame is not None
        times = np.asarray(times, dtype=np.int64)
        if not times.size or (np.diff(times) <= 0).any() or times[0] < 0:
            raise InvalidValueError("`times` must ascend from 0 or more")
        if self._span is not None and times[0] != self._span[1]:
            raise InvalidValueError(f"`times` must begin with the last time so far, {self._span[1]}, got {times[0]}")
        places = tuple(np.require(part, np.int64, ["C", "W"]) for part in (signal, when, start))
        log = (self._widths, *places, np.require(values, np.uint8, ["C", "W"]))
        packed, begin = _kernels.chains(*log)
        self._write_block(times, self._frame.tobytes(), packed, begin)
        widths, which, _, begins, characters = log
        _kernels.settle(self._frame, self._frame_at, widths, which, begins, characters)
        self._span = (int(times[0]) if self._span is None else self._span[0], int(times[-1]))

    def _open(self) -> None:
        """End the declarations."""
        if self._frame is None:
            self._widths = np.array(self._bits, dtype=np.int64)
            self._frame_at = np.cumsum(self._widths) - self._widths
            self._frame = np.full(int(self._widths.sum()), ord("x"), dtype=np.uint8)

    def _write_block(self, times: Ints, frame: bytes, packed: Bytes, begin: Ints) -> None:
        n_signals = len(self._bits)
        data = bytearray(b"Z")
        index = bytearray()
        seen: dict[bytes, int] = {}
        before, zeros, last_alias = 0, 0, 0
        whole = packed.tobytes()
        bounds = begin.tolist()
        for number in range(n_signals):
            chain = whole[bounds[number] : bounds[number + 1]]
            if not chain:
                zeros += 1
                continue
            if zeros:
                index += _varint(zeros << 1)
                zeros = 0
            alias = seen.setdefault(chain, number + 1)
            if alias != number + 1:
                index += _signed(0 if alias == last_alias else -alias)
                last_alias = alias
                continue
            index += _signed(len(data) - before)
            before = len(data)
            small = zlib.compress(chain, _LEVEL) if len(chain) > _PLAIN_BYTES else chain
            data += _varint(len(chain)) + small if len(small) < len(chain) else _varint(0) + chain
        if zeros:
            index += _varint(zeros << 1)
        steps = _kernels.varints(np.diff(times, prepend=0)).tobytes()
        small_frame, small_steps = _packed(frame), _packed(steps)
        parts = (
            struct.pack(">QQQ", int(times[0]), int(times[-1]), len(whole)),
            _varint(len(frame)) + _varint(len(small_frame)) + _varint(n_signals) + small_frame,
            _varint(n_signals) + data,
            index + struct.pack(">Q", len(index)),
            small_steps + struct.pack(">QQQ", len(steps), len(small_steps), times.size),
        )
        self._section(_CHANGES, b"".join(parts))
        self._blocks += 1

    def _section(self, kind: int, content: bytes) -> None:
        try:
            self._file.write(bytes((kind,)) + struct.pack(">Q", len(content) + 8) + content)
        except OSError as error:
            raise InvalidValueError(f"cannot write '{self.path}': {error.strerror or error}") from None

    def close(self) -> None:
        """Complete the file and give it its name."""
        while self._depth:
            self.upscope()
        try:
            if self._span is None:
                none = np.zeros(0, dtype=np.int64)
                self.block(np.zeros(1, dtype=np.int64), none, none, none, np.zeros(0, dtype=np.uint8))
            widths = b"".join(map(_varint, self._bits))
            small = _packed(widths)
            self._section(_GEOMETRY, struct.pack(">QQ", len(widths), len(self._bits)) + small)
            tree = gzip.compress(self._tree, 6, mtime=0)
            self._section(_HIERARCHY, struct.pack(">Q", len(self._tree)) + tree)
            self._file.seek(0)
            self._file.write(self._header())
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._partial.replace(self.path)
        except OSError as error:
            self.discard()
            raise InvalidValueError(f"cannot write '{self.path}': {error.strerror or error}") from None
        except BaseException:
            self.discard()
            raise

    def _header(self) -> bytes:
        assert self._span is not None
        head = struct.pack(">BQQQ", _HEADER, _HEADER_BYTES, *self._span) + struct.pack("=d", 2.718281828459045)
        counts = (0, self._scopes, self._variables, len(self._bits), self._blocks)
        head += struct.pack(">QQQQQb", *counts, self.timescale)
        return (head + self.writer.encode()[:127].ljust(128, b"\0")).ljust(1 + _HEADER_BYTES, b"\0")

    def discard(self) -> None:
        """Remove what was written."""
        self._file.close()
        self._partial.unlink(missing_ok=True)


def _text(text: str) -> bytes:
    return text.encode() + b"\0"


def _packed(content: bytes) -> bytes:
    """Return it packed, or as it is where that is no shorter: readers tell by the length."""
    small = zlib.compress(content, _LEVEL)
    return small if len(small) < len(content) else content


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 128:
        out.append((number & 127) | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def _signed(number: int) -> bytes:
    """Return a place in the index: in two's complement, in groups of seven bits, with a 1 below it."""
    number = number << 1 | 1
    out = bytearray()
    while True:
        group = number & 127
        number >>= 7
        if number == (-1 if group & 64 else 0):
            out.append(group)
            return bytes(out)
        out.append(group | 128)
