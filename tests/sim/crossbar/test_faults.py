"""Stuck cells: their shares, what they hold, checks of given maps and targets, and spare columns by brute force."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrit import noise
from tetrit.hardware import Device
from tetrit.sim.crossbar import cells, faults
from tetrit.sim.crossbar.cells import Cells
from tetrit.sim.crossbar.faults import HEALTHY, STUCK_OFF, STUCK_ON

WINDOW = (0.0, 25e-6)
SHAPE = (200, 500)
N = SHAPE[0] * SHAPE[1]
KEY = noise.key(2026, 1)
PCM = Device.load("pcm")


def full(g, shape=SHAPE):
    return np.full(shape, float(g))


def test_faults_have_their_shares_and_more_of_them_contain_fewer():
    few = faults.fault_map(SHAPE, stuck_on=0.02, stuck_off=0.1, key=KEY)
    assert few.dtype == np.int8
    for code, share in ((STUCK_ON, 0.02), (STUCK_OFF, 0.1), (HEALTHY, 0.88)):
        assert abs((few == code).mean() - share) < 5 * math.sqrt(share * (1 - share) / N)
    more = faults.fault_map(SHAPE, stuck_on=0.3, stuck_off=0.4, key=KEY)
    assert (more[few != HEALTHY] == few[few != HEALTHY]).all()
    assert (more != few).any()
    assert (faults.fault_map(SHAPE, stuck_on=1.0, stuck_off=0.0, key=KEY) == STUCK_ON).all()
    assert (faults.fault_map(SHAPE, stuck_on=0.0, stuck_off=1.0, key=KEY) == STUCK_OFF).all()
    assert (faults.fault_map(SHAPE, stuck_on=0.3, stuck_off=0.7, key=KEY) != HEALTHY).all()
    assert not faults.fault_map(SHAPE, stuck_on=0.0, stuck_off=0.0, key=KEY).any()


def test_stuck_cells_stay_at_the_ends_of_the_window_whatever_happens():
    stuck = np.zeros(SHAPE, np.int8)
    stuck[3, 4], stuck[5, 6] = STUCK_ON, STUCK_OFF
    window = (1e-6, 20e-6)
    healthy = Cells.written(full(1e-5), PCM, window, key=KEY)
    written = Cells.written(full(1e-5), PCM, window, key=KEY, faults=stuck)
    for time in (0.0, 1e7):
        g = written.conductance(time)
        assert (g[3, 4], g[5, 6]) == (20e-6, 1e-6)
        assert (g == np.where(stuck == HEALTHY, healthy.conductance(time), g)).all()
    assert (written.programmed[3, 4], written.programmed[5, 6]) == (20e-6, 1e-6)
    assert written.conductance(1e7, 350.0)[3, 4] == pytest.approx(22e-6)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (np.zeros((3, 8), np.int8), ValueError, r"^`faults` must have shape \(4, 8\), got \(3, 8\)$"),
        (np.zeros(32, np.int8), ValueError, r"^`faults` must have shape \(4, 8\), got \(32,\)$"),
        ([[0] * 8, [0]], ValueError, r"^`faults` must have shape \(4, 8\), got rows of different lengths$"),
        (np.zeros((4, 8)), TypeError, r"^`faults` must be integers, got float64$"),
        (np.zeros((4, 8), bool), TypeError, r"^`faults` must be integers, got bool$"),
        (
            np.eye(4, 8, 2, np.int64) * 3,
            ValueError,
            r"^`faults` must be 0 \(healthy\), 1 \(stuck off\) or 2 \(stuck on\), got 3 at row 0, column 2$",
        ),
        (
            np.eye(4, 8, 1, np.int64) * 256,
            ValueError,
            r"^`faults` must be 0 \(healthy\), 1 \(stuck off\) or 2 \(stuck on\), got 256 at row 0, column 1$",
        ),
        (
            -np.eye(4, 8, -2, np.int8),
            ValueError,
            r"^`faults` must be 0 \(healthy\), 1 \(stuck off\) or 2 \(stuck on\), got -1 at row 2, column 0$",
        ),
    ],
)
def test_fault_maps_are_checked(given, error, message):
    with pytest.raises(error, match=message):
        Cells.written(full(1e-5, (4, 8)), PCM, WINDOW, key=KEY, faults=given)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([[1e-5, 3e-5]], r"^`targets_siemens` must be within 0..2.5e-05 S, got 3e-05 at row 0, column 1$"),
        ([[1e-5], [-1e-9]], r"^`targets_siemens` must be within 0..2.5e-05 S, got -1e-09 at row 1, column 0$"),
        ([[math.nan]], r"^`targets_siemens` must be within 0..2.5e-05 S, got nan at row 0, column 0$"),
        ([[math.inf]], r"^`targets_siemens` must be within 0..2.5e-05 S, got inf at row 0, column 0$"),
        ([1e-5], r"^`targets_siemens` must have rows and columns, got shape \(1,\)$"),
        (np.zeros((0, 3)), r"^`targets_siemens` must have rows and columns, got shape \(0, 3\)$"),
    ],
)
def test_targets_are_checked(targets, message):
    with pytest.raises(ValueError, match=message):
        cells.program(targets, PCM, WINDOW, key=KEY)
    with pytest.raises(ValueError, match=message):
        faults.assign_columns(targets, np.zeros((1, 2), np.int8), WINDOW, columns_per_output=1)


def test_computed_targets_may_miss_the_window_by_rounding():
    top = np.nextafter(25e-6, 1.0)
    assert cells.program([[top]], Device(), WINDOW, key=KEY).g_siemens[0, 0] == top
    with pytest.raises(ValueError, match=r"^`generation` must be a non-negative integer, got -1$"):
        cells.program([[0.0]], Device(), WINDOW, key=KEY, generation=-1)


# --- spare columns ---


def harm(targets, stuck, window, width, places, significance):
    total = 0.0
    for output, place in enumerate(places):
        for row, column in itertools.product(range(targets.shape[0]), range(width)):
            code = stuck[row, place * width + column]
            if code != HEALTHY:
                held = window[1] if code == STUCK_ON else window[0]
                total += significance[column] * abs(held - targets[row, output * width + column])
    return total


@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(0, 2), st.integers(1, 3), st.integers(1, 5))
def test_no_assignment_does_less_harm_and_none_as_good_moves_less(seed, n_outputs, spare, width, rows):
    rng = np.random.default_rng(seed)
    window = (2e-6, 10e-6)
    levels = rng.integers(0, 5, (rows, n_outputs * width))
    targets = window[0] + levels * 2e-6
    stuck = rng.choice([0, 0, 1, 2], (rows, (n_outputs + spare) * width)).astype(np.int8)
    significance = [1.0, 4.0, 16.0][:width]
    given_one = significance if seed % 2 else None
    significance = significance if seed % 2 else [1.0] * width
    places = faults.assign_columns(targets, stuck, window, columns_per_output=width, significance=given_one)
    assert len(set(places)) == n_outputs
    found = harm(targets, stuck, window, width, places, significance)
    for other in itertools.permutations(range(n_outputs + spare), n_outputs):
        reached = harm(targets, stuck, window, width, other, significance)
        assert found <= reached + 1e-12
        if reached <= found + 1e-12:
            assert (places != np.arange(n_outputs)).sum() <= (np.array(other) != np.arange(n_outputs)).sum()


def test_without_faults_nothing_moves():
    places = faults.assign_columns(full(1e-5, (8, 6)), np.zeros((8, 10), np.int8), WINDOW, columns_per_output=2)
    assert places.tolist() == [0, 1, 2]
    assert places.dtype == np.int64


def test_a_broken_output_takes_the_spare_place():
    stuck = np.zeros((8, 8), np.int8)
    stuck[:, 2] = STUCK_ON
    targets = full(0.0, (8, 6))
    assert faults.assign_columns(targets, stuck, WINDOW, columns_per_output=2).tolist() == [0, 3, 2]
    targets[:, 0] = 25e-6  # stuck on is what output 0 needs there
    assert faults.assign_columns(targets, stuck, WINDOW, columns_per_output=2).tolist() == [0, 3, 2]
    stuck[:, 6] = STUCK_ON
    assert sorted(faults.assign_columns(targets, stuck, WINDOW, columns_per_output=2).tolist())[:1] == [0]


@pytest.mark.parametrize(
    ("columns", "shape", "width", "significance", "message"),
    [
        (5, (4, 6), 2, None, r"^`targets_siemens` must have a multiple of 2 columns, got 5$"),
        (
            4,
            (4, 2),
            2,
            None,
            r"^`faults` must have 4 rows and a multiple of 2 columns, 4 at least, got shape \(4, 2\)$",
        ),
        (
            4,
            (3, 6),
            2,
            None,
            r"^`faults` must have 4 rows and a multiple of 2 columns, 4 at least, got shape \(3, 6\)$",
        ),
        (
            4,
            (4, 7),
            2,
            None,
            r"^`faults` must have 4 rows and a multiple of 2 columns, 4 at least, got shape \(4, 7\)$",
        ),
        (4, (4, 6), 0, None, r"^`columns_per_output` must be a positive integer, got 0$"),
        (4, (4, 6), 2, [1.0], r"^`significance` must be 2 non-negative numbers, got \[1.0\]$"),
        (4, (4, 6), 2, [1.0, -1.0], r"^`significance` must be 2 non-negative numbers, got \[1.0, -1.0\]$"),
    ],
)
def test_assignments_are_checked(columns, shape, width, significance, message):
    with pytest.raises(ValueError, match=message):
        faults.assign_columns(
            full(0.0, (4, columns)),
            np.zeros(shape, np.int8),
            WINDOW,
            columns_per_output=width,
            significance=significance,
        )
