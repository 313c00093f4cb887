"""Effective conductances: against three independent solutions of the network, laws of physics, refusals."""

import itertools
import subprocess
import sys
import tracemalloc

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from tetrit.errors import InvalidValueError
from tetrit.sim.crossbar import effective_conductance
from tetrit.sim.crossbar.wires import _dissection, effective, reference

DRIVES = ("one_sided", "two_sided")


@pytest.fixture(scope="module", autouse=True)
def one_blas_thread():
    """The dense reference is many small solutions, for which two threads would mostly wait for each other."""
    with threadpool_limits(1, user_api="blas"):
        yield


SHAPES = [(1, 1), (1, 7), (7, 1), (2, 2), (3, 4), (5, 3), (8, 16), (17, 6), (9, 13), (1, 33), (31, 2)]


def random_cells(seed, shape, zeros=0.2, top=1e-3):
    rng = np.random.default_rng(seed)
    g = rng.uniform(0, top, shape)
    g[rng.random(shape) < zeros] = 0.0
    return g


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_mix_of_perfect_and_resistive_wires_agrees_with_branch_currents(shape):
    g = random_cells(1, shape)
    for drive, *ohms in itertools.product(DRIVES, (0, 100.0), (0, 30.0), (0, 200.0), (0, 10.0)):
        if drive == "two_sided" and ohms[0] + ohms[2] == 0:
            continue  # the current of either driver is undetermined there
        wanted = reference.branch_currents(g, *ohms, drive == "two_sided")
        found = effective_conductance(g, *ohms, drive=drive)
        assert found.shape == shape
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-13 * wanted.max(), err_msg=f"{drive} {ohms}")


@pytest.mark.parametrize("drive", DRIVES)
@pytest.mark.parametrize("shape", [(64, 64), (70, 33)], ids=str)
def test_larger_arrays_agree_with_sparse_nodal_analysis(shape, drive):
    g = random_cells(2, shape, top=25e-6)
    ohms = (2.0, 3.0, 100.0, 50.0)
    wanted = reference.node_voltages(g, *ohms, drive == "two_sided")
    found = effective_conductance(g, *ohms, drive=drive)
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-14 * wanted.max())


@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.sampled_from([(1, 1), (1, 4), (3, 1), (2, 3), (4, 4), (3, 5)]),
    decades=st.floats(-12, 1),
    ratio=st.floats(-6, 6),
    kinds=st.tuples(*[st.booleans()] * 4),
    drive=st.sampled_from(DRIVES),
)
@settings(max_examples=60)
def test_every_entry_has_all_its_digits(seed, shape, decades, ratio, kinds, drive):
    """Resistance times conductance from 1e-12 to 10, conductances over nine decades, open cells, perfect wires."""
    rng = np.random.default_rng(seed)
    g = 10.0 ** rng.uniform(-9, 0, shape) * (rng.random(shape) < 0.8)
    ohms = [
        10.0 ** (decades + shift) * kind
        for shift, kind in zip((0, min(0, ratio), 2, max(0, -ratio)), kinds, strict=True)
    ]
    wanted = reference.rational(g, *ohms, drive == "two_sided")
    found = effective_conductance(g, *ohms, drive=drive)
    np.testing.assert_allclose(found, wanted, rtol=2e-14, atol=0)


def test_tiny_entries_have_all_their_digits():
    """Row 0 meets column 7 only by a chain of cells and wire segments, each step of which leaves a millionth."""
    g = np.tril(np.triu(np.ones((8, 8))), 1)
    wanted = reference.rational(g, 1e-6, 2e-6, 0, 0)
    assert 0 < wanted[0, 7] < 1e-30
    np.testing.assert_allclose(effective_conductance(g, 1e-6, 2e-6), wanted, rtol=2e-14, atol=0)


def test_compiled_tiles_and_blas_agree(monkeypatch):
    """The same network cut otherwise: tiles of 2 x 2 leave nearly all to BLAS, panels of 3 split its factorisations."""
    g = random_cells(3, (45, 70), top=1e-2)
    for ohms, drive in itertools.product([(1.0, 2.0, 3.0, 4.0), (0, 2.0, 3.0, 0), (1.0, 0, 0, 4.0)], DRIVES):
        usual = effective_conductance(g, *ohms, drive=drive)
        with monkeypatch.context() as patch:
            patch.setattr(_dissection, "_TILE", 2)
            patch.setattr(_dissection, "_PANEL", 3)
            patch.setattr(_dissection, "_REGION", 8)
            np.testing.assert_allclose(effective_conductance(g, *ohms, drive=drive), usual, rtol=1e-12)


def test_threads_and_the_compiler_change_no_bit(same_without_the_compiler):
    probe = """
import hashlib, numpy as np, numba
from tetrit.sim.crossbar import effective_conductance
from tetrit.sim.crossbar.wires import _dissection
_dissection._REGION = 16
g = np.random.default_rng(0).random((20, 37))
answers = set()
for numba.config.NUMBA_NUM_THREADS in (1, 2, 5):
    answers.add(hashlib.sha256(effective_conductance(g, .1, .2, .3, .4)).hexdigest())
assert len(answers) == 1
print(*answers)
"""
    same_without_the_compiler(probe, silent=True)


