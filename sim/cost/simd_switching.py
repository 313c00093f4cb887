"""What moves in an element of a SIMD engine, and in a read-out: bits that change from word to word, on values.

As `tetrit.sim.cost.switching` for the shift array: the registers of `tetrit.rtl.SimdMac` and of its quire's digits are
followed, and operands and products as integers times powers of two in place of the wires of decoders and aligner.
"""

__all__ = ["ELEMENT", "READOUT", "Words", "drained", "edge_bits", "element_movement", "readout_movement", "sampled"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit import formats
from tetrit.formats import RealFormat
from tetrit.hardware.simd_engine import LaneMode, SimdEngine
from tetrit.sim.program import Workload
from tetrit.sim.simd import cycles

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

ELEMENT: Mapping[str, str] = {
    "step": "steps",
    "act": "bits of words of activations that change",
    "weight": "bits of words of weights that change",
    "significand": "bits of the operands' significands that change",
    "exponent": "bits of the operands' exponents that change",
    "product": "bits of the products' significands that change",
    "scale": "bits of the products' exponents that change",
    "magnitude": "bits of aligned products that change",
    "addend": "bits of signed aligned products that change",
    "carry": "bits of carries into the quires that change",
    "digit": "bits of digits of the quires that are clocked",
    "quire": "bits of the quires that change",
    "result": "bits of finished quires that change",
}
"""What is counted in an element's steps."""

READOUT: Mapping[str, str] = {
    "result": "results",
    "quires": "bits of the quires read that change",
    "bias": "bits of biases that change",
    "total": "bits of the sum of lanes and bias that change",
    "magnitude": "bits of its absolute value that change",
    "exponent": "bits of the place of its first 1 that change",
    "fraction": "bits of the 16 that follow it that change",
}
"""What is counted in a read-out's results."""

_QUIRE = 128
_DIGITS = tuple(segment * 32 + start for segment in range(4) for start in (0, 6, 10, 16))
"""The first bits of the digits of a quire of 128 bits, as `tetrit.rtl` builds them; all but a segment's first fold."""
_ENDS = (*_DIGITS[1:], _QUIRE)
_SIGNIFICAND = 13
_RUN, _RUNS, _WORDS, _STEPS = 4, 4, 1024, 256
_DRAINED_ROWS, _DRAINED_COLUMNS = 16, 8
_GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Words:
    """What an element takes, word by word.

    Attributes
    ----------
    acts, weights : ndarray of int64, shape (steps, lanes)
        Codes.
    last : ndarray of bool, shape (steps,)
        Which words end a sum.
    mode : LaneMode
        How it works on their formats.
    """

    acts: Ints
    weights: Ints
    last: npt.NDArray[np.bool_]
    mode: LaneMode


def sampled(acts: npt.NDArray[Any], weight: npt.NDArray[Any], mode: LaneMode, machine: SimdEngine) -> Words:
    """Return words that some elements take of a product, neighbours in runs of up to four sums.

    Parameters
    ----------
    acts, weight : ndarray of int, shapes (m, k), (k, n)
        Codes of the mode's formats.
    mode : LaneMode
    machine : SimdEngine
        Whose tiles are taken.
    """
    (m, k), n = acts.shape, weight.shape[1]
    words = -(-k // mode.lanes)
    left = np.zeros((m, words * mode.lanes), dtype=np.int64)
    left[:, :k] = acts
    above = np.zeros((n, words * mode.lanes), dtype=np.int64)
    above[:, :k] = weight.T
    n_tiles = cycles.tiles(Workload(m=m, k=k, n=n), machine)
    in_row = -(-n // machine.cols)
    rows, columns = [], []
    for place in range(1, 1 + max(_RUNS, _WORDS // (words * _RUN))):
        lane = int(place * _GOLDEN**2 % 1.0 * (1 << 20))
        first = int(place * _GOLDEN % 1.0 * max(1, n_tiles - _RUN + 1))
        for tile in range(first, min(first + _RUN, n_tiles)):
            top, side = tile // in_row * machine.rows, tile % in_row * machine.cols
            rows.append(top + lane % min(machine.rows, m - top))
            columns.append(side + lane // 64 % min(machine.cols, n - side))
    steps = np.arange(words) if words <= _STEPS else np.r_[: _STEPS // 2, words - _STEPS // 2 : words]
    shape = (-1, mode.lanes)
    return Words(
        acts=left[rows].reshape(len(rows), words, mode.lanes)[:, steps].reshape(shape),
        weights=above[columns].reshape(len(columns), words, mode.lanes)[:, steps].reshape(shape),
        last=np.tile(np.arange(len(steps)) == len(steps) - 1, len(rows)),
        mode=mode,
    )


def edge_bits(machine: SimdEngine) -> float:
    """Return the bits of the array's registers outside elements and read-outs, which are clocked in every cycle.

    Skew of operands, biases and results, formats along the diagonals, what goes with a row that drains.
    """
    rows, cols, port = machine.rows, machine.cols, machine.port_bits
    of_rows = (port + 2) * rows * (rows - 1) // 2
    of_columns = (2 * port + 1 + machine.quire_bits) * cols * (cols - 1) // 2
    drain = 14 + max(1, (rows - 1).bit_length())
    return float(of_rows + of_columns + 4 * (rows + cols - 2) + drain * (cols - 1) + 2 * machine.pipeline_depth)


def element_movement(words: Words, *, gating: bool) -> dict[str, float]:
    """Return what moves in an element while it takes these words, by name as in `ELEMENT`.

    Contract: what `tetrit.rtl.simd` calls digits are those of a quire of 128 bits, whatever the machine's. Exact for
    words, quires and what is added to them; significands and exponents stand for decoders and multiplier.
    """
    mode = words.mode
    width = _QUIRE // mode.lanes
    fields = _Fields.of(words)
    magnitude = _bytes([sum(abs(p) << lane * width for lane, p in enumerate(row)) for row in fields.products])
    negative = np.repeat(np.array([[p < 0 for p in row] for row in fields.products]), width // 8, axis=1)
    totals = _bytes(_running(fields.products, words.last, width))
    ended = totals[words.last]
    start = np.zeros((1, _QUIRE // 8), dtype=np.uint8)
    return {
        "step": float(len(words.last)),
        **fields.movement(),
        "magnitude": _changed(magnitude),
        **_accumulated(magnitude, np.where(negative, 255, 0).astype(np.uint8), totals, words.last, gating=gating),
        "result": _changed(np.concatenate([start, ended])),
    }


def drained(acts: npt.NDArray[Any], weight: npt.NDArray[Any], mode: LaneMode, machine: SimdEngine) -> list[list[int]]:
    """Return the lanes' sums that read-outs take, row after row of a few columns; as of `sampled`."""
    n_rows, n_columns = min(len(acts), machine.rows, _DRAINED_ROWS), min(weight.shape[1], _DRAINED_COLUMNS)
    columns = np.linspace(0, weight.shape[1] - 1, n_columns).round().astype(np.int64)
    left = _real(mode.act_format).integers[acts[:n_rows]].astype(object)
    above = _real(mode.weight_format).integers[weight[:, columns]].astype(object)
    lanes = [left[:, lane :: mode.lanes] @ above[lane :: mode.lanes] for lane in range(min(mode.lanes, len(above)))]
    lanes += [np.zeros((n_rows, n_columns), dtype=object)] * (mode.lanes - len(lanes))
    return [[int(lane[row, column]) for lane in lanes] for column in range(n_columns) for row in range(n_rows)]


def readout_movement(quires: Sequence[Sequence[int]], bias: Sequence[int], mode: LaneMode) -> dict[str, float]:
    """Return what moves in a read-out that takes the lanes' sums, one result after the other; as in `READOUT`.

    Parameters
    ----------
    quires : sequence of sequence of int
        Sums of each lane, of each result.
    bias : sequence of int
        In units of the quire.
    mode : LaneMode
    """
    width = _QUIRE // mode.lanes
    mask = (1 << width) - 1
    packed = [sum((int(lane) & mask) << place * width for place, lane in enumerate(row)) for row in quires]
    totals = [sum(int(lane) for lane in row) + one for row, one in zip(quires, bias, strict=True)]
    return {
        "result": float(len(totals)),
        "quires": _changed(_bytes(packed)),
        "bias": _changed(_bytes(list(bias))),
        "total": _changed(_bytes(totals)),
        "magnitude": _changed(_bytes([abs(total) for total in totals])),
        "exponent": _changed(np.array([abs(total).bit_length() for total in totals])),
        "fraction": _changed(np.array([_fraction(abs(total)) for total in totals])),
    }


def _fraction(magnitude: int) -> int:
    """Return the 16 bits after the first 1."""
    return (magnitude << 17 >> magnitude.bit_length()) & 0xFFFF


@dataclass(frozen=True, kw_only=True, eq=False)
class _Fields:
    """Operands taken apart, and their products."""

    words: tuple[Ints, Ints]
    significands: tuple[Ints, Ints]
    exponents: tuple[Ints, Ints]
    products: list[list[int]]

    @classmethod
    def of(cls, words: Words) -> "_Fields":
        mode = words.mode
        places = np.arange(mode.lanes) * (16 // mode.lanes)
        pairs = ((mode.act_format, words.acts), (mode.weight_format, words.weights))
        parts = [_parts(_real(name), codes) for name, codes in pairs]
        return cls(
            words=((words.acts << places).sum(axis=1), (words.weights << places).sum(axis=1)),
            significands=(parts[0][1], parts[1][1]),
            exponents=(parts[0][2], parts[1][2]),
            products=[
                [a * b for a, b in zip(one, other, strict=True)]
                for one, other in zip(parts[0][0].tolist(), parts[1][0].tolist(), strict=True)
            ],
        )

    def movement(self) -> dict[str, float]:
        a, b = self.significands
        return {
            "act": _changed(self.words[0]),
            "weight": _changed(self.words[1]),
            "significand": _changed(a) + _changed(b),
            "exponent": _changed(self.exponents[0]) + _changed(self.exponents[1]),
            "product": _changed(a * b),
            "scale": _changed(self.exponents[0] + self.exponents[1]),
        }


def _real(name: str) -> RealFormat:
    found = formats.get(name)
    assert isinstance(found, RealFormat)
    return found


def _parts(fmt: RealFormat, codes: Ints) -> tuple[Ints, Ints, Ints]:
    """Return integers, significands with the first 1 in a fixed place, and exponents; all 0 for zero and NaR."""
    integers = fmt.integers[codes]
    magnitude = np.abs(integers)
    exponent = np.where(magnitude > 0, np.frexp(np.maximum(magnitude, 1).astype(np.float64))[1] - 1, 0).astype(np.int64)
    scaled = np.ldexp(magnitude.astype(np.float64), _SIGNIFICAND - exponent).astype(np.int64)
    return integers, scaled, exponent


def _running(products: list[list[int]], last: npt.NDArray[np.bool_], width: int) -> list[int]:
    """Return the lanes' quires after each step, two's complement side by side, the last one before it is cleared."""
    mask, found = (1 << width) - 1, []
    sums = [0] * len(products[0])
    for row, ends in zip(products, last.tolist(), strict=True):
        sums = [total + product for total, product in zip(sums, row, strict=True)]
        found.append(sum((total & mask) << lane * width for lane, total in enumerate(sums)))
        if ends:
            sums = [0] * len(row)
    return found


def _accumulated(
    magnitude: Bytes, negative: Bytes, totals: Bytes, last: npt.NDArray[np.bool_], *, gating: bool
) -> dict[str, float]:
    """Return what moves in the digits of the quires; a digit that rests may be kept as its complement."""
    steps = np.arange(len(last))
    cleared = np.concatenate([np.zeros((1, totals.shape[1]), np.uint8), np.where(last[:-1, None], 0, totals[:-1])])
    found = dict.fromkeys(("addend", "carry", "digit", "quire"), 0.0)
    for begin, end in zip(_DIGITS, _ENDS, strict=True):
        at = slice(begin // 8, -(-end // 8))
        bits = _bytes([(1 << end) - (1 << begin)])[:, at]
        new, old, part = totals[:, at] & bits, cleared[:, at] & bits, magnitude[:, at] & bits
        used: npt.NDArray[np.bool_] = np.ones(len(last), dtype=np.bool_)
        if gating:
            used = np.asarray(part.any(axis=1))
        kept = new
        if gating and begin % 32 > 0:
            turned = ((new == bits).all(axis=1) & (old == 0).all(axis=1)) | (
                (new == 0).all(axis=1) & (old == bits).all(axis=1)
            )
            turns = np.cumsum(turned & ~used)
            since = np.maximum.accumulate(np.where(used | last, steps, -1))
            folded = (turns - np.where(since >= 0, turns[since], 0)) % 2 == 1
            kept = new ^ np.where((folded & ~used & ~last)[:, np.newaxis], bits, np.uint8(0))
        stored = np.where(last[:, np.newaxis], 0, kept).astype(np.uint8)
        before = np.concatenate([np.zeros((1, stored.shape[1]), np.uint8), stored[:-1]])
        moves = used | (new != old).any(axis=1) | last
        in_use = used[:, np.newaxis]
        addend = part ^ (negative[:, at] & np.where(in_use, bits, np.uint8(0)))
        carry = addend ^ np.where(in_use, old, before) ^ np.where(in_use, new, before)
        found["addend"] += _changed(addend)
        found["carry"] += _changed(carry)
        found["digit"] += float(moves.sum() * (end - begin)) if gating else float(len(last) * (end - begin))
        found["quire"] += float(np.bitwise_count(stored ^ before).sum())
    return found


def _bytes(integers: list[int]) -> Bytes:
    """Return two's complement bytes of integers, low byte first, shape (n, 16)."""
    mask = (1 << _QUIRE) - 1
    data = b"".join((integer & mask).to_bytes(_QUIRE // 8, "little") for integer in integers)
    return np.frombuffer(data, dtype=np.uint8).reshape(-1, _QUIRE // 8)


def _changed(states: npt.NDArray[Any]) -> float:
    """Return the bits that change from each row to the next."""
    return float(np.bitwise_count(states[1:] ^ states[:-1]).astype(np.int64).sum())
