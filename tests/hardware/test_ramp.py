"""Ramp converters described: thresholds against exact rounding, cells, pieces, and errors that name the field."""

import dataclasses
import itertools
import math
import pickle
from bisect import bisect_right
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tetrit.errors import InvalidValueError
from tetrit.hardware import Device
from tetrit.hardware.curves import CURVES, curve, table
from tetrit.hardware.ramp import RampAdc

SLOW = {  # by math, one number at a time
    "gelu": lambda x: x * 0.5 * (1 + math.erf(x / math.sqrt(2))),
    "identity": lambda x: x,
    "relu": lambda x: max(x, 0.0),
    "selu": lambda x: 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * math.expm1(x)),
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "silu": lambda x: x / (1 + math.exp(-x)),
    "softplus": lambda x: math.log1p(math.exp(x)),
    "tanh": math.tanh,
}
MONOTONE = sorted(set(SLOW) - {"gelu", "silu"})


def nearest(levels, y):
    """The level nearest to y, of two as near the upper one, without rounding of any kind."""
    exact = Fraction(y)
    distances = [abs(Fraction(level) - exact) for level in levels]
    least = min(distances)
    return max(code for code, distance in enumerate(distances) if distance == least)


def ideal(adc, x):
    """The code of a perfect ramp: how far the counter is when the ramp passes x."""
    thresholds = [t for piece in adc.pieces for t in piece.thresholds.tolist()]
    return int(adc.codes[bisect_right(thresholds, x)])


@st.composite
def tables(draw, monotone=False):
    n = draw(st.integers(2, 9))
    numbers = st.floats(-50, 50, allow_subnormal=False)
    xs = sorted(draw(st.lists(numbers, min_size=n, max_size=n, unique=True)))
    assume(min(b - a for a, b in itertools.pairwise(xs)) > 1e-300)
    ys = draw(st.lists(numbers, min_size=n, max_size=n))
    if monotone:
        ys = sorted(ys, reverse=draw(st.booleans()))
    return tuple(zip(xs, ys, strict=True))


@pytest.mark.parametrize("name", sorted(CURVES))
def test_curves_are_what_their_names_say(name):
    x = np.linspace(-9, 9, 1001)
    np.testing.assert_allclose(CURVES[name](x), [SLOW[name](v) for v in x], rtol=1e-14, atol=1e-16)


@pytest.mark.parametrize(("name", "slope"), [("gelu", "erf"), ("silu", "logistic")])
def test_turning_points_are_where_the_slope_is_zero(name, slope):
    (turn,) = CURVES[name].turns
    h = 1e-4
    left, middle, right = CURVES[name](np.array([turn - h, turn, turn + h]))
    assert middle < left and middle < right
    assert abs(right - left) / (2 * h) < 1e-8, slope


@pytest.mark.parametrize("bits", range(3, 9))
@pytest.mark.parametrize("name", sorted(CURVES))
def test_codes_are_the_function_rounded_to_the_nearest_level(name, bits):
    adc = RampAdc(function=name, bits=bits)
    low, high = adc.inputs
    x = np.random.default_rng([bits, len(name)]).uniform(low, high, 60)
    for value, y in zip(x, adc.curve(x), strict=True):
        assert ideal(adc, value) == nearest(adc.levels, y)


@pytest.mark.parametrize("bits", [3, 5, 8])
@pytest.mark.parametrize("name", sorted(CURVES))
def test_thresholds_are_exact_to_the_last_bit(name, bits):
    adc = RampAdc(function=name, bits=bits)
    for piece in adc.pieces:
        for threshold in piece.thresholds:
            before = np.nextafter(threshold, -np.inf)
            here, there = (nearest(adc.levels, float(adc.curve(x))) for x in (before, threshold))
            assert there == here + piece.direction
            assert (ideal(adc, before), ideal(adc, threshold)) == (here, there)


@given(tables(), st.integers(3, 8), st.data())
def test_tables_of_points_round_to_the_nearest_level(points, bits, data):
    values = [y for _, y in points]
    try:
        adc = RampAdc(function=points, bits=bits, max_pieces=64)
    except InvalidValueError as error:
        assert "different levels" in str(error) and max(values) - min(values) < 1e-12
        return
    assert (adc.levels[0], adc.levels[-1]) == (min(values), max(values))
    inside = st.floats(points[0][0], points[-1][0])
    corners = st.sampled_from([x for x, _ in points])
    for x in data.draw(st.lists(inside | corners, min_size=1, max_size=20)):
        assert ideal(adc, x) == nearest(adc.levels, float(adc.curve(x)))


