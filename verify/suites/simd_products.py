"""How the SIMD element is verified at length: millions of 16-bit products, sums of as many terms as a quire holds."""

__all__ = ["element_jobs", "long_jobs", "product_jobs", "wide_products"]

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit import formats
from tetrit.hardware.simd_engine import MAC_LATENCY, READOUT_LATENCY, SIMD_FORMATS, LaneMode, SimdEngine
from tetrit.rtl.simd.modes import FORMAT_CODES
from tetrit.verify.suites import simd
from tetrit.verify.suites.job import Job, lockstep_stimulus
from tetrit.verify.suites.simd_designs import BIAS_BITS, MacPath, SimdDesigns

Ints = npt.NDArray[np.int64]

_WIDE = "posit16_1"
_THOUSANDS = 2000
"""Random products by default, in thousands."""

_ROWS, _MANY_ROWS = 500_000, 10_000_000
"""Products of a job, and of all jobs from which on the model of many parts is worth its build."""

_LONGEST = 40_000
"""Modes whose quires hold more terms are not driven to their bound."""

_LIMBS = 4
_LIMB_BITS = 32


def element_jobs(designs: SimdDesigns, seed: int, cases: int | None) -> list[Job]:
    """Return all jobs of the element with its read-out."""
    made = []
    for make in (simd.pair_jobs, simd.mac_jobs, product_jobs, long_jobs):
        made += make(designs, seed, cases)
    return made


