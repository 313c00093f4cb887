"""The digits: the split is complete, stratified, fixed by its seed, and in exact integers."""

import doctest
import re

import numpy as np
import pytest
from sklearn.datasets import load_digits

from tetrit.errors import InvalidValueError
from tetrit.train import digits, integers, mlp


def rows(x, y):
    return sorted(zip(map(bytes, x), y.tolist(), strict=True))


def test_the_split_is_the_whole_set():
    source = load_digits()
    data = digits.load()
    both = rows(np.concatenate([data.train_x, data.test_x]), np.concatenate([data.train_y, data.test_y]))
    assert both == rows(source.data.astype(np.int8), source.target)
    assert (data.train_x.dtype, data.test_y.dtype) == (np.int8, np.int64)


def test_a_quarter_of_every_class_is_held_out():
    data = digits.load()
    assert len(data.test_y) == round(1797 / 4)
    for digit in range(10):
        held, kept = (data.test_y == digit).sum(), (data.train_y == digit).sum()
        assert abs(held - (held + kept) / 4) <= 1


def test_the_seed_fixes_the_split():
    a, b, c = digits.load(), digits.load(), digits.load(split_seed=1)
    np.testing.assert_array_equal(a.test_x, b.test_x)
    assert not np.array_equal(a.test_x, c.test_x)


def test_pixels_are_exact():
    data = digits.load()
    assert data.train_x.min() == 0
    assert data.train_x.max() == 16
    assert data.in_scale == 2.0**-4


@pytest.mark.parametrize(
    ("params", "error", "text"),
    [
        ({"held_out": 1.0}, InvalidValueError, "`held_out` must be above 0 and below 1, got 1"),
        ({"held_out": 0.9999}, InvalidValueError, "`held_out` of 0.9999 leaves no training images"),
        ({"held_out": 1e-9}, InvalidValueError, "`held_out` of 1e-09 leaves no held-out images"),
        ({"held_out": 0}, InvalidValueError, "`held_out` must be above 0, got 0"),
        ({"split_seed": -1}, InvalidValueError, "`split_seed` must be a non-negative integer, got -1"),
        ({"split_seed": 0.5}, TypeError, "`split_seed` must be an integer, got 0.5"),
    ],
)
def test_bad_parameters(params, error, text):
    with pytest.raises(error, match="^" + re.escape(text) + "$"):
        digits.load(**params)


@pytest.mark.parametrize("module", [digits, mlp, integers])
def test_documented_examples(module):
    assert doctest.testmod(module).failed == 0
