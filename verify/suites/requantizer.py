"""How the requantiser is verified: extremes, ties and random words against the simulator's integer function."""

__all__ = ["jobs", "payload_bits", "requantizer_case"]

from functools import partial
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit import formats
from tetrit.sim.requantize import requantize
from tetrit.verify.suites.designs import Designs
from tetrit.verify.suites.job import Case, Feed, Job, stream_stimulus
from tetrit.verify.words import pack_fields

Ints = npt.NDArray[np.int64]

LATENCY_CYCLES = 2
"""Documented by `tetrit.rtl.Requantizer`; its throughput is one word per cycle."""

_SHAPES = ((24, "int8", 16), (20, "int4", 8), (33, "int16", 16))


def jobs(designs: Designs, seed: int, cases: int | None) -> list[Job]:
    """One job per width; each with directed words, random words, waits, and resets in between."""
    return [
        _job(designs, *shape, np.random.default_rng([seed, 3, index]), 12 if cases is None else cases, gates=index == 1)
        for index, shape in enumerate(_SHAPES)
    ]


def _job(
    designs: Designs,
    acc_bits: int,
    out_format: str,
    multiplier_bits: int,
    rng: np.random.Generator,
    n_cases: int,
    *,
    gates: bool,
) -> Job:
    widths = (acc_bits, out_format, multiplier_bits)
    cases = [requantizer_case(*_directed(acc_bits, multiplier_bits), *widths)]
    for index in range(n_cases):
        words = _random(acc_bits, multiplier_bits, int(rng.integers(1, 400)), rng)
        idle = {"i": float(rng.choice([0.0, 0.1, 0.7])), "o": float(rng.choice([0.0, 0.3, 0.8]))} if index % 2 else {}
        cut = int(rng.integers(3, 30)) if index % 4 == 3 else -1
        reset = bool(index % 3 == 2)
        cases.append(requantizer_case(*words, *widths, idle=idle, cut=cut, reset=reset))
    return Job(
        name=f"Requantizer {acc_bits} x {multiplier_bits} bits to {out_format}",
        component="Requantizer",
        design=partial(designs.requantizer, *widths),
        bench="streams",
        stimulus=stream_stimulus(cases, payload_bits(*widths), seed=int(rng.integers(2**31))),
        gates=gates,
    )


def payload_bits(acc_bits: int, out_format: str, multiplier_bits: int) -> dict[str, int]:
    """Width of each stream's payload."""
    fields = acc_bits + multiplier_bits + _shift_bits(acc_bits, multiplier_bits) + 1
    return {"i": fields, "o": formats.get(out_format).bits}


def requantizer_case(
    acc: Ints,
    multiplier: Ints,
    shift: Ints,
    relu: npt.NDArray[np.bool_],
    acc_bits: int,
    out_format: str,
    multiplier_bits: int,
    **options: Any,
) -> Case:
    """Return the case of a run of words; expected values from `tetrit.sim.requantize`.

    Parameters
    ----------
    acc, multiplier, shift, relu : ndarray, shape (n,)
        The words.
    acc_bits, out_format, multiplier_bits
        As of the component.
    **options
        Further fields of the `Case`.
    """
    payload = pack_fields(
        [
            (acc, acc_bits),
            (multiplier, multiplier_bits),
            (shift, _shift_bits(acc_bits, multiplier_bits)),
            (relu, 1),
        ]
    )
    expected = requantize(acc, multiplier, shift, out_format=out_format, relu=relu)
    return Case(
        feeds={"i": Feed(words=payload)},
        expected={"o": pack_fields([(expected, formats.get(out_format).bits)])},
        cycles=len(acc) + LATENCY_CYCLES,
        **options,
    )


def _shift_bits(acc_bits: int, multiplier_bits: int) -> int:
    return (acc_bits + multiplier_bits).bit_length()


def _directed(acc_bits: int, multiplier_bits: int) -> tuple[Ints, Ints, Ints, npt.NDArray[np.bool_]]:
    """Return extremes of every field in all combinations, and products that lie on, just below and just above a tie."""
    top = 2 ** (acc_bits - 1)
    accs = [-top, -top + 1, -1, 0, 1, top - 2, top - 1]
    multipliers = [0, 1, 2 ** (multiplier_bits - 1), 2**multiplier_bits - 1]
    shifts = [1, 2, multiplier_bits, acc_bits, acc_bits + multiplier_bits - 1, acc_bits + multiplier_bits]
    rows = list(product(accs, multipliers, shifts, (False, True)))
    for shift in range(2, acc_bits - 4):
        half = 2 ** (shift - 1)
        ties = [(odd * half + delta, 1, shift, False) for odd in (-5, -3, -1, 1, 3, 5) for delta in (-1, 0, 1)]
        rows += [row for row in ties if abs(row[0]) < top]
    acc, multiplier, shift_of, relu = (np.array(column) for column in zip(*rows, strict=True))
    return acc.astype(np.int64), multiplier.astype(np.int64), shift_of.astype(np.int64), relu


def _random(
    acc_bits: int, multiplier_bits: int, n: int, rng: np.random.Generator
) -> tuple[Ints, Ints, Ints, npt.NDArray[np.bool_]]:
    """Return random words, most of them neither clipped nor rounded to zero."""
    magnitude = 2.0 ** rng.uniform(0, acc_bits - 1, size=n)
    acc = np.clip(np.rint(magnitude * rng.choice([-1, 1], size=n)), -(2.0 ** (acc_bits - 1)), 2.0 ** (acc_bits - 1) - 1)
    multiplier = rng.integers(0, 2**multiplier_bits, size=n)
    near = np.rint(np.log2(magnitude) + np.log2(np.maximum(multiplier, 1)) - rng.uniform(0, 9, size=n))
    shift = np.clip(near, 1, acc_bits + multiplier_bits)
    return acc.astype(np.int64), multiplier.astype(np.int64), shift.astype(np.int64), rng.random(n) < 0.5
