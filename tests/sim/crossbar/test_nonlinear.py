"""Cells with a hyperbolic sine: against dense Newton written node by node, limits, convergence, refusals."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrit.errors import InvalidValueError
from tetrit.sim.crossbar import effective_conductance, nonlinear
from tetrit.sim.crossbar.nonlinear import nonlinear_currents


def dense(g, v, v0, r_row, r_col, r_driver, r_sense, two_sided=False):
    """Currents of one vector from plain damped Newton on all nodes; wires need resistance."""
    rows, cols = g.shape
    x = np.zeros(2 * g.size)

    def law(x):
        r, c = x.reshape(2, rows, cols)
        f = np.zeros((2, rows, cols))
        jacobian = np.zeros((2, rows, cols, 2, rows, cols))
        for i in range(rows):
            for j in range(cols):
                u = r[i, j] - c[i, j]
                current, slope = g[i, j] * v0 * np.sinh(u / v0), g[i, j] * np.cosh(u / v0)
                for a, sign in ((0, 1), (1, -1)):
                    f[a, i, j] += sign * current
                    jacobian[a, i, j, 0, i, j] += sign * slope
                    jacobian[a, i, j, 1, i, j] -= sign * slope
                wires = []
                if j + 1 < cols:
                    wires.append((0, i, j, 0, i, j + 1, r_row))
                if i + 1 < rows:
                    wires.append((1, i, j, 1, i + 1, j, r_col))
                for a, k, m, b, p, q, ohm in wires:
                    drop = x.reshape(2, rows, cols)[a, k, m] - x.reshape(2, rows, cols)[b, p, q]
                    for node, other, sign in (((a, k, m), (b, p, q), 1), ((b, p, q), (a, k, m), -1)):
                        f[node] += sign * drop / ohm
                        jacobian[node + node] += 1 / ohm
                        jacobian[node + other] -= 1 / ohm
                for end in [0] + [cols - 1] * two_sided:
                    if j == end:
                        f[0, i, j] += (r[i, j] - v[i]) / (r_row + r_driver)
                        jacobian[0, i, j, 0, i, j] += 1 / (r_row + r_driver)
                if i == rows - 1:
                    f[1, i, j] += c[i, j] / (r_col + r_sense)
                    jacobian[1, i, j, 1, i, j] += 1 / (r_col + r_sense)
        return f.ravel(), jacobian.reshape(x.size, x.size)

    for _ in range(400):
        f, jacobian = law(x)
        step = np.linalg.solve(jacobian, -f)
        x = x + step * min(1.0, v0 / np.abs(step).max())  # never further than the curve bends
        if np.abs(step).max() < 1e-14:
            break
    else:
        raise AssertionError("the reference did not converge")
    r, c = x.reshape(2, rows, cols)
    return (g * v0 * np.sinh((r - c) / v0)).sum(axis=0)


def random_case(seed, shape, batch=2):
    rng = np.random.default_rng(seed)
    g = 10 ** rng.uniform(-7, -4, shape) * (rng.random(shape) < 0.9)
    return g, rng.uniform(-0.3, 0.3, (batch, shape[0]))


@pytest.mark.parametrize("drive", ["one_sided", "two_sided"])
@pytest.mark.parametrize("v0", [0.5, 0.05, 0.02])
@pytest.mark.parametrize(
    ("shape", "ohms"), [((3, 4), (5, 7, 3, 9)), ((5, 2), (900, 20, 0, 0)), ((1, 5), (30, 1, 1, 0))]
)
def test_agrees_with_dense_newton(shape, ohms, v0, drive):
    g, v = random_case(0, shape)
    wanted = np.array([dense(g, row, v0, *ohms, drive == "two_sided") for row in v])
    found = nonlinear_currents(g, v, v0, *ohms, drive=drive)
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12 * np.abs(wanted).max())


@pytest.mark.parametrize("ohms", [(5, 7, 3, 9), (0, 7, 0, 0), (0, 7, 2, 0), (5, 0, 0, 0), (5, 0, 0, 4), (0, 0, 3, 4)])
@pytest.mark.parametrize("drive", ["one_sided", "two_sided"])
def test_a_wide_curve_is_ohmic(ohms, drive):
    g, v = random_case(1, (6, 5))
    wanted = v @ effective_conductance(g, *ohms, drive=drive)
    np.testing.assert_allclose(nonlinear_currents(g, v, 1e5, *ohms, drive=drive), wanted, rtol=1e-8)


@pytest.mark.parametrize("ohms", [(1e-6, 1e-6, 0, 0), (0, 1e-6, 0, 0), (1e-6, 0, 0, 1e-6), (0, 0, 1e-6, 1e-6)])
def test_short_wires_are_the_closed_form(ohms):
    g, v = random_case(2, (6, 5))
    closed = 0.05 * np.sinh(v / 0.05) @ g
    np.testing.assert_allclose(nonlinear_currents(g, v, 0.05), closed, rtol=1e-15)
    np.testing.assert_allclose(nonlinear_currents(g, v, 0.05, *ohms), closed, rtol=1e-7)
    assert not np.array_equal(nonlinear_currents(g, v, 0.05, *ohms), closed)


def test_perfect_wires_are_the_limit_of_short_ones():
    g, v = random_case(3, (4, 6))
    for ohms in ((0, 50.0, 0, 0), (50.0, 0, 0, 0), (0, 50.0, 20.0, 0), (50.0, 0, 0, 30.0)):
        near = [ohm or 1e-7 for ohm in ohms]
        np.testing.assert_allclose(
            nonlinear_currents(g, v, 0.05, *ohms), nonlinear_currents(g, v, 0.05, *near), rtol=1e-6
        )


@given(seed=st.integers(0, 2**32 - 1), v0=st.floats(0.015, 1), ohm=st.sampled_from([1e-3, 1.0, 1e3, 1e5]))
@settings(max_examples=25)
def test_converges_and_the_current_is_odd(seed, v0, ohm):
    g, v = random_case(seed, (4, 3))
    found = nonlinear_currents(g, v, v0, ohm, ohm, ohm, ohm)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(nonlinear_currents(g, -v, v0, ohm, ohm, ohm, ohm), -found, rtol=1e-12)


def test_vectors_do_not_depend_on_each_other():
    g, v = random_case(4, (5, 4), batch=5)
    together = nonlinear_currents(g, v, 0.05, 50.0, 50.0)
    apart = np.vstack([nonlinear_currents(g, row[None], 0.05, 50.0, 50.0) for row in v])
    assert together.tobytes() == apart.tobytes()


def test_no_voltage_no_current():
    g, _ = random_case(5, (3, 4))
    assert (nonlinear_currents(g, np.zeros((2, 3)), 0.1, 5.0, 5.0) == 0).all()


def test_convergence_is_quadratic():
    """Every step near the solution is shorter than a constant times the square of the one before."""
    g, v = random_case(6, (6, 6))
    net = nonlinear._network(g, 500.0, 300.0, 0.0, 0.0, False)
    voltages, steps = nonlinear._newton(net, v[0], 0.1, np.zeros(net.fixed.shape[0]), 1e-13, 50)
    assert voltages is not None
    near = [step for step in steps if 1e-13 < step < 0.1]
    assert len(near) >= 3
    assert all(after < 20 * before**2 for before, after in pairwise(near))


def test_iterations_run_out():
    g, v = random_case(7, (4, 4))
    v[0] = 0.0
    with pytest.raises(InvalidValueError) as caught:
        nonlinear_currents(g, v, 0.02, 100.0, 100.0, max_iterations=2)
    assert str(caught.value).startswith("vector 1 did not converge in 2 of at most 2 steps; the last was ")
    assert str(caught.value).endswith(" V")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1.0]], [[0.1, 0.2]], 0.1), "`v_rows` must have 1 columns, one for each row of cells, got shape (1, 2)"),
        (([[1.0]], [0.1], 0.1), "`v_rows` must be a matrix of at least 1 x 1, got shape (1,)"),
        (([[1.0]], [[np.nan]], 0.1), "`v_rows` must be finite, got nan at index (0, 0)"),
        (([[-1.0]], [[0.1]], 0.1), "`g_siemens` must not be negative, got -1 at index (0, 0)"),
        (([[1.0]], [[0.1]], 0.0), "`sinh_volt` must be above 0, got 0"),
        (([[1.0]], [[4.0]], 0.01), "`v_rows` must be at most 20 times `sinh_volt`, 0.01 V, got 4 V"),
        (([[1.0]], [[0.1]], 0.1, -1.0), "`r_row_ohm` must be at least 0, got -1"),
        (([[1.0]], [[0.1]], 0.1, 0.0, 0.0, 0.0, np.inf), "`r_sense_ohm` must be finite, got inf: column 0 would float"),
    ],
)
def test_wrong_values(arguments, message):
    with pytest.raises(InvalidValueError) as caught:
        nonlinear_currents(*arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drive": "x"}, "unknown drive 'x'; known: one_sided, two_sided"),
        ({"tolerance": 0}, "`tolerance` must be above 0, got 0"),
        ({"max_iterations": 0}, "`max_iterations` must be a positive integer, got 0"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InvalidValueError) as caught:
        nonlinear_currents([[1.0]], [[0.1]], 0.1, **options)
    assert str(caught.value) == message
