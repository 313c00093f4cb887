"""The counter-based noise: published numbers, a slow reference in Python integers, its distribution, its streams."""

import math
import re
import statistics

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrit.errors import InvalidValueError
from tetrit.estimators.zeroth import SPSA, IntegerSPSA, counter_words, reference, step_seed
from tetrit.estimators.zeroth import _kernels as kernels
from tetrit.estimators.zeroth.counter import key_of

SEEDS = st.integers(0, 2**64 - 1)
OFFSETS = st.integers(0, 2**62)


def test_published_outputs_of_splitmix64():
    """State 1234567: the five outputs that implementations of the generator in many languages are checked with."""
    out = np.empty((1, 5), np.uint64)
    with np.errstate(over="ignore"):
        kernels.words(out, np.uint64(1234567), 0, 0, 1)
    assert out[0].tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


@given(SEEDS, OFFSETS, st.integers(0, 20))
def test_words_reference(seed, offset, n):
    wanted = [reference.word(seed, offset + k) for k in range(n)]
    assert counter_words(n, seed=seed, offset=offset).tolist() == wanted


@given(SEEDS, OFFSETS, st.integers(0, 12))
def test_directions_reference(seed, offset, n):
    for distribution in ("rademacher", "normal"):
        got = SPSA(distribution=distribution).direction((n,), seed=seed, offset=offset)
        wanted = [reference.direction(distribution, seed, offset + k) for k in range(n)]
        assert got.tobytes() == np.array(wanted).tobytes()


@given(SEEDS, OFFSETS, st.integers(0, 12), st.integers(1, 127), st.floats(0, 1))
def test_integer_directions_reference(seed, offset, n, reach, share):
    got = IntegerSPSA(reach=reach, zero_share=share).direction((n,), seed=seed, offset=offset)
    assert got.tolist() == [reference.integer_direction(seed, offset + k, reach, share) for k in range(n)]


def test_a_stream_has_no_seams():
    n = 2 * 2**15 + 7  # over three chunks
    for distribution in ("rademacher", "normal"):
        whole = SPSA(distribution=distribution).direction((n,), seed=4)
        parts = [
            SPSA(distribution=distribution).direction((1,), seed=4, offset=k)[0] for k in (0, 2**15 - 1, 2**15, n - 1)
        ]
        assert whole[[0, 2**15 - 1, 2**15, n - 1]].tolist() == parts
        shaped = SPSA(distribution=distribution).direction((5, 7, 3), seed=4)
        np.testing.assert_array_equal(shaped.reshape(-1), whole[:105])


def test_the_quantile_is_the_normal_one():
    """Against the standard library at the same probabilities, far tails included."""
    exact = statistics.NormalDist().inv_cdf
    words = [0, 1, 2**12, 2**13, 2**20, 2**40, 2**63, 2**64 - 1, 2**64 - 2**13, *counter_words(20000, seed=3).tolist()]
    words += [int(p * 2**64) for p in (0.0749, 0.075, 0.0751, 0.925, 1.3e-11, 1.4e-11)]
    for word in words:
        p = (2 * (word >> 12) + 1) * 2.0**-53
        with np.errstate(over="ignore"):
            got = kernels._normal(np.uint64(word))
        assert got == pytest.approx(exact(p), rel=1e-14)
        assert abs(got) < 8.3


def test_the_normal_noise_is_symmetric():
    """A word and its complement give the same number with the other sign, exactly."""
    for word in counter_words(500, seed=1).tolist():
        assert kernels._normal(np.uint64(word)) == -kernels._normal(np.uint64(2**64 - 1 - word))


@pytest.mark.parametrize("distribution", ["rademacher", "normal"])
def test_moments_and_independence(distribution):
    n = 200_000
    spsa = SPSA(distribution=distribution)
    z = spsa.direction((n,), seed=11)
    bound = 5 / math.sqrt(n)
    kurtosis = 1.0 if distribution == "rademacher" else 3.0
    assert abs(z.mean()) < bound
    assert abs((z**2).mean() - 1.0) < bound * math.sqrt(2)
    assert abs((z**4).mean() - kurtosis) < bound * math.sqrt(96)
    for lag in (1, 2, 64, 32768):
        assert abs((z[lag:] * z[:-lag]).mean()) < 1.5 * bound
    for other in (10, 12, 2**63):  # neighbouring seeds
        assert abs((z * spsa.direction((n,), seed=other)).mean()) < bound
    steps = [spsa.direction((n,), seed=step_seed(11, k)) for k in range(3)]
    assert all(abs((a * b).mean()) < bound for a, b in ((steps[0], steps[1]), (steps[1], steps[2]), (steps[0], z)))