# --- closed forms and laws ---


@given(g=st.floats(1e-9, 10), ohms=st.tuples(*[st.floats(0, 1e4)] * 4))
@settings(max_examples=30)
def test_one_cell_is_in_series_with_everything(g, ohms):
    np.testing.assert_allclose(effective_conductance([[g]], *ohms), [[1 / (1 / g + sum(ohms))]], rtol=1e-14)
    row, col, driver, sense = ohms
    both = 1 / (1 / g + (row + driver) / 2 + col + sense)
    np.testing.assert_allclose(effective_conductance([[g]], *ohms, drive="two_sided"), [[both]], rtol=1e-14)


def test_one_row_of_equal_cells_is_a_ladder():
    """Voltages of a ladder of n sections: cosh((n - k + 1/2) a) / cosh((n + 1/2) a), with 2 sinh(a / 2) = sqrt(r g)."""
    n, r, g = 40, 100.0, 1e-4
    a = 2 * np.arcsinh(np.sqrt(r * g) / 2)
    k = np.arange(1, n + 1)
    voltages = np.cosh((n - k + 0.5) * a) / np.cosh((n + 0.5) * a)
    np.testing.assert_allclose(effective_conductance(np.full((1, n), g), r, 0.0)[0], g * voltages, rtol=1e-13)


def test_one_column_of_equal_cells_is_the_ladder_turned():
    n, r, g = 23, 50.0, 1e-3
    row = effective_conductance(np.full((1, n), g), r, 0.0)[0]
    np.testing.assert_allclose(effective_conductance(np.full((n, 1), g), 0.0, r)[:, 0], row[::-1], rtol=1e-13)


def test_reciprocity():
    """Driving the columns' ends and sensing at the rows' gives the transpose; the ends turn with the array."""
    g = random_cells(4, (19, 26))
    turned = effective_conductance(g[::-1, ::-1].T, 7.0, 5.0, 11.0, 3.0)
    np.testing.assert_allclose(effective_conductance(g, 5.0, 7.0, 3.0, 11.0), turned[::-1, ::-1].T, rtol=1e-12)


def test_two_sided_drive_is_symmetric():
    g = random_cells(5, (12, 21))
    mirrored = effective_conductance(g[:, ::-1], 5.0, 7.0, 3.0, drive="two_sided")[:, ::-1]
    np.testing.assert_allclose(effective_conductance(g, 5.0, 7.0, 3.0, drive="two_sided"), mirrored, rtol=1e-12)


def test_perfect_wires_leave_the_conductances_alone():
    g = random_cells(6, (10, 12))
    for drive in DRIVES:
        found = effective_conductance(g, 0, 0, drive=drive)
        assert found.tobytes() == g.tobytes()
        assert not np.shares_memory(found, g)
    limit = effective_conductance(g, 1e-9, 1e-9)
    np.testing.assert_allclose(limit[g > 0], g[g > 0], rtol=1e-10)


@given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([1e-9, 0.3, 7.0, 1e12]))
@settings(max_examples=20)
def test_scaling_law(seed, scale):
    g = random_cells(seed, (6, 9))
    found = effective_conductance(g * scale, 3 / scale, 5 / scale, 7 / scale, 11 / scale)
    np.testing.assert_allclose(found, scale * effective_conductance(g, 3, 5, 7, 11), rtol=1e-13)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_more_resistance_draws_less_current(seed):
    """With all rows at the same voltage, a column's current falls with every resistance; currents never add up to
    more than what perfect wires would carry."""
    g = random_cells(seed, (7, 11))
    before = g.sum()
    ohms = [0.0, 0.0, 0.0, 0.0]
    for k in (2, 0, 3, 1):
        ohms[k] = 50.0
        after = effective_conductance(g, *ohms)
        assert (after >= 0).all()
        assert after.sum() < before
        before = after.sum()


def test_lines_without_conductance_carry_nothing():
    g = random_cells(7, (20, 18))
    g[:, [0, 5, 17]] = 0.0
    g[[3, 19]] = 0.0
    for ohms in ((1.0, 2.0, 3.0, 4.0), (0, 1.0, 0, 0), (1.0, 0, 0, 2.0), (0, 0, 1.0, 1.0)):
        found = effective_conductance(g, *ohms)
        assert (found[:, [0, 5, 17]] == 0).all()
        assert (found[[3, 19]] == 0).all()
    assert (effective_conductance(np.zeros((3, 4)), 1.0, 1.0, 1.0, 1.0) == 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16, np.int64])
def test_any_real_type_and_layout(dtype):
    g = np.asfortranarray(np.arange(24).reshape(4, 6).astype(dtype))[:, ::2]
    copy = g.copy()
    found = effective_conductance(g, 0.01, 0.01)
    assert np.array_equal(found, effective_conductance(g.astype(np.float64).copy(), 0.01, 0.01))
    assert np.array_equal(g, copy)