def product_jobs(designs: SimdDesigns, seed: int, cases: int | None) -> list[Job]:
    """Products of two 16-bit codes: directed pairs, then random ones, `cases` thousands (default 2000)."""
    rng = np.random.default_rng([seed, 11])
    pairs = np.concatenate([_directed(rng), _random(rng, 1000 * (_THOUSANDS if cases is None else cases))])
    pairs = rng.permutation(pairs)
    count = -(-len(pairs) // _ROWS)
    return [
        _job(
            designs,
            f"SimdMac, {_WIDE} products {index + 1}/{count}",
            _products(part, rng),
            parts=len(pairs) >= _MANY_ROWS,
        )
        for index, part in enumerate(np.array_split(pairs, count))
    ]


def long_jobs(designs: SimdDesigns, seed: int, cases: int | None) -> list[Job]:
    """Return sums of as many largest products as a quire holds, and long ones in which all but the least cancels."""
    rng = np.random.default_rng([seed, 12])
    machine = SimdEngine(rows=1, cols=1)
    modes = [machine.mode(act, weight) for act in SIMD_FORMATS for weight in SIMD_FORMATS]
    chosen = [mode for mode in modes if mode.max_terms <= _LONGEST]
    return [_job(designs, "SimdMac, sums of as many terms as fit", _long_sums(chosen, rng))]


def _job(designs: SimdDesigns, name: str, stimulus: dict[str, npt.NDArray[Any]], *, parts: bool = False) -> Job:
    return Job(
        name=name,
        component="SimdMac",
        design=partial(MacPath, designs.mac, designs.readout, SimdEngine(rows=1, cols=1)),
        bench="lockstep",
        stimulus=stimulus,
        gates=False,
        batch=True,
        parts=parts,
    )


def _directed(rng: np.random.Generator) -> Ints:
    """Return all pairs of codes at the ends and on either side of every power of two, and pairs with simple products.

    The latter are the codes next to the quotient of a power of two and a random code: their products lie close to the
    borders between codes.
    """
    fmt = formats.get(_WIDE)
    powers = fmt.encode(np.ldexp(1.0, np.arange(-28, 29))).astype(np.int64)
    near = (np.concatenate([powers, -powers])[:, np.newaxis] + np.arange(-1, 2)).ravel()
    codes = np.unique(np.concatenate([near, [0, 1, -1, -(1 << 15), (1 << 15) - 1]]) % (1 << 16))
    pairs = np.stack(np.meshgrid(codes, codes), axis=-1).reshape(-1, 2)
    left = rng.integers(1, 1 << 15, size=100_000)
    right = fmt.encode(np.ldexp(1.0, rng.integers(-28, 29, size=left.size)) / fmt.values[left]).astype(np.int64)
    simple = np.stack([left, (right + rng.integers(-1, 2, size=left.size)) % (1 << 16)], axis=-1)
    return np.concatenate([pairs, simple])


def _random(rng: np.random.Generator, count: int) -> Ints:
    return rng.integers(0, 1 << 16, size=(count, 2))


def _products(pairs: Ints, rng: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
    """Return the rows in which each pair is a sum of its own, rounded to a format drawn at random."""
    fmt = formats.get(_WIDE)
    n = len(pairs)
    out_format = rng.integers(0, len(SIMD_FORMATS), size=n)
    relu, shift = rng.random(n) < 0.2, rng.integers(-8, 9, size=n)
    acts, weights = pairs.T
    exact = fmt.values[acts] * fmt.values[weights] + 0.0  # 26 significant bits; a quire has no -0
    nar = np.isnan(exact)
    scaled = np.ldexp(np.where(relu & (exact < 0), 0.0, exact), shift)
    codes = np.zeros(n, dtype=np.int64)
    for name, selector in FORMAT_CODES.items():
        chosen = out_format == selector
        found = formats.get(name)
        codes[chosen] = found.encode(np.where(nar, 0.0, scaled)[chosen])
        codes[chosen & nar] = int(found.encode(np.array([np.nan]))[0]) if found.has_nan else 0b1111
    kind = FORMAT_CODES[_WIDE]
    columns = {"act_in": acts, "weight_in": weights, "last_in": np.ones(n, dtype=np.int64)}
    columns |= {"act_format": np.full(n, kind), "weight_format": np.full(n, kind), "out_format": out_format}
    columns |= {"relu": relu.astype(np.int64), "shift": shift}
    limbs = wide_products(fmt.integers[acts].astype(np.int64), fmt.integers[weights].astype(np.int64))
    return _stimulus(columns, np.arange(n), limbs, nar, codes, nar & (out_format == 0))


def wide_products(a: Ints, b: Ints) -> npt.NDArray[np.uint64]:
    """Return products of integers below 2**62 in two's complement of 128 bits, as limbs of 32 bits, low limb first."""
    mask, width = np.uint64(0xFFFFFFFF), np.uint64(32)
    x, y = (np.abs(values).astype(np.uint64) for values in (a, b))
    parts = [[(v & mask), (v >> width)] for v in (x, y)]
    low = parts[0][0] * parts[1][0]
    crossed = parts[0][0] * parts[1][1] + (low >> width)  # below 2**64, as the second factors are below 2**30
    middle = parts[0][1] * parts[1][0] + (crossed & mask)
    high = parts[0][1] * parts[1][1] + (crossed >> width) + (middle >> width)
    limbs = np.stack([low & mask, middle & mask, high & mask, high >> width], axis=-1)
    negative = (a < 0) != (b < 0)
    inverted = limbs ^ mask
    carry = np.ones(len(limbs), dtype=np.uint64)
    for index in range(_LIMBS):
        total = inverted[:, index] + carry
        inverted[:, index], carry = total & mask, total >> width
    return np.where(negative[:, np.newaxis], inverted, limbs)


def _long_sums(modes: list[LaneMode], rng: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
    """Return sums of `max_terms` words: the largest products of either sign, and ones that cancel but for the least."""
    pieces: list[dict[str, Ints]] = []
    results: list[tuple[int, bool, int, dict[str, int], LaneMode]] = []
    ends: list[int] = []
    rows = 0
    for mode in modes:
        act, weight = formats.get(mode.act_format), formats.get(mode.weight_format)
        n, lanes, width = mode.max_terms, mode.lanes, mode.lane_quire_bits
        least, large = ([_code(fmt, value) for fmt in (act, weight)] for value in ("min_positive", "max_value"))
        minus = int(weight.encode(-weight.values[[large[1]]])[0])
        cancelling = np.where(np.arange(n) % 2 == 0, large[1], minus)
        for acts, weights in (
            (np.full(n, large[0]), np.full(n, large[1])),
            (np.full(n, large[0]), np.full(n, minus)),
            (np.append(np.full(n - 1 - (n - 1) % 2, large[0]), least[0]), None),
        ):
            if weights is None:
                weights = np.append(cancelling[: len(acts) - 1], least[1])
            told = {"out_format": int(rng.integers(1, len(SIMD_FORMATS))), "relu": 0, "shift": 0, "bias": 0}
            repeated = sum(1 << (lane * 16 // lanes) for lane in range(lanes))
            steps = len(acts)
            piece = {"act_in": acts * repeated, "weight_in": weights * repeated}
            piece |= {"valid_in": np.ones(steps, dtype=np.int64), "last_in": (np.arange(steps) == steps - 1) * 1}
            told_in_rows = told | {
                "act_format": FORMAT_CODES[mode.act_format],
                "weight_format": FORMAT_CODES[mode.weight_format],
            }
            piece |= {name: np.full(steps, value) for name, value in told_in_rows.items() if name != "bias"}
            # the cycle before the formats may change
            pieces.append({name: np.append(v, 0 if name == "valid_in" else v[-1]) for name, v in piece.items()})
            total = int(act.integers[acts].astype(object) @ weight.integers[weights].astype(object))
            quire = sum((total % (1 << width)) << (lane * width) for lane in range(lanes))
            results.append((0, False, quire, told | {"total": total * lanes}, mode))
            ends.append(rows + steps - 1)
            rows += steps + 1
    columns = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    mask = (1 << _LIMB_BITS) - 1
    limbs = np.array(
        [[(quire >> (_LIMB_BITS * index)) & mask for index in range(_LIMBS)] for _, _, quire, _, _ in results],
        dtype=np.uint64,
    )
    none = np.zeros(len(results), dtype=np.bool_)
    return _stimulus(columns, np.array(ends), limbs, none, np.array(simd.encoded(results), dtype=np.int64), none)


def _code(fmt: formats.Format, value: str) -> int:
    """Return the code of one of a format's extreme values."""
    return int(fmt.encode(np.array([getattr(fmt, value)]))[0])


def _stimulus(
    columns: dict[str, Ints],
    ends: Ints,
    limbs: npt.NDArray[np.uint64],
    nar: npt.NDArray[np.bool_],
    codes: Ints,
    lost: npt.NDArray[np.bool_],
) -> dict[str, npt.NDArray[Any]]:
    """Return rows without gaps; a result counts where it leaves the element, and where it leaves the read-out."""
    n, tail = len(columns["act_in"]), MAC_LATENCY + READOUT_LATENCY
    rows = n + tail
    inputs: dict[str, npt.NDArray[Any]] = {
        name: np.concatenate([values, np.repeat(values[-1:], tail)]) for name, values in columns.items()
    }
    inputs |= {"enable": np.ones(rows, dtype=np.uint8), "bias": np.zeros(rows, dtype=np.uint8)}
    inputs["valid_in"] = np.append(columns.get("valid_in", np.ones(n, dtype=np.int64)), np.zeros(tail, dtype=np.int64))
    expected: dict[str, npt.NDArray[Any]] = {}
    checked: dict[str, npt.NDArray[np.bool_]] = {}

    def at(port: str, late: int, values: npt.NDArray[Any], counts: npt.NDArray[np.bool_] | None = None) -> None:
        expected[port] = np.zeros(rows, dtype=np.int64)
        checked[port] = np.zeros(rows, dtype=np.bool_)
        expected[port][ends + late] = values
        checked[port][ends + late] = True if counts is None else counts

    at("nar", MAC_LATENCY, nar)
    for index in range(_LIMBS):
        at(f"quire_{index}", MAC_LATENCY, limbs[:, index], ~nar)
    at("code", tail, codes)
    at("lost", tail, lost)
    widths = dict.fromkeys(("enable", "valid_in", "last_in", "relu", "nar", "lost"), 1)
    widths |= dict.fromkeys(("act_format", "weight_format", "out_format"), 2)
    widths |= {"act_in": 16, "weight_in": 16, "shift": 7, "bias": BIAS_BITS, "code": 16}
    widths |= {f"quire_{index}": _LIMB_BITS for index in range(_LIMBS)}
    return lockstep_stimulus(inputs, expected, widths, checked)