@given(tables(monotone=True), st.integers(3, 8))
def test_a_monotone_function_takes_one_ramp_of_as_many_cells_as_codes(points, bits):
    if abs(points[0][1] - points[-1][1]) < 1e-6:
        return
    adc = RampAdc(function=points, bits=bits)
    (piece,) = adc.pieces
    assert adc.n_ramp_cells == adc.conversion_cycles == 2**bits
    assert len(piece.thresholds) == 2**bits - 1
    assert (np.diff(piece.thresholds) >= 0).all()
    assert piece.direction == (1 if points[-1][1] > points[0][1] else -1)


@pytest.mark.parametrize("name", MONOTONE)
def test_the_paper_s_counts_at_5_bits(name):
    adc = RampAdc(function=name)
    assert (adc.bits, adc.n_ramp_cells, adc.n_calibration_cells, adc.conversion_cycles) == (5, 32, 5, 32)


@pytest.mark.parametrize("name", sorted(CURVES))
def test_steps_of_the_ramp_sum_to_its_thresholds(name):
    adc = RampAdc(function=name, bits=6)
    for piece in adc.pieces:
        np.testing.assert_allclose(piece.start + np.cumsum(piece.steps)[:-1], piece.thresholds, rtol=0, atol=1e-12)
        assert piece.steps[0] == piece.steps[1] and piece.steps[-1] == piece.steps[-2]
    assert max(p.steps.max() for p in adc.pieces) * adc.siemens_per_input == pytest.approx(adc.cell.g_max_siemens)


def test_functions_that_turn_have_a_ramp_for_each_stretch_with_thresholds():
    silu = RampAdc(function="silu", bits=8)
    down, up = silu.pieces
    assert (down.direction, up.direction) == (-1, 1)
    assert down.thresholds[-1] < -1.2784645427610737 < up.thresholds[0]
    assert silu.codes[len(down.thresholds)] == 0
    assert silu.conversion_cycles == len(down.thresholds) + len(up.thresholds) + 2 == silu.n_ramp_cells
    assert silu.n_calibration_cells == 10
    assert len(RampAdc(function="gelu", bits=3).pieces) == 1  # its dip is smaller than a step
    assert len(RampAdc(function="gelu", bits=3, input_range=(-4, 0)).pieces) == 2
    wave = tuple((float(x), float(x % 2)) for x in range(9))
    assert len(RampAdc(function=wave, bits=3, max_pieces=8).pieces) == 8


def test_level_stretches_and_jumps_of_tables():
    adc = RampAdc(function=((0, 0), (1, 0), (1 + 1e-15, 1), (2, 1)), bits=3)
    (piece,) = adc.pieces
    assert ((piece.thresholds > 1) & (piece.thresholds <= 1 + 1e-15)).all()
    assert (ideal(adc, 1.0), ideal(adc, 1 + 1e-15)) == (0, 7)
    jump = RampAdc(function=((0, 0), (1, 0), (np.nextafter(1, 2), 1), (2, 1)), bits=3)
    assert (jump.pieces[0].thresholds == np.nextafter(1, 2)).all()
    assert jump.siemens_per_input == pytest.approx(8 * jump.cell.g_max_siemens / 2)  # 2**-bits of the input range


def test_levels_are_symmetric_and_keep_the_ends_of_the_range():
    for bits in range(3, 9):
        levels = RampAdc(function="tanh", bits=bits).levels
        assert (levels == -levels[::-1]).all()
        given_levels = RampAdc(bits=bits, output_range=(0.1, 0.7)).levels
        assert (given_levels[0], given_levels[-1]) == (0.1, 0.7)


def test_output_ranges_beyond_and_within_the_function():
    wide = RampAdc(function="tanh", bits=3, input_range=(-1, 1), output_range=(-1.5, 1.5))
    assert wide.codes.tolist() == [2, 3, 4, 5]  # tanh(1) = 0.76 never gets further
    narrow = RampAdc(function="identity", bits=3, output_range=(-0.5, 0.5))
    assert (ideal(narrow, -1.0), ideal(narrow, 1.0)) == (0, 7)


