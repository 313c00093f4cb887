"""Choices within several limits and fronts: equal to the enumeration of all choices, and clear where there is none."""

import re
from itertools import product
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tetrit.errors import InvalidValueError
from tetrit.hls import PrecisionTable, assign_precision, choose_precision, pareto_front
from tetrit.hls.precision import _ilp

NAMES = ("size_bits", "cycles", "energy_pj")


@st.composite
def tables(draw):
    n_layers, n_formats = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    shape = n_layers, n_formats
    losses = draw(hnp.arrays(np.float64, shape, elements=st.integers(-3, 9).map(float)))
    never = draw(hnp.arrays(np.bool_, shape))
    never[:, draw(st.integers(0, n_formats - 1))] = False  # one format is for all, so that ties can be kept
    costs = {name: draw(hnp.arrays(np.float64, shape, elements=st.integers(0, 9).map(float))) for name in NAMES}
    return PrecisionTable(
        layers=[f"l{i}" for i in range(n_layers)],
        formats=[f"f{i}" for i in range(n_formats)],
        losses=np.where(never, np.inf, losses),
        costs=costs,
    )


def everything(table, ties=()):
    """All choices, as (loss, costs by name, indices), by plain loops."""
    place = {name: i for i, name in enumerate(table.layers)}
    for choice in product(range(len(table.formats)), repeat=len(table.layers)):
        if any(choice[place[name]] != choice[place[group[0]]] for group in ties for name in group):
            continue
        loss = sum(float(table.losses[layer, f]) for layer, f in enumerate(choice))
        if loss < np.inf:
            yield (
                loss,
                {n: sum(float(c[layer, f]) for layer, f in enumerate(choice)) for n, c in table.costs.items()},
                choice,
            )


@settings(max_examples=60, deadline=None)
@given(table=tables(), data=st.data())
def test_no_choice_within_all_limits_is_better(table, data):
    ties = [["l0", table.layers[-1]]] if data.draw(st.booleans()) else []
    limits = {name: data.draw(st.integers(0, 30)) for name in data.draw(st.sets(st.sampled_from(NAMES)))}
    allowed = [loss for loss, costs, _ in everything(table, ties) if all(costs[n] <= limits[n] for n in limits)]
    if not allowed:
        with pytest.raises(InvalidValueError, match=r"^`limits`"):
            choose_precision(table, limits, ties=ties)
        return
    found = choose_precision(table, limits, ties=ties)
    assert found.loss == min(allowed)
    assert found.optimal
    assert found.gap == 0
    assert all(found.costs[name] <= limits[name] for name in limits)
    assert all(found.formats[group[0]] == found.formats[name] for group in ties for name in group)
    for name in NAMES:
        rows = [table.costs[name][i, table.formats.index(f)] for i, f in enumerate(found.formats.values())]
        assert found.costs[name] == sum(rows)


@settings(max_examples=40, deadline=None)
@given(table=tables(), data=st.data())
def test_the_front_is_every_breakpoint_and_nothing_else(table, data):
    ties = [["l0", table.layers[-1]]] if data.draw(st.booleans()) else []
    points = {(costs["cycles"], loss) for loss, costs, _ in everything(table, ties)}
    best = sorted(p for p in points if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in points))
    assert [(c.costs["cycles"], c.loss) for c in pareto_front(table, "cycles", ties=ties)] == best


@settings(max_examples=25, deadline=None)
@given(table=tables(), limit=st.integers(0, 30))
def test_the_front_within_another_limit(table, limit):
    points = {(costs["cycles"], loss) for loss, costs, _ in everything(table) if costs["energy_pj"] <= limit}
    best = sorted(p for p in points if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in points))
    if not best:
        with pytest.raises(InvalidValueError, match=r"^`limits`: energy_pj must be at least"):
            pareto_front(table, "cycles", limits={"energy_pj": limit})
        return
    assert [(c.costs["cycles"], c.loss) for c in pareto_front(table, "cycles", limits={"energy_pj": limit})] == best


def random_table(n_layers, n_formats, seed=0):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 50, size=(n_layers, 1)).astype(float)
    bits = np.linspace(2, 16, n_formats)
    return PrecisionTable(
        layers=[str(i) for i in range(n_layers)],
        formats=[str(i) for i in range(n_formats)],
        losses=np.sort(rng.random((n_layers, n_formats)))[:, ::-1],
        costs={"size_bits": sizes * bits, "energy_pj": sizes * rng.random((n_layers, n_formats)) * 1e7},
    )


def test_one_limit_agrees_with_the_exact_sums_of_a_hundred_layers():
    table = random_table(100, 4)
    limit = float(table.costs["size_bits"].min(axis=1).sum() * 1.7)
    found = choose_precision(table, {"size_bits": limit})
    exact = assign_precision(table.costs["size_bits"], table.losses, limit)
    assert found.loss == pytest.approx(table.choice(exact, optimal=True).loss, rel=1e-12)
    assert found.costs["size_bits"] <= limit


