"""What a bench adds to the waveforms of its design: cycles and cases, golden values beside the RTL's, mismatches.

Times are Verilator's: cycle c begins at 2c under the batch harness, which changes inputs at the falling edge, and at
2c - 1, with the rising edge before it, under cocotb.
"""

__all__ = ["lockstep_tracks", "number_tracks", "store_tracks", "stream_tracks"]

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit.verify.waves.fst import Enumeration
from tetrit.verify.waves.vcd import Track

Arrays = Mapping[str, npt.NDArray[Any]]
Ints = npt.NDArray[np.int64]

_CYCLE_BITS = 40
_MOST_LABELS = 4096


def _begin(cycles: npt.ArrayLike, *, batch: bool) -> Ints:
    """Return when cycles begin."""
    begins: Ints = np.maximum(2 * np.asarray(cycles, dtype=np.int64) - (not batch), 0)
    return begins


def number_tracks(
    window: tuple[int, int], began: npt.ArrayLike, *, batch: bool, first: int = 0, names: Sequence[str] = ()
) -> list[Track]:
    """Return the cycle, and the case, of which `began` has the first cycle of each, and `first` is the first number.

    `names` are what viewers show in place of the numbers of cases.
    """
    cycles = np.arange(*window, dtype=np.int64)
    starts = np.asarray(began, dtype=np.int64)
    bits = max(1, (first + starts.size).bit_length())
    labels = tuple(re.sub(r"[^!-\[\]-~]+", "_", name) for name in names)
    named = 0 < len(labels) <= _MOST_LABELS and len(labels) == starts.size
    enumeration = Enumeration(name="case", labels=labels, bits=bits) if named else None
    return [
        Track.of("cycle", _CYCLE_BITS, _begin(cycles, batch=batch), cycles),
        Track.of("case", bits, _begin(starts, batch=batch), first + np.arange(starts.size), enumeration),
    ]


def lockstep_tracks(
    stimulus: Arrays, observed: Arrays, widths: Mapping[str, int], window: tuple[int, int]
) -> list[Track]:
    """Return the expected value of each output, unknown where it does not count, and whether a row is wrong."""
    first, end = window
    rows = np.arange(max(first - 1, 0), min(end - 1, len(observed["wrong"])), dtype=np.int64)
    times = _begin(rows + 1, batch=True)
    tracks = [number_tracks(window, [], batch=True)[0]]
    for name, values in stimulus.items():
        if name.startswith("expected_"):
            port = name.removeprefix("expected_")
            counts = stimulus.get(f"check_{port}")
            shown = [
                int(value) if counts is None or counts[row] else None
                for row, value in zip(rows.tolist(), values[rows].tolist(), strict=True)
            ]
            tracks.append(Track.of(f"{port}_expected", widths[port], times, shown))
    wrong = observed["wrong"][rows].astype(np.int64)
    return [*tracks, Track.of("mismatch", 1, times, wrong)]


def stream_tracks(
    stimulus: Arrays, observed: Arrays, window: tuple[int, int], names: Sequence[str] = ()
) -> list[Track]:
    """Return for each sink the number of the word that is taken, what it is and should be, and whether they differ."""
    began = observed["began"]
    tracks = number_tracks(window, began, batch=False, names=names)
    for sink in stimulus["sinks"].tolist():
        bits = int(stimulus[f"payload_bits_{sink}"])
        taken = observed[f"taken_{sink}"]
        inside = np.flatnonzero((taken >= window[0]) & (taken < window[1]))
        case = np.searchsorted(observed[f"start_{sink}"], inside, side="right") - 1
        number = inside - observed[f"start_{sink}"][case]
        place = stimulus[f"start_{sink}"][case] + number
        exists = place < stimulus[f"start_{sink}"][case + 1]
        seen = _words(observed[f"words_{sink}"], inside)
        expected = [
            word if real else None
            for word, real in zip(_words(stimulus[f"words_{sink}"], np.where(exists, place, 0)), exists, strict=True)
        ]
        wrong = np.array([one != other for one, other in zip(seen, expected, strict=True)], dtype=np.int64)
        times = _begin(taken[inside], batch=False)
        tracks += [
            Track.of(f"{sink}_word", 32, times, number.astype(np.int64)),
            Track.of(f"{sink}_taken", bits, times, seen),
            Track.of(f"{sink}_expected", bits, times, expected),
            _pulses(f"{sink}_mismatch", taken[inside], wrong, batch=False),
        ]
    return tracks


def store_tracks(
    places: Ints,
    words: npt.NDArray[np.uint8],
    golden: npt.NDArray[np.uint8],
    address_bits: int,
    window: tuple[int, int],
) -> list[Track]:
    """Return what a co-processor stores: address, the word that memory holds in the end, the golden one, differences.

    Parameters
    ----------
    places : ndarray of int64, shape (n, 2)
        Cycles and addresses.
    words, golden : ndarray of uint8, shape (n, bytes)
        The word of each, and the golden one.
    address_bits : int
        Of the bus.
    window : (int, int)
        The first cycle, and the one after the last.
    """
    inside = np.flatnonzero((places[:, 0] >= window[0]) & (places[:, 0] < window[1]))
    times = _begin(places[inside, 0], batch=True)
    bits = 8 * words.shape[1]
    differs = (words[inside] != golden[inside]).any(axis=1).astype(np.int64)
    return [
        Track.of("store_address", address_bits, times, places[inside, 1]),
        Track.of("stored", bits, times, _words(words, inside)),
        Track.of("stored_expected", bits, times, _words(golden, inside)),
        _pulses("mismatch", places[inside, 0], differs, batch=True),
    ]


def _words(words: npt.NDArray[np.uint8], rows: npt.NDArray[Any]) -> list[int]:
    return [int.from_bytes(words[row].tobytes(), "little") for row in rows.tolist()]


def _pulses(name: str, cycles: npt.NDArray[Any], wrong: Ints, *, batch: bool) -> Track:
    """Return a bit that is 1 in the cycles that are wrong."""
    marked = {int(cycle) + 1: 0 for cycle, bad in zip(cycles, wrong, strict=True) if bad}
    marked |= {int(cycle): 1 for cycle, bad in zip(cycles, wrong, strict=True) if bad}
    ordered = dict(sorted(({0: 0} | marked).items()))
    return Track.of(name, 1, _begin(list(ordered), batch=batch), np.array(list(ordered.values()), dtype=np.int64))
