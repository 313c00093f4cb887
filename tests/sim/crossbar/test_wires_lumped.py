"""The approximate solution of the wires: its stated error, what it conserves, and where it is exact."""

import itertools

import numpy as np
import pytest

from tetrit.errors import InvalidValueError
from tetrit.sim.crossbar import effective_conductance
from tetrit.sim.crossbar.wires import _kernels, lumped, reference


def pairs(rng, rows, cols):
    """Conductances of bell-shaped weights in differential pairs, above a window's lower end."""
    w = np.clip(rng.standard_normal((rows, cols // 2)) / 4, -1, 1)
    return np.stack([np.maximum(w, 0), np.maximum(-w, 0)], axis=2).reshape(rows, cols) + 0.005


ARRAYS = {
    "uniform": lambda rng, n: rng.random((n, n)),
    "pairs": lambda rng, n: pairs(rng, n, n),
    "blocks": lambda rng, n: 0.01 + np.kron(rng.random((8, 8)) < 0.5, np.ones((n // 8, n // 8))) * rng.random((n, n)),
    "few rows": lambda rng, n: np.pad(rng.random((8, n)), ((n - 8, 0), (0, 0))),
    "few columns": lambda rng, n: np.pad(rng.random((n, 8)), ((0, 0), (0, n - 8))),
}


@pytest.mark.parametrize("drive", ["one_sided", "two_sided"])
@pytest.mark.parametrize("array", ARRAYS)
def test_results_err_by_a_third_of_the_square_of_the_share_lost(array, drive):
    rng = np.random.default_rng(1)
    for n, ohms in itertools.product((64, 128), ((1, 1, 0, 0), (3, 3, 20, 20), (4, 1, 0, 50), (0, 5, 80, 0))):
        if drive == "two_sided" and ohms[0] + ohms[2] == 0:
            continue
        g = 25e-6 * ARRAYS[array](rng, n)
        exact = effective_conductance(g, *ohms, drive=drive)
        found = effective_conductance(g, *ohms, drive=drive, method="lumped")
        lost = 1 - exact.sum() / g.sum()
        assert lost > 1e-3
        volts = rng.standard_normal((200, n))
        wanted = volts @ exact
        error = (volts @ found - wanted).std() / wanted.std()
        assert 0 < error < lost**2 / 3 + 2e-5
        assert abs(found.sum() / exact.sum() - 1) < lost**2 / 16 + 2e-5


def test_small_arrays_and_perfect_wires_are_exact():
    g = np.random.default_rng(2).random((16, 10)) * 1e-4
    ohms = (2.0, 3.0, 10.0, 20.0)
    assert np.array_equal(effective_conductance(g, *ohms, method="lumped"), effective_conductance(g, *ohms))
    large = np.random.default_rng(3).random((70, 90))
    assert np.array_equal(effective_conductance(large, 0, 0, method="lumped"), large)
    assert np.array_equal(effective_conductance(np.zeros((70, 90)), 1, 1, method="lumped"), np.zeros((70, 90)))


@pytest.mark.parametrize("two_sided", [False, True])
def test_lines_side_by_side_are_ladders(two_sided):
    """Against nodal analysis of a ladder, with each node's own load taken away."""
    rng = np.random.default_rng(4)
    loads = rng.random((6, 3))
    r, r_end = 0.3, 0.8
    voltage, seen = _kernels.lines(loads, r, r_end, two_sided)
    for line in range(3):
        for node in range(6):
            y = np.diag(loads[:, line])
            y[node, node] = 0.0
            for k in range(5):
                y[k : k + 2, k : k + 2] += np.array([[1, -1], [-1, 1]]) / r
            source = np.zeros(6)
            for end in (0, 5) if two_sided else (0,):
                y[end, end] += 1 / r_end
                source[end] += 1 / r_end
            inverse = np.linalg.inv(y)
            np.testing.assert_allclose(voltage[node, line], (inverse @ source)[node], rtol=1e-12)
            np.testing.assert_allclose(seen[node, line], inverse[node, node], rtol=1e-12)


@pytest.mark.parametrize("shape", [(70, 130), (1, 200), (129, 1), (64, 64)])
@pytest.mark.parametrize("two_sided", [False, True])
def test_lines_are_the_same_in_strips(two_sided, shape):
    """To the bit, the formula of cells between their lines, for all lines at once."""
    rng = np.random.default_rng(6)
    g = rng.random(shape) * (rng.random(shape) < 0.8)
    rows, cols = (0.3, 0.8), (0.2, 0.5)
    found = np.empty(shape)
    _kernels.each_line(g, rows, cols, two_sided, found)
    driven, by_row = _kernels.lines(np.ascontiguousarray(g.T), *rows, two_sided)
    passed, by_col = _kernels.lines(np.ascontiguousarray(g[::-1]), *cols, False)
    assert np.array_equal(found, g * driven.T * passed[::-1] / (1.0 + g * (by_row.T + by_col[::-1])))


def test_ratios_are_linear_between_the_middles_of_blocks():
    """Rows and their blocks count from the last row; at and beyond the middle of an outer block, it alone counts."""
    together, alone = np.array([[1.0, 5.0], [3.0, 0.0]]), np.array([[1.0, 2.0], [1.0, 0.0]])
    out = np.full((6, 2), 2.0)
    _kernels.corrected(*lumped._middles(3, 6, 2), together, alone, out)
    below = np.array([0, 0, 1 / 3, 2 / 3, 1, 1])  # shares of the last block
    np.testing.assert_allclose(out[:, 0], 2 * (1 - below + 3 * below))
    np.testing.assert_allclose(out[:4, 1], 5.0)
    assert out[4:, 1].tolist() == [2.0, 2.0]  # 0 / 0
    at = lumped._along(np.array([[0.0, 6.0]]), *lumped._middles(3, 6, 2))
    np.testing.assert_allclose(at, [6 * below])
    assert lumped._along(np.array([[4.0]]), *lumped._middles(20, 17, 1)).tolist() == [[4.0] * 17]


def test_a_single_line_is_exact():
    """One column alone has no neighbours to send current to."""
    g = np.random.default_rng(5).random((100, 1)) * 1e-3
    found = effective_conductance(g, 0.0, 2.0, 0.0, 30.0, method="lumped")
    wanted = reference.branch_currents(g, 0.0, 2.0, 0.0, 30.0, False)
    np.testing.assert_allclose(found, wanted, rtol=1e-9)


def test_blocks_begin_where_currents_leave():
    g = np.arange(12.0).reshape(3, 4)
    assert np.array_equal(lumped._lumps(g, 2, 3), [[0 + 1 + 2, 3], [4 + 5 + 6 + 8 + 9 + 10, 7 + 11]])


def test_an_unknown_method():
    with pytest.raises(InvalidValueError, match=r"^unknown method 'lump'; did you mean 'lumped'\?"):
        effective_conductance([[1.0]], 1, 1, method="lump")