def test_losses_of_all_magnitudes_are_told_apart():
    losses = [[1.0, 0.0], [3e-9, 0.0], [2e-9, 0.0]]
    table = PrecisionTable(layers=["a"], formats=["x", "y"], losses=[losses[0]], costs={"c": [[0, 1]]})
    assert choose_precision(table, {"c": 0}).loss == 1.0
    table = PrecisionTable(layers=["a", "b", "c"], formats=["x", "y"], losses=losses, costs={"c": [[0, 1]] * 3})
    assert dict(choose_precision(table, {"c": 2}).formats) == {"a": "y", "b": "y", "c": "x"}


def test_a_solution_that_only_a_tolerance_allows_is_cut_off():
    # the best pair costs 1e-10 more than the limit, which is within the solver's tolerance
    costs = [[0.0, 0.5], [0.0, 0.5 + 1e-10]]
    table = PrecisionTable(layers=["a", "b"], formats=["x", "y"], losses=[[1, 0], [1, 0]], costs={"c": costs})
    found = choose_precision(table, {"c": 1.0})
    assert found.loss == 1.0
    assert found.costs["c"] <= 1.0


def test_a_time_out_says_what_is_proven():
    table = random_table(40, 6)
    limits = {name: float(cost.mean(axis=1).sum()) for name, cost in table.costs.items()}
    best = choose_precision(table, limits)
    assert best.optimal
    real = _ilp.Ilp.solve

    def stopped(self, objective, *, time_limit_s=np.inf):
        full = real(self, objective)
        return _ilp.Solved(formats=full.formats, optimal=False, bound=full.bound - 0.25)

    with mock.patch.object(_ilp.Ilp, "solve", stopped):
        found = choose_precision(table, limits, time_limit_s=1)
    assert not found.optimal
    assert found.gap == pytest.approx(0.25, rel=1e-6)
    with pytest.raises(InvalidValueError, match=r"^`time_limit_s` of 1e-09 s was over before any choice was found$"):
        choose_precision(random_table(400, 12), {}, time_limit_s=1e-9)


TABLE = PrecisionTable(
    layers=["a", "b"],
    formats=["x", "y"],
    losses=[[1, 0], [np.inf, 0]],
    costs={"cycles": [[1, 4], [1, 4]], "energy_pj": [[9, 2], [9, 2]]},
)


@pytest.mark.parametrize(
    ("limits", "ties", "message"),
    [
        ({"cycles": 4}, [], r"^`limits`: cycles must be at least 5, the least that the layers need, got 4$"),
        (
            {"cycles": 7, "energy_pj": 10},
            [],
            r"^`limits`: no choice is within all of them; cycles must be at least 8 where the others stay, got 7$",
        ),
        ({"cycle": 4}, [], r"^unknown limits 'cycle'; did you mean 'cycles'\?$"),
        ({"cycles": np.nan}, [], r"^`limits\['cycles'\]` must be at least 0, got nan$"),
        ({}, [["a", "c"]], r"^unknown ties 'c'; known: a, b$"),
        ({"cycles": 7}, [["a", "b"]], r"^`limits`: cycles must be at least 8, the least that the layers need, got 7$"),
    ],
)
def test_errors_of_limits(limits, ties, message):
    with pytest.raises(InvalidValueError, match=message):
        choose_precision(TABLE, limits, ties=ties)


def test_ties_without_a_common_format_are_refused():
    table = PrecisionTable(
        layers=["a", "b"], formats=["x", "y"], losses=[[np.inf, 1], [1, np.inf]], costs={"c": [[1, 1], [1, 1]]}
    )
    with pytest.raises(InvalidValueError, match=r"^`ties` must leave every group a common format of finite loss; a, b"):
        choose_precision(table, {}, ties=[["a", "b"]])
    with pytest.raises(TypeError, match=r"^`ties` must be a sequence of groups of layer names, got \['ab'\]$"):
        choose_precision(table, {}, ties=["ab"])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"losses": [[1, 2]]}, InvalidValueError, "`losses` must have shape (2, 2), (layers, formats), got (1, 2)"),
        ({"losses": [[1, np.nan], [1, 1]]}, InvalidValueError, "`losses` must be numbers or infinity, got NaN or -inf"),
        (
            {"losses": [[1, 2], [np.inf, np.inf]]},
            InvalidValueError,
            "`losses` must leave every layer a format, got infinity alone for 'b'",
        ),
        ({"costs": {"c": [[1, -1], [1, 1]]}}, InvalidValueError, "`costs['c']` must be at least 0, got -1"),
        (
            {"costs": {"c": [[1, np.inf], [1, 1]]}},
            InvalidValueError,
            "`costs['c']` must be finite, got inf at index (0, 1)",
        ),
        ({"costs": 3}, TypeError, "`costs` must be a mapping of names to arrays, got 3"),
        ({"layers": "ab"}, TypeError, "`layers` must be a sequence of names, got 'ab'"),
        (
            {"formats": ["x", "x"]},
            InvalidValueError,
            "`formats` must be one or more different names, got ['x', 'x']",
        ),
    ],
)
def test_errors_of_tables(changes, error, message):
    given = {"layers": ["a", "b"], "formats": ["x", "y"], "losses": [[1, 2], [3, 4]], "costs": {"c": [[1, 2], [3, 4]]}}
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        PrecisionTable(**(given | changes))
