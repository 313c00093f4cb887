"""The indicators: f is the function whose slope each backward rule follows, and e and s are counted by hand."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from tetrit import estimators
from tetrit.train.compare.indicators import followed, indicators
from tetrit.train.qat import Plan, Rule, prepare

W = np.random.default_rng(3).normal(size=(6, 8)) * 0.3

# estimators whose backward rule is a factor f'(w) times the gradient, and by what constant that factor is larger
RULES = {
    "ste": ({"format": "int4"}, 1.0),
    "ste_clipped": ({"format": "int4", "limit": 0.25}, 1.0),
    "lsq": ({"format": "int2", "axis": 0}, 1.0),
    "double_rounding": ({"bits": 2, "step": 0.01}, 1.0),
    "tanh_clip": ({}, 1.0),
    "statsq": ({"bits": 2}, 1.0),
    "pot": ({"lam": 0.6}, 0.4),
    "biper": ({"frequency": 5.0, "scale": 0.2}, 1.0),
    "szt": ({"surrogate": estimators.Surrogate(gain=0.3, clip=1.4)}, 1.0),
}
SURROGATES = {
    "vanishing": estimators.vanishing(),
    "identity": estimators.identity(),
    "clip in the dead zone": estimators.vanishing(clip=0.2),
}


def slopes_agree(estimator, factor):
    """Compare the slope of f, by differences, with the backward rule at gradient 1, for every weight."""
    values = estimator(W).values
    f = followed(estimator, W, values)
    slope = estimator.backward(W, np.ones(W.shape)) / factor
    step = 1e-7
    for index in np.ndindex(W.shape):
        moved = W.copy()
        moved[index] += step
        q = estimator(moved)
        if not (np.array_equal(q.codes, estimator(W).codes) and np.allclose(q.scale, estimator(W).scale)):
            continue
        # scales and thresholds count as constants in a backward rule, and move a little here
        difference = (followed(estimator, moved, values)[index] - f[index]) / step
        assert difference == pytest.approx(slope[index], abs=0.05), index


@pytest.mark.parametrize("name", RULES)
def test_f_has_the_slope_of_the_backward_rule(name):
    params, factor = RULES[name]
    slopes_agree(estimators.get(name, **params), factor)


@pytest.mark.parametrize("name", SURROGATES)
def test_f_has_the_slope_of_the_surrogate(name):
    slopes_agree(estimators.get("szt", surrogate=SURROGATES[name]), 1.0)


def test_f_of_reste_is_that_of_its_paper():
    e = estimators.get("reste", power=2.0)
    w = np.array([-4.0, 0.25, 1.0])  # mean magnitude 1.75
    f = followed(e, w, e(w).values)
    np.testing.assert_allclose(f, 1.75 * np.array([-2.0, 0.5, 1.0]), rtol=1e-14)


def test_f_of_vanishing_szt_begins_at_the_threshold():
    e = estimators.get("szt", threshold="absmean", surrogate="vanishing")
    w = np.array([0.1, -0.1, 0.2, -1.0, 0.6])  # mean magnitude 0.4, threshold 0.2
    np.testing.assert_allclose(followed(e, w, e(w).values), [0.0, 0.0, 0.0, -0.8, 0.4])
    rows = np.stack([w, 10 * w])
    e = estimators.get("szt", threshold="absmean", surrogate="vanishing", axis=0)
    np.testing.assert_allclose(followed(e, rows, e(rows).values)[1], [0.0, 0.0, 0.0, -8.0, 4.0])


def test_where_latent_and_values_differ_in_shape_there_is_no_f():
    e, latent = estimators.get("denseshift").start(W)
    assert followed(e, latent, e(latent).values) is None


@pytest.fixture
def model():
    """Two layers with gradients, the second one tied to a third."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 3), nn.Linear(3, 3))
    model[2].weight = model[1].weight
    int4 = {"name": "ste", "format": "int4"}
    plan = Plan(rules=(Rule(match="0", weight="denseshift"), Rule(match="*", weight=int4)))
    model = prepare(model, plan)
    model(torch.ones(2, 4)).square().sum().backward()
    return model


def test_figures_by_hand(model):
    found = indicators(model)
    assert list(found) == ["0.weight", "1.weight", "all"]  # the tied weight once
    w = model[1].weight.detach().double().numpy()
    q = estimators.get("ste", format="int4")(w.astype(np.float32)).values
    error = math.sqrt(float(((q - w) ** 2).sum()))
    variances = [np.abs(model[i].weight.grad.double().numpy()).var() for i in (0, 1)]
    assert error > 0
    assert found["1.weight"]["weights"] == 9
    assert found["1.weight"]["error"] == pytest.approx(error, rel=1e-12)
    assert found["1.weight"]["variance"] == pytest.approx(variances[1], rel=1e-12)
    assert found["0.weight"] == {"weights": 12, "error": None, "variance": pytest.approx(variances[0], rel=1e-12)}
    assert found["all"]["weights"] == 21
    assert found["all"]["error"] == pytest.approx(error / 3, rel=1e-12)
    assert found["all"]["variance"] == pytest.approx((12 * variances[0] + 9 * variances[1]) / 21, rel=1e-12)


def test_without_an_f_there_is_no_error(model):
    model[1].weight.grad = None
    assert indicators(model)["all"]["error"] is None
    model[0].weight.grad = None
    assert indicators(model) == {}
