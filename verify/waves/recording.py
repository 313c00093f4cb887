"""The authority for recording verification runs: which cycles, under which names, and what is left in the folder."""

__all__ = ["DEFAULT_CYCLES", "Recording", "Waves"]

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from tetrit import checks
from tetrit.files import write_atomic
from tetrit.verify.waves import views
from tetrit.verify.waves.fst import Enumeration
from tetrit.verify.waves.tap import Tap
from tetrit.verify.waves.vcd import Track, VcdToFst

DEFAULT_CYCLES = 2000
_BEFORE = 0.75
"""Share of a window that lies before a mismatch: what led to it is seen more than what comes after."""

_TOP = "dut"
_SCALE, _EXPONENT = 5, -9
"""Files have 10 ns a cycle: cycle c ends with the rising edge at 10 c + 5 ns."""

_CYCLE_UNITS, _INSIDE = 10, 2
"""Units of time in a cycle, and where the marker lies in it: when all is settled, before the rising edge."""


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What was recorded of one bench.

    Attributes
    ----------
    name : str
        The bench.
    path : Path
        The FST file; beside it those of the same name that end in ``.gtkw`` and ``.sucl``.
    first, end : int
        Its first cycle, and the one after the last.
    mismatch : int or None
        The cycle of the first mismatch, if the bench found one and it is known.
    fst_bytes, vcd_bytes : int
        Size of the file, and of the same as VCD.
    signals : int
        Variables in it.
    """

    name: str
    path: Path
    first: int
    end: int
    mismatch: int | None
    fst_bytes: int
    vcd_bytes: int
    signals: int


class Waves:
    """What is to be recorded, and what has been.

    Parameters
    ----------
    directory : Path
        Where files go; made if it does not exist.
    cycles : int
        Cycles of each bench.
    first : int, optional
        The first of them, counted from the beginning of the bench; default: where three quarters of them come before
        the first mismatch, or 0 if there is none.

    Attributes
    ----------
    recordings : list of Recording
        One for each bench.
    short : list of str
        Benches that ended before the window began, so that there is no file.

    Raises
    ------
    InvalidValueError
        A number is out of range.
    """

    def __init__(self, directory: Path, *, cycles: int = DEFAULT_CYCLES, first: int | None = None) -> None:
        self.directory = Path(directory)
        self.cycles = checks.integer("cycles", cycles, maximum=2**40)
        self.first = None if first is None else checks.integer("first", first, minimum=0, maximum=2**50)
        self.recordings: list[Recording] = []
        self.short: list[str] = []
        self._taken: set[str] = set()
        self._lock = Lock()

    def window(self, mismatch: int | None) -> tuple[int, int]:
        """Return the first cycle and the one after the last, of a bench whose first mismatch is in this cycle."""
        first = self.first
        if first is None:
            first = 0 if mismatch is None else max(0, mismatch + 1 - round(_BEFORE * self.cycles))
        return first, first + self.cycles

    @contextmanager
    def record(
        self,
        name: str,
        component: str,
        *,
        mismatch: int | None,
        tracks: Sequence[Track] = (),
        until: int | None = None,
        enumerations: Mapping[str, Enumeration] | None = None,
        ports: Sequence[str] = (),
    ) -> Iterator[Tap]:
        """Write the files of one bench from what the tap takes while the context lasts.

        Parameters
        ----------
        name : str
            Of the bench.
        component : str
            Under test: the name of the topmost scope.
        mismatch : int or None
            The cycle of the first mismatch.
        tracks : sequence of Track
            Signals of the bench, in Verilator's times.
        until : int, optional
            When they end, if that may be later than the design's last change.
        enumerations : mapping of str to Enumeration
            By names of variables.
        ports : sequence of str
            Names of the component's ports, for the views.
        """
        first, end = self.window(mismatch)
        path = self._path(name)
        converter = VcdToFst(
            path,
            top=_TOP,
            name=component,
            scale=_SCALE,
            exponent=_EXPONENT,
            tracks=tracks,
            until=until,
            enumerations=enumerations,
        )
        try:
            yield Tap(converter.feed, first, end)
        except BaseException:
            converter.discard()
            raise
        if not converter.bytes_read:
            with self._lock:
                self.short.append(name)
            return
        converter.close()
        shown = mismatch if mismatch is not None and first <= mismatch < end else None
        layout = views.layout(converter.signals, component, ports)
        span = (first * _CYCLE_UNITS, converter.end_time)
        marker = None if shown is None else shown * _CYCLE_UNITS + _INSIDE
        write_atomic(path.with_suffix(".gtkw"), views.gtkwave(layout, path.name, span, marker))
        write_atomic(path.with_suffix(".sucl"), views.surfer(layout, marker))
        made = Recording(
            name=name,
            path=path,
            first=first,
            end=min(end, converter.end_time // _CYCLE_UNITS + 1),
            mismatch=mismatch,
            fst_bytes=path.stat().st_size,
            vcd_bytes=converter.bytes_read,
            signals=len(converter.signals),
        )
        with self._lock:
            self.recordings.append(made)

    def _path(self, name: str) -> Path:
        """Return a file for a bench that no other bench of this run has."""
        stem = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_") or "waves"
        with self._lock:
            number, free = 1, stem
            while free in self._taken:
                number += 1
                free = f"{stem}_{number}"
            self._taken.add(free)
        return self.directory / f"{free}.fst"
