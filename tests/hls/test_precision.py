"""The choice of formats: never worse than any other choice, and refused where there is none."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tetrit.errors import InvalidValueError
from tetrit.hls import assign_precision


@given(data=st.data())
def test_no_choice_within_the_budget_is_better(data):
    shape = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    costs = data.draw(hnp.arrays(np.int64, shape, elements=st.integers(0, 9)))
    losses = data.draw(hnp.arrays(np.int64, shape, elements=st.integers(-3, 9)))
    budget = data.draw(st.integers(int(costs.min(axis=1).sum()), 40))
    rows = np.arange(shape[0])
    choice = assign_precision(costs, losses, budget)
    found = (losses[rows, choice].sum(), costs[rows, choice].sum())
    others = [np.array(other) for other in product(range(shape[1]), repeat=shape[0])]
    allowed = [o for o in others if costs[rows, o].sum() <= budget]
    assert found[1] <= budget
    assert found == min((losses[rows, o].sum(), costs[rows, o].sum()) for o in allowed)


def test_a_format_with_infinite_loss_is_never_chosen():
    assert assign_precision([[1, 5], [1, 5]], [[np.inf, 1.0], [0.5, 0.0]], 10).tolist() == [1, 1]
    assert assign_precision([[1, 5], [1, 5]], [[np.inf, 1.0], [0.5, 0.0]], 9).tolist() == [1, 0]


def test_many_layers_take_no_time():
    rng = np.random.default_rng(0)
    costs = np.tile([4, 8, 16], (100, 1)) * rng.integers(1, 50, size=(100, 1))
    losses = np.sort(rng.random((100, 3)))[:, ::-1]
    choice = assign_precision(costs, losses, costs[:, 0].sum() * 1.5)
    assert costs[np.arange(100), choice].sum() <= costs[:, 0].sum() * 1.5


@pytest.mark.parametrize(
    ("costs", "losses", "budget", "message"),
    [
        ([[4, 8]], [[1, 0]], 3, r"^`budget` must be at least 4, the least that the layers cost, got 3$"),
        ([[4, 8]], [[np.inf, np.inf]], 9, r"^`losses` must leave every layer a format, got one with infinity alone$"),
        ([[4, 8]], [[1, 0, 2]], 9, r"must have one shape \(layers, formats\), got \(1, 2\) and \(1, 3\)$"),
        ([[4, 8]], [[1, np.nan]], 9, r"^`losses` must be numbers or infinity, got NaN or -inf$"),
        ([[4, np.inf]], [[1, 0]], 9, r"^`costs` must be finite"),
        (np.zeros((0, 2)), np.zeros((0, 2)), 9, r"got \(0, 2\) and \(0, 2\)$"),
    ],
)
def test_errors(costs, losses, budget, message):
    with pytest.raises(InvalidValueError, match=message):
        assign_precision(costs, losses, budget)
