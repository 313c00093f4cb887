"""How the gearboxes are verified: random vectors as words and back, with exact cycles, waits and resets."""

__all__ = ["downsizer_jobs", "upsizer_jobs"]

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tetrit.verify.suites.designs import Designs
from tetrit.verify.suites.job import Case, Feed, Job, stream_stimulus
from tetrit.verify.words import to_words

_SHAPES = ((32, 8), (13, 4), (8, 8), (5, 16), (9, 1))
_CASES = 12


def upsizer_jobs(designs: Designs, seed: int, cases: int | None) -> list[Job]:
    """One job per pair of widths: words in, vectors out."""
    return _jobs("Upsizer", designs.upsizer, seed, cases, words_in=True)


def downsizer_jobs(designs: Designs, seed: int, cases: int | None) -> list[Job]:
    """One job per pair of widths: vectors in, words out."""
    return _jobs("Downsizer", designs.downsizer, seed, cases, words_in=False)


def _jobs(name: str, design: Callable[..., Any], seed: int, cases: int | None, *, words_in: bool) -> list[Job]:
    made = []
    for index, (vector_bits, word_bits) in enumerate(_SHAPES):
        rng = np.random.default_rng([seed, 5, index])
        taken, given = (word_bits, vector_bits) if words_in else (vector_bits, word_bits)
        made.append(
            Job(
                name=f"{name} {vector_bits} bits, words of {word_bits}",
                component=name,
                design=partial(design, vector_bits, word_bits),
                bench="streams",
                stimulus=stream_stimulus(
                    [
                        _case(vector_bits, word_bits, number, rng, words_in=words_in)
                        for number in range(_CASES if cases is None else cases)
                    ],
                    {"i": taken + 1, "o": given + 1},
                    seed=int(rng.integers(2**31)),
                ),
                gates=index == 1,
            )
        )
    return made


def _case(vector_bits: int, word_bits: int, number: int, rng: np.random.Generator, *, words_in: bool) -> Case:
    """Return one case: plain ones in turn with waiting ones; some cut short by a reset.

    A vector leaves, or the next one is taken, as many cycles after the one before as it has words, one cycle late.
    """
    count = int(rng.integers(1, 60))
    vectors = rng.integers(0, 2, size=(count, vector_bits))
    last = rng.random(count) < 0.3
    words = to_words(vectors, 1, word_bits, last)
    whole = to_words(vectors, 1, vector_bits, last)
    waits = {"i": float(rng.choice([0.0, 0.2, 0.7])), "o": float(rng.choice([0.0, 0.3, 0.8]))} if number % 2 else {}
    return Case(
        feeds={"i": Feed(words=words if words_in else whole)},
        expected={"o": whole if words_in else words},
        cycles=count * -(-vector_bits // word_bits) + 1,
        idle=waits,
        reset=number % 3 == 2,
        cut=int(rng.integers(3, 20)) if number % 4 == 3 else -1,
    )
