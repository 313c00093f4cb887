"""Transforms: exact by an independent convolution over fractions, points as published, integer forms, refusals."""

import math
import pickle
import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrit.errors import InvalidValueError, UnknownNameError
from tetrit.hls.winograd import condition, transform
from tetrit.hls.winograd.points import NOVA, named, sets

fractions = st.fractions(min_value=-4, max_value=4, max_denominator=6)


def apply(rows, vector):
    return [sum((c * x for c, x in zip(row, vector, strict=True)), start=Fraction(0)) for row in rows]


@settings(max_examples=30)
@given(data=st.data(), m=st.integers(1, 5), r=st.integers(1, 4))
def test_is_the_convolution_over_the_rationals(data, m, r):
    n = m + r - 1
    points = data.draw(st.lists(fractions, min_size=n - 1, max_size=n - 1, unique=True))
    d = data.draw(st.lists(fractions, min_size=n, max_size=n))
    g = data.draw(st.lists(fractions, min_size=r, max_size=r))
    f = transform(m, r, points)
    products = [a * b for a, b in zip(apply(f.g, g), apply(f.b, d), strict=True)]
    assert apply(f.a, products) == [sum(d[i + j] * g[j] for j in range(r)) for i in range(m)]


@settings(max_examples=30)
@given(data=st.data(), m=st.integers(1, 5), r=st.integers(1, 4))
def test_integer_form_is_the_convolution_times_the_denominator(data, m, r):
    n = m + r - 1
    points = data.draw(st.lists(fractions, min_size=n - 1, max_size=n - 1, unique=True))
    d = data.draw(st.lists(st.integers(-9, 9), min_size=n, max_size=n))
    g = data.draw(st.lists(st.integers(-9, 9), min_size=r, max_size=r))
    f = transform(m, r, points).integer
    found = f.a @ ((f.g @ np.array(g, object)) * (f.b @ np.array(d, object)))
    assert found.tolist() == [f.denominator * sum(d[i + j] * g[j] for j in range(r)) for i in range(m)]
    for rows in (f.b, f.g):  # no smaller integers are in proportion
        assert all(math.gcd(*row) == 1 for row in rows)


def test_f23_is_the_published_one_up_to_signs_of_pairs():
    """Lavin and Gray's F(2,3); a sign may move between a row of G and the same row of B^T."""
    f = transform(2, 3)
    half = Fraction(1, 2)
    g = [[1, 0, 0], [half, half, half], [half, -half, half], [0, 0, 1]]
    b = [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]]
    a = [[1, 1, 1, 0], [0, 1, -1, -1]]
    for k in range(4):
        ours, theirs = (np.multiply.outer(np.multiply.outer(np.array(x), np.array(y)), np.array(z)) for x, y, z in (
            ([row[k] for row in f.a], f.g[k], f.b[k]), ([row[k] for row in a], g[k], b[k])))  # fmt: skip
        assert (ours == theirs).all()


@pytest.mark.parametrize(("m", "standard", "nova"), [(4, 42.5, 14.5), (6, 2074.5, 76.6), (8, 196_899.7, 474.1)])
def test_conditioning_is_that_of_nova(m, standard, nova):
    """REFERENCES section 10: kappa of the Vandermonde matrix of the finite points."""
    assert round(condition(named("standard", m, 3)), 1) == standard
    assert round(condition(named("nova", m, 3)), 1) == nova


def test_conditioning_of_the_usual_points_for_f63():
    assert round(condition(named("halves", 6, 3)), 1) == 936.8


def test_nova_points_are_the_published_ones():
    assert {n: sorted(map(str, points)) for n, points in NOVA.items()} == {
        5: sorted(["0", "5/6", "-5/6", "7/6", "-7/6"]),
        7: sorted(["0", "3/5", "-3/5", "1", "-1", "7/6", "-7/6"]),
        9: sorted(["0", "2/5", "-2/5", "5/6", "-5/6", "1", "-1", "7/6", "-7/6"]),
    }


def test_which_transforms_are_exact_in_binary():
    assert transform(2, 3).dyadic
    assert not transform(4, 3).dyadic  # thirds in G
    assert not transform(4, 3, "nova").dyadic
    assert transform(2, 3).saving == 2.25
    assert transform(1, 1).n == 1
    assert str(transform(2, 2, ["0", "1"])) == "F(2,2) at 0, 1"


def test_pickles_and_compares():
    f = transform(4, 3, "nova")
    assert pickle.loads(pickle.dumps(f)) == f
    assert f != transform(4, 3)
    assert hash(transform(2, 3)) == hash(transform(2, 3, [0, 1, -1]))


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        ((2, 3, [0, 1]), InvalidValueError, "`points` must be 3 finite ones for F(2,3), got 2"),
        ((2, 3, [0, 1, 1]), InvalidValueError, "`points` must all be different, got 0, 1, 1"),
        ((2, 3, ["0", "1/0", "2"]), InvalidValueError, "`points`: '1/0' is no fraction"),
        ((2, 3, [0, 1, 0.5]), TypeError, "`points` must be fractions, integers or texts such as '5/6', got 0.5"),
        ((0, 3), InvalidValueError, "`m` must be an integer from 1 to 64, got 0"),
        ((2, 3, "nova"), InvalidValueError, "`points` 'nova' are known for 5, 7, 9 finite points, F(2,3) needs 3"),
        ((2, 3, "novae"), UnknownNameError, "unknown points 'novae'; did you mean 'nova'?"),
    ],
)
def test_refusals(arguments, kind, text):
    with pytest.raises(kind, match=f"^{re.escape(text)}$"):
        transform(*arguments)


def test_sets_are_known():
    assert sets() == ("standard", "halves", "nova")
    assert [str(p) for p in named("standard", 4, 3)] == ["0", "1", "-1", "2", "-2"]
