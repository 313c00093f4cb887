"""The quire against independent software: softposit's q8 and q16, on random and on hostile dot products."""

import warnings

import numpy as np
import pytest

from tetrit import formats
from tetrit.sim.simd import quire_matmul

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # from its generated wrapper
    import softposit

QUIRES = {"posit8_0": (softposit.posit8, softposit.quire8), "posit16_1": (softposit.posit16, softposit.quire16)}
NAMES = list(QUIRES)


def dot(name, a, b):
    make, quire = QUIRES[name]
    total = quire()
    total.clr()
    for one, other in zip(a, b, strict=True):
        total.qma(make(bits=int(one)), make(bits=int(other)))
    return int(total.toPosit().v.v)


def check(name, a, b):
    """Compare the products of rows of `a` with the rows of `b` at the same place."""
    for one, other in zip(a, b, strict=True):
        ours = quire_matmul(one[None, :], other[:, None], name, name, name)
        assert int(ours[0, 0]) == dot(name, one, other), (one.tolist(), other.tolist())


def opposite(name, codes):
    return (2 ** formats.get(name).bits - codes) % 2 ** formats.get(name).bits


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("k", [1, 2, 3, 17, 100])
def test_random_codes(name, k):
    """Codes drawn evenly span the whole range; NaR is among them now and then."""
    rng = np.random.default_rng(k)
    shape = (600 // k + 20, k)
    a, b = (rng.integers(0, 2 ** formats.get(name).bits, shape) for _ in range(2))
    check(name, a, b)


@pytest.mark.parametrize("name", NAMES)
def test_a_whole_matrix_product_of_normal_numbers(name):
    rng = np.random.default_rng(2)
    fmt = formats.get(name)
    a, b = fmt.encode(rng.standard_normal((12, 64))), fmt.encode(0.1 * rng.standard_normal((64, 9)))
    ours = quire_matmul(a, b, name, name, name)
    assert ours.tolist() == [[dot(name, row, column) for column in b.T] for row in a]


@pytest.mark.parametrize("name", NAMES)
def test_cancellation_down_to_one_product(name):
    """Everything is added and taken away again, in another order; one product is left."""
    rng = np.random.default_rng(3)
    fmt = formats.get(name)
    top = 2 ** (fmt.bits - 1)
    for _ in range(150):
        a, b = (rng.integers(1, top, 20) for _ in range(2))
        left = rng.integers(1, top, 2)
        order = rng.permutation(41)
        one = np.concatenate((a, opposite(name, a), left[:1]))[order]
        other = np.concatenate((b, b, left[1:]))[order]
        ours = int(quire_matmul(one[None], other[:, None], name, name, name)[0, 0])
        assert ours == dot(name, one, other) == dot(name, left[:1], left[1:])


@pytest.mark.parametrize("name", NAMES)
def test_chains_of_the_least_and_of_the_largest(name):
    top = 2 ** (formats.get(name).bits - 1)
    least, most = 1, top - 1
    for n_most in (0, 1, 2, 15, 64):
        for n_least in (0, 1, 2, 3, 63, 64, 127):
            one = np.array([most] * n_most + [least] * n_least + [0])
            check(name, [one, one], [one, opposite(name, one)])
            mixed = np.array([most] * n_most + [2 * top - most] * n_most + [least] * n_least + [0])
            positive = np.array([most] * (2 * n_most) + [least] * n_least + [0])
            check(name, [mixed], [positive])


@pytest.mark.parametrize("name", NAMES)
def test_nar_anywhere(name):
    top = 2 ** (formats.get(name).bits - 1)
    rng = np.random.default_rng(4)
    for place in range(6):
        a, b = rng.integers(0, top, (2, 6))
        a[place] = top
        check(name, [a, b], [b, a])
        assert int(quire_matmul(a[None], b[:, None], name, name, name)[0, 0]) == top


@pytest.mark.parametrize("name", NAMES)
def test_ties_between_all_neighbours(name):
    """The border between two codes as the sum of the lower one and of half their distance, and a hair more or less."""
    fmt = formats.get(name)
    one = int(fmt.encode(1.0))
    values = fmt.values[: 2 ** (fmt.bits - 1)]
    codes = np.arange(1, len(values) - 1)
    if fmt.bits == 16:
        codes = codes[::307]
    for code in codes.tolist():
        half = fmt.encode((values[code + 1] - values[code]) / 2)
        if fmt.values[half] * 2 != values[code + 1] - values[code]:
            continue  # the distance is no posit
        hair = [int(c) for c in (0, 1, opposite(name, np.array(1)))]
        for sign in (one, int(opposite(name, np.array(one)))):
            for extra in hair:
                check(name, [np.array([code, half, extra])], [np.array([sign, sign, 1])])