def test_integer_noise_is_uniform_off_its_zeros():
    n = 200_000
    z = IntegerSPSA(reach=3, zero_share=0.25).direction((n,), seed=5)
    shares = {k: float((z == k).mean()) for k in range(-3, 4)}
    for k, share in shares.items():
        wanted = 0.75 / 7 + (0.25 if k == 0 else 0.0)
        assert abs(share - wanted) < 5 * math.sqrt(wanted * (1 - wanted) / n)
    assert not IntegerSPSA(zero_share=1.0).direction((1000,), seed=5).any()
    assert (np.abs(IntegerSPSA(reach=127, zero_share=0.0).direction((100000,), seed=5).astype(int)) <= 127).all()


def test_step_seeds_are_all_different():
    seeds = {step_seed(seed, step) for seed in range(40) for step in range(100)}
    assert len(seeds) == 4000
    assert all(0 <= s < 2**64 for s in seeds)
    assert {key_of(s) for s in range(1000)}.isdisjoint({0})


def test_the_number_of_threads_changes_nothing(monkeypatch):
    w = np.random.default_rng(0).normal(size=400_000).astype(np.float32)
    results = []
    for threads in (1, 3):
        monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", threads)
        arrays = [SPSA(distribution=d).perturbed(w, -2, seed=8) for d in ("rademacher", "normal")]
        arrays += [counter_words(w.size, seed=1), IntegerSPSA().updated(w.astype(np.int8), 1, seed=2)]
        results.append([a.tobytes() for a in arrays])
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: counter_words(-1, seed=0), InvalidValueError, "`n` must be a non-negative integer, got -1"),
        (
            lambda: counter_words(1, seed=2**64),
            InvalidValueError,
            f"`seed` must be an integer from 0 to {2**64 - 1}, got {2**64}",
        ),
        (lambda: counter_words(1, seed=0.5), TypeError, "`seed` must be an integer, got 0.5"),
        (
            lambda: SPSA().direction((2,), seed=0, offset=-1),
            InvalidValueError,
            f"`offset` must be an integer from 0 to {2**62}, got -1",
        ),
        (lambda: step_seed(0, -1), InvalidValueError, "`step` must be a non-negative integer, got -1"),
    ],
)
def test_bad_arguments(call, error, text):
    with pytest.raises(error, match="^" + re.escape(text) + "$"):
        call()


PROBE = """
import hashlib
import numpy as np
from tetrit.estimators.zeroth import SPSA, IntegerSPSA, counter_words, integer_cross_entropy

digest = hashlib.sha256()
rng = np.random.default_rng(7)
arrays = [counter_words(5000, seed=2**64 - 1, offset=2**62 - 5000)]
for d in ("rademacher", "normal"):
    spsa = SPSA(distribution=d)
    arrays.append(spsa.direction((33000,), seed=5))
    for dtype in (np.float32, np.float64):
        w = rng.normal(size=(4, 500)).astype(dtype)
        arrays += [spsa.perturbed(w, 1, seed=3), spsa.updated(w, 0.7, rate=0.1, seed=3)]
        spsa.step(lambda p: float(np.abs(p[0]).sum()), [w], rate=1e-3, seed=9)
        arrays.append(w)
w = rng.integers(-127, 128, 2000).astype(np.int8)
ints = IntegerSPSA()
arrays += [ints.direction((2000,), seed=1), ints.perturbed(w, -1, seed=1), ints.updated(w, -1, seed=1)]
logits = rng.integers(-3000, 3000, (40, 10))
arrays += [integer_cross_entropy(logits, rng.integers(0, 10, 40), exponent=e) for e in (-20, -8, 0, 4)]
for a in arrays:
    digest.update(np.ascontiguousarray(a).tobytes())
print(digest.hexdigest())
"""


def test_without_the_compiler_the_bits_are_the_same(same_without_the_compiler):
    same_without_the_compiler(PROBE, silent=True)
