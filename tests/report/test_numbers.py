"""Digits, units and words."""

import doctest
import importlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrit.report import numbers

PARTS = st.dictionaries(st.text(max_size=3), st.floats(0, 1e6), min_size=1, max_size=20)


@pytest.mark.parametrize(
    "module", ["report", "report.canonical", "report.files", "report.numbers", "report.style", "report.terminal"]
)
def test_examples_in_the_documentation_hold(module):
    assert doctest.testmod(importlib.import_module(f"tetrit.{module}")).failed == 0


@given(st.floats(1e-5, 1e12), st.integers(1, 8))
def test_significant_is_within_half_a_unit_of_the_last_digit(value, digits):
    shown = float(numbers.significant(value, digits).replace(",", ""))
    last = 10.0 ** min(0, math.floor(math.log10(value)) - digits + 1)
    assert abs(shown - value) <= 0.5 * last * (1 + 1e-9)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.0, "0"),
        (7, "7"),
        (100.0, "100"),
        (1e6, "1,000,000"),
        (0.1, "0.1"),
        (9.9999, "10"),
        (1.5e-9, "1.50e-09"),
        (-2.5, "-2.5"),
    ],
)
def test_significant_texts(value, text):
    assert numbers.significant(value) == text


@given(PARTS, st.integers(2, 8))
def test_fold_keeps_the_sum_and_at_most_so_many(parts, keep):
    folded = numbers.fold(parts, keep)
    assert len(folded) <= max(keep, 1)
    assert math.fsum(folded.values()) == pytest.approx(math.fsum(parts.values()))
    if numbers.OTHER not in folded:
        assert folded == parts
        assert list(folded.values()) == sorted(parts.values(), reverse=True)


@given(PARTS, st.integers(2, 8))
def test_fold_as_gives_the_same_names(parts, keep):
    folded = numbers.fold(parts, keep)
    assert numbers.fold_as(parts, list(folded)) == pytest.approx(folded)


@given(st.floats(0, 1e12), st.sampled_from(["µJ", "mm²", "µm²", "µs"]))
def test_unit_fits_and_keeps_the_value(value, base):
    factor, name = numbers.unit(value, base)
    assert {"J": 1e6, "mJ": 1e3, "µJ": 1.0, "nJ": 1e-3, "pJ": 1e-6}.get(name, 1 / factor) == pytest.approx(1 / factor)
    assert numbers.unit(0.0, base)[1] in {"pJ", "µm²", "ns"}


@pytest.mark.parametrize(
    ("value", "text"), [(1.0, "1 µJ"), (0.999, "999 nJ"), (2.5e-7, "0.25 pJ"), (1500.0, "1.5 mJ"), (3e6, "3 J")]
)
def test_in_unit(value, text):
    assert numbers.in_unit(value, "µJ") == text


def test_origins():
    assert numbers.origin(["published", "modelled", "synthesised"]) == "synthesised, modelled and published"
    assert numbers.origin(["modelled", "assumed"]) == "modelled and assumed"
    assert numbers.origin([]) == "origin not stated"
    assert numbers.origin_of("a", {"a": "modelled"}) == "modelled"
    assert numbers.origin_of("b", {"a": "modelled"}) == "origin not stated"
    assert numbers.origin_of("other", {"a": "modelled"}) == "several"
    assert numbers.origin_of("other", {"other": "published"}) == "published"


def test_estimator_label_leaves_out_bits_said_twice():
    entry = {"estimator": "pot", "bits": 3, "params": {"bits": 3, "axis": 0}}
    assert numbers.estimator_label(entry) == "pot (3 bit, axis=0)"


def test_code_order_puts_strangers_last():
    assert numbers.code_order(["+4", "+1", "-0", "+2"]) == ["-0", "+1", "+2", "+4"]