def test_a_range_may_begin_or_end_on_a_threshold():
    up = RampAdc(function="identity", bits=3, input_range=(0.5, 6.5), output_range=(0, 7))
    down = RampAdc(function=((0.5, 6.5), (6.5, 0.5)), bits=3, output_range=(0, 7))
    for adc in (up, down):
        for x in (0.5, np.nextafter(0.5, 1), 3.5, np.nextafter(6.5, 0), 6.5):
            assert ideal(adc, x) == nearest(adc.levels, float(adc.curve(x)))
    assert (ideal(up, 0.5), ideal(up, 6.5), ideal(down, 0.5), ideal(down, 6.5)) == (1, 7, 7, 1)


def test_lines_between_points_never_pass_their_ends():
    rng = np.random.default_rng(3)
    for x, y in zip(rng.normal(size=(2000, 2)), rng.normal(size=(2000, 2)), strict=True):
        x.sort()
        y.sort()
        line = curve(tuple(zip(x.tolist(), y.tolist(), strict=True)))
        inside = np.nextafter(x, x[::-1])
        assert y[0] <= line(inside[0]) <= line(inside[1]) <= y[1]


def test_more_cells_a_step_span_a_wider_range():
    device = Device(g_min_siemens=1e-6, g_max_siemens=25e-6)
    adc = RampAdc(bits=8, device=device, cells_per_step=2)
    (piece,) = adc.pieces
    cells = adc.cells_of(piece)
    each = piece.steps * adc.siemens_per_input / cells
    assert set(cells.tolist()) == {1, 2}
    assert adc.n_ramp_cells == cells.sum() > 256 == adc.conversion_cycles
    assert each.min() >= 1e-6 and each.max() <= 25e-6 * (1 + 1e-12)


def test_tables_of_python_functions():
    points = table(lambda x: 1 / (1 + np.exp(-x)), -6, 6)
    assert len(points) == 1025
    by_points, by_name = (RampAdc(function=f, bits=5).pieces[0].thresholds for f in (points, "sigmoid"))
    np.testing.assert_allclose(by_points, by_name, atol=2e-4)
    with pytest.raises(TypeError, match=r"^`function` must be callable, got 'tanh'$"):
        table("tanh", 0, 1)
    with pytest.raises(InvalidValueError, match=r"^`low` must be below `high`, got 1 and 1$"):
        table(np.tanh, 1, 1)
    with pytest.raises(InvalidValueError, match=r"^`function` must return 3 values for 3 numbers, got shape \(\)$"):
        table(lambda x: 1.0, 0, 1, n=3)
    with pytest.raises(InvalidValueError, match=r"^`function\(x\)` must be finite, got nan at index \(1,\)$"):
        table(lambda x: np.where(x == 0.5, np.nan, x), 0, 1, n=3)
    with pytest.raises(InvalidValueError, match=r"^`n` must be an integer from 2 to 65536, got 1$"):
        table(np.tanh, 0, 1, n=1)


def test_descriptions_are_frozen_hashable_and_pickle():
    adc = RampAdc(function=[[0, 0], [1, 2]], device="pcm", input_range=[0, 1])
    assert adc.function == ((0.0, 0.0), (1.0, 2.0)) and adc.input_range == (0.0, 1.0)
    assert hash(adc) == hash(pickle.loads(pickle.dumps(adc))) and pickle.loads(pickle.dumps(adc)) == adc
    assert adc.replace(bits=8).n_ramp_cells == 256
    with pytest.raises(dataclasses.FrozenInstanceError):
        adc.bits = 3
    for array in (adc.levels, adc.codes, adc.pieces[0].thresholds, adc.pieces[0].steps, adc.pieces[0].levels):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


WAVE = tuple((float(x), float(x % 2)) for x in range(9))