# --- memory ---


@pytest.mark.parametrize(
    ("shape", "ohms"),
    [
        ((200, 300), (1.0, 1.0, 0.0, 0.0)),
        ((40, 700), (1.0, 1.0, 1.0, 1.0)),
        ((1, 1500), (0.0, 1.0, 2.0, 0.0)),
        ((300, 200), (0.0, 0.0, 1.0, 1.0)),
    ],
)
def test_memory_stays_below_the_estimate(shape, ohms, monkeypatch):
    g = random_cells(8, shape)
    effective_conductance(g[:40, :40], *ohms)
    estimates = []
    monkeypatch.setattr(effective, "_check_memory", lambda *args: estimates.append(_dissection.work_bytes(*args)))
    tracemalloc.start()
    effective_conductance(g, *ohms)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= 1.05 * estimates[0]
    assert estimates[0] < 5 * peak


def test_too_large_an_array_is_refused_before_anything_is_allocated(monkeypatch):
    monkeypatch.setattr(effective, "free_bytes", lambda: 10**6)
    with pytest.raises(InvalidValueError) as caught:
        effective_conductance(np.ones((300, 200)), 1.0, 1.0)
    text = str(caught.value)
    assert text.startswith("the wires of 300 x 200 cells need about 0.0 GB of memory, and 0.0 GB are free; ")
    rows, cols = (int(n) for n in text.split("; ")[1].removesuffix(" would fit").split(" x "))
    assert 10 < rows < 300
    effective_conductance(np.ones((rows, cols)), 1.0, 1.0)


def test_free_memory_is_known_here():
    assert effective.free_bytes() > 10**7


# --- refusals ---


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1.0, -2.0]], 1, 1), "`g_siemens` must not be negative, got -2 at index (0, 1)"),
        (([[1.0], [np.nan]], 1, 1), "`g_siemens` must be finite, got nan at index (1, 0)"),
        (([[np.inf]], 1, 1), "`g_siemens` must be finite, got inf at index (0, 0)"),
        (([1.0, 2.0], 1, 1), "`g_siemens` must be a matrix of at least 1 x 1, got shape (2,)"),
        ((np.zeros((0, 3)), 1, 1), "`g_siemens` must be a matrix of at least 1 x 1, got shape (0, 3)"),
        (([[1.0, 2.0], [3.0]], 1, 1), "`g_siemens` must be a matrix, got rows of different lengths"),
        (([[1.0]], -1, 1), "`r_row_ohm` must be at least 0, got -1"),
        (([[1.0]], 1, np.nan), "`r_col_ohm` must be finite, got nan"),
        ((np.ones((3, 4)), np.inf, 1), "`r_row_ohm` must be finite, got inf: rows 0 to 2 would float"),
        ((np.ones((3, 4)), 1, np.inf), "`r_col_ohm` must be finite, got inf: columns 0 to 3 would float"),
        ((np.ones((1, 4)), 1, 1, np.inf), "`r_driver_ohm` must be finite, got inf: row 0 would float"),
        ((np.ones((3, 1)), 1, 1, 1, np.inf), "`r_sense_ohm` must be finite, got inf: column 0 would float"),
        (([[2.0]], 1, 1e101), "`r_col_ohm` must be at most 1e+100 over the largest conductance, 2 S, got 1e+101 ohm"),
    ],
)
def test_wrong_values(arguments, message):
    with pytest.raises(InvalidValueError) as caught:
        effective_conductance(*arguments)
    assert str(caught.value) == message


def test_wrong_kinds():
    with pytest.raises(TypeError, match=r"^`g_siemens` must hold real numbers, got complex128$"):
        effective_conductance([[1j]], 1, 1)
    with pytest.raises(TypeError, match=r"^`g_siemens` must hold real numbers, got bool$"):
        effective_conductance([[True]], 1, 1)
    with pytest.raises(TypeError, match=r"^`r_row_ohm` must be a number, got '1'$"):
        effective_conductance([[1.0]], "1", 1)
    with pytest.raises(InvalidValueError, match=r"^unknown drive 'both'; known: one_sided, two_sided$"):
        effective_conductance([[1.0]], 1, 1, drive="both")


def test_extreme_resistances_stay_in_range():
    g = np.array([[1e-3, 2e-3], [3e-3, 4e-3]])
    assert np.array_equal(effective_conductance(g, 1e-200, 5e-324), g)
    assert (effective_conductance(g, 1e90, 1e90, 1e90, 1e90) > 0).all()
    tiny = effective_conductance(g * 1e-300, 1.0, 1.0)
    np.testing.assert_allclose(tiny, g * 1e-300, rtol=1e-12)


def test_scipy_and_torch_are_not_needed():
    code = (
        "import sys; sys.modules['scipy'] = sys.modules['torch'] = None\n"
        "from tetrit.sim.crossbar.wires import effective_conductance\n"
        "effective_conductance([[1.0] * 40] * 40, 1, 1)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