@pytest.mark.parametrize(
    ("fields", "error", "text"),
    [
        ({"bits": 2}, InvalidValueError, r"`bits` must be an integer from 3 to 8, got 2"),
        ({"bits": 9}, InvalidValueError, r"`bits` must be an integer from 3 to 8, got 9"),
        ({"bits": 5.0}, TypeError, r"`bits` must be an integer, got 5.0"),
        ({"function": "sigmod"}, InvalidValueError, r"unknown function 'sigmod'; did you mean 'sigmoid'\?"),
        ({"function": 3}, TypeError, r"`function` must be a name or points \(x, y\), got 3"),
        ({"function": ((0, 1),)}, InvalidValueError, r"`function` must have 2 to 65536 points, got 1"),
        ({"function": ((0, 1), 2)}, TypeError, r"`function` must have points \(x, y\), got 2 at index 1"),
        (
            {"function": ((0, 1), (0, 2))},
            InvalidValueError,
            r"`function` must have ascending x, got 0 after 0 at index 1",
        ),
        ({"function": ((0, math.nan), (1, 2))}, InvalidValueError, r"`function\[0\].y` must be finite, got nan"),
        (
            {"function": ((0, -1e308), (1, 1), (1.1, 1e308))},
            InvalidValueError,
            r"`function` must have finite slopes, got an infinite one before index 2",
        ),
        (
            {"function": ((0, -1e308), (2, 1e308))},
            InvalidValueError,
            r"`function` must have finite slopes, got an infinite one before index 1",
        ),
        (
            {"function": ((0, -1e308), (2, 0), (4, 1e308))},
            InvalidValueError,
            r"`function` must have values of a finite range, got -1e\+308 to 1e\+308",
        ),
        (
            {"function": ((0, 1), (1, 1))},
            InvalidValueError,
            r"`function` must have 32 different levels over the input range, got values from 1 to 1",
        ),
        (
            {"output_range": (2, 3)},
            InvalidValueError,
            r"`output_range` must hold values of `function`, which stays within one of 32 levels over -6..6",
        ),
        (
            {"function": WAVE, "bits": 3},
            InvalidValueError,
            r"`function` has 8 monotone pieces with thresholds over 0..8, and `max_pieces` is 4",
        ),
        ({"input_range": 3}, TypeError, r"`input_range` must be two numbers, got 3"),
        ({"input_range": (1, -1)}, InvalidValueError, r"`input_range` must ascend, got 1 and -1"),
        ({"output_range": (0, math.inf)}, InvalidValueError, r"`output_range` must be finite, got inf"),
        (
            {"input_range": (-1.7e308, 1.7e308)},
            InvalidValueError,
            r"`input_range` must have a finite width, got -1.7e\+308 and 1.7e\+308",
        ),
        (
            {"function": ((0, 0), (1, 1)), "input_range": (0, 2)},
            InvalidValueError,
            r"`input_range` must be within the points of `function`, 0..1, got 0..2",
        ),
        ({"device": "pmc"}, InvalidValueError, r"unknown device 'pmc'; did you mean 'pcm'\?"),
        ({"device": 3}, TypeError, r"`device` must be a Device, got 3"),
        (
            {"device": Device(capacitance_farad=1e-15, name="sram")},
            InvalidValueError,
            r"a ramp needs cells with a conductance; 'sram' is charge-domain",
        ),
        ({"calibrated": 1}, TypeError, r"`calibrated` must be true or false, got 1"),
        (
            {"calibration_cells": 0},
            InvalidValueError,
            r"`calibrated` needs at least one of `calibration_cells`, got 0",
        ),
        ({"stuck_off": -0.1}, InvalidValueError, r"`stuck_off` must be at least 0, got -0.1"),
        ({"stuck_off": 1.1}, InvalidValueError, r"`stuck_off` must be at most 1, got 1.1"),
        ({"read_voltage_v": 0}, InvalidValueError, r"`read_voltage_v` must be above 0, got 0"),
        ({"columns_per_ramp": 0}, InvalidValueError, r"`columns_per_ramp` must be a positive integer, got 0"),
        (
            {"bits": 8, "device": Device(g_min_siemens=1e-6)},
            InvalidValueError,
            r"the ramp of `function` has steps from 0.015609 to 0.636318, and 1 cells of 'ideal' with 1e-06..2.5e-05 S "
            r"span a ratio of 25 only; `cells_per_step` of at least 2 would do",
        ),
    ],
)
def test_errors_name_the_field(fields, error, text):
    with pytest.raises(error, match=f"^{text}$"):
        RampAdc(**fields)


def test_the_hint_about_cells_is_right():
    device = Device(g_min_siemens=2e-6)
    with pytest.raises(InvalidValueError, match=r"at least 4 would do$"):
        RampAdc(bits=8, device=device)
    RampAdc(bits=8, device=device, cells_per_step=4)
    with pytest.raises(InvalidValueError, match=r"at least 4 would do$"):
        RampAdc(bits=8, device=device, cells_per_step=3)
