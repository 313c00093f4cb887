"""The schedule: progress, latent weights, learned fields and word lengths after every step."""

import copy
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from tetrit import estimators
from tetrit.errors import InvalidValueError
from tetrit.estimators.adaptive import AdaPT, SwitchRule, gradient_diversity, next_lookback, switch
from tetrit.train import quantizer
from tetrit.train.qat import Plan, Rule, prepare
from tetrit.train.schedule import Schedule

X = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))


def network(weight, activation=None):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    return prepare(model, Plan(rules=(Rule(match="*", weight=weight, activation=activation),)), example=X)


def train(model, schedule, steps, rate=0.1):
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    for _ in range(steps):
        optimizer.zero_grad()
        model(X).square().mean().backward()
        optimizer.step()
        schedule.step()


def test_progress_runs_from_zero_to_one_and_stays():
    model = network("reste", "reste")
    schedule = Schedule(model, total_steps=4)
    seen = []
    for _ in range(6):
        seen.append({q.progress for q in (model[0].weight_quantizer, model[2].input_quantizer)})
        schedule.step()
    assert seen == [{0.0}, {0.25}, {0.5}, {0.75}, {1.0}, {1.0}]
    assert model[0].weight_quantizer.estimator == estimators.get("reste").at(1.0)


def test_a_new_schedule_begins_anew():
    model = network("reste")
    train(model, Schedule(model, total_steps=4), 3)
    Schedule(model, total_steps=4)
    assert model[0].weight_quantizer.progress == 0.0


def test_quantisers_of_ones_own_and_parametrisations_follow():
    model = nn.ModuleDict({"q": quantizer("reste"), "fc": nn.Linear(3, 3), "again": nn.Linear(3, 3)})
    parametrize.register_parametrization(model["fc"], "weight", quantizer("reste"))
    Schedule(model, total_steps=2).step()
    assert (model["q"].progress, model["fc"].parametrizations.weight[0].progress) == (0.5, 0.5)


class Halving(estimators.STE):
    """Halves its latent after every step."""

    name = "halving"

    def after_step(self, w):
        return np.asarray(w) / 2


@pytest.fixture
def halving(monkeypatch):
    monkeypatch.setitem(estimators._CLASSES, "halving", Halving)


def test_latents_move_once_a_step_in_place(halving):
    model = network("halving")
    latent = model[0].weight
    before = latent.detach().clone(), model[0].bias.detach().clone()
    Schedule(model, total_steps=4).step()
    assert model[0].weight is latent
    assert torch.equal(latent, before[0] / 2)
    assert torch.equal(model[0].bias, before[1])


@pytest.mark.parametrize("weight", ["tanh_clip", {"name": "codebook", "strength": 0.1}])
def test_frozen_latents_stay(weight):
    model = network(weight)
    with torch.no_grad():
        for layer in (model[0], model[2]):
            layer.weight.mul_(3)
    model[0].weight.requires_grad_(False)
    before = [model[i].weight.detach().clone() for i in (0, 2)]
    Schedule(model, total_steps=4).step()
    assert torch.equal(model[0].weight, before[0])
    assert not torch.equal(model[2].weight, before[1])


def test_shared_latents_move_once(halving):
    model = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])
    model[1].weight = model[0].weight
    prepare(model, Plan(rules=(Rule(match="*", weight="halving"),)))
    before = model[0].weight.detach().clone()
    Schedule(model, total_steps=4).step()
    assert torch.equal(model[1].weight, before / 2)


def test_latents_of_a_parametrisation_move(halving):
    layer = nn.Linear(3, 3)
    before = layer.weight.detach().clone()
    parametrize.register_parametrization(layer, "weight", quantizer("halving"))
    Schedule(layer, total_steps=4).step()
    assert torch.equal(layer.parametrizations.weight.original, before / 2)


def test_learned_fields_go_back_to_their_least_value():
    model = network({"name": "lsq", "axis": "output"}, "lsq")
    schedule = Schedule(model, total_steps=4)
    steps = model[0].weight_quantizer.step, model[2].input_quantizer.step
    with torch.no_grad():
        steps[0][1] = -3.0
        steps[1].fill_(-1e-3)
    kept = steps[0].detach().clone()
    schedule.step()
    least = np.float32(estimators.LSQ.learnable["step"][0])
    assert steps[0][1].item() == steps[1].item() == least > 0
    assert torch.equal(steps[0][[0, 2, 3, 4, 5]], kept[[0, 2, 3, 4, 5]])
    model(X)


def test_learned_fields_go_back_to_their_greatest_value():
    model = network({"name": "nupes", "axis": "output"})
    schedule = Schedule(model, total_steps=4)
    q = model[0].weight_quantizer
    q.power.data.fill_(5000.0)
    schedule.step()
    assert q.power.item() == estimators.NUPES.learnable["power"][1] == 1024.0
    model(X)


@pytest.fixture
def adapt(monkeypatch):
    monkeypatch.setitem(estimators._CLASSES, "adapt", AdaPT)


RULE = SwitchRule(min_lookback=2, max_lookback=5)


def test_adapt_switches_on_the_gradients_of_its_window(adapt):
    model = network("adapt")
    schedule = Schedule(model, total_steps=40, rule=RULE)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    expected, lookback, window = model[0].weight_quantizer.estimator, 5, []
    found = {expected}
    for _ in range(30):
        optimizer.zero_grad()
        model(X).square().mean().backward()
        optimizer.step()
        window.append(model[0].weight.grad.numpy().copy())
        schedule.step()
        if len(window) == lookback:
            expected = switch(expected, model[0].weight.detach().numpy(), window, rule=RULE)
            lookback = next_lookback(lookback, gradient_diversity(window), rule=RULE)
            window = []
        assert model[0].weight_quantizer.estimator == expected
        found.add(expected)
    assert len(found) > 1
    assert model[0].weight_quantizer.progress == 0.75


def test_a_step_without_gradients_is_left_out(adapt):
    model = network("adapt")
    schedule = Schedule(model, total_steps=40, rule=RULE)
    before = model[0].weight_quantizer.estimator
    for _ in range(10):
        schedule.step()
    assert model[0].weight_quantizer.estimator == before


@pytest.mark.parametrize("bad", [torch.inf, -torch.inf, torch.nan])
def test_a_step_whose_gradients_overflow_is_left_out(adapt, bad):
    found = []
    for overflows in (False, True):
        model = network("adapt")
        schedule = Schedule(model, total_steps=40, rule=RULE)
        for step in range(20):
            model.zero_grad()
            model(X + step).square().mean().backward()
            schedule.step()
            if overflows:
                model[0].weight.grad[1, 2] = bad
                schedule.step()
        found.append((model[0].weight_quantizer.estimator, schedule.state_dict()["switches"]["0.weight"]))
    (plain, windows), (overflown, others) = found
    assert plain == overflown != estimators.get("adapt")
    assert windows["lookback"] == others["lookback"]
    assert all(torch.equal(a, b) for a, b in zip(windows["gradients"], others["gradients"], strict=True))


def test_states_that_lack_something(adapt):
    schedule = Schedule(network("adapt"), total_steps=40, rule=RULE)
    schedule.resume(3)
    for state, text in (
        ({}, "`steps` is missing"),
        ({"steps": 1, "switches": {"2.weight": {"lookback": 2}}}, "`gradients` of '2.weight' is missing"),
        ({"steps": 1, "switches": {"2.weight": {"gradients": []}}}, "`lookback` of '2.weight' is missing"),
    ):
        with pytest.raises(InvalidValueError, match=f"^`state` must be what `state_dict` gave, {re.escape(text)}$"):
            schedule.load_state_dict(state)
        assert schedule.steps == 3


def test_state_goes_on_where_it_was(adapt):
    model = network("adapt")
    schedule = Schedule(model, total_steps=40, rule=RULE)
    train(model, schedule, 7)
    other = network("adapt")
    other.load_state_dict(model.state_dict())
    resumed = Schedule(other, total_steps=40, rule=RULE)
    resumed.load_state_dict(copy.deepcopy(schedule.state_dict()))
    assert resumed.steps == 7 and other[0].weight_quantizer.progress == 7 / 40
    train(model, schedule, 9)
    train(other, resumed, 9)
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
    for i in (0, 2):
        assert model[i].weight_quantizer.estimator == other[i].weight_quantizer.estimator


def test_resume_by_the_number_of_steps():
    model = network("reste")
    schedule = Schedule(model, total_steps=8)
    schedule.resume(6)
    assert schedule.progress == model[0].weight_quantizer.progress == 0.75
    schedule.step()
    assert model[0].weight_quantizer.progress == 0.875
    with pytest.raises(InvalidValueError, match=r"^`steps` must be a non-negative integer, got -1$"):
        schedule.resume(-1)


@pytest.mark.parametrize(
    ("args", "kind", "text"),
    [
        ((3, 4), TypeError, "`model` must be an nn.Module, got int"),
        ((nn.Linear(2, 2), 4), InvalidValueError, "`model` must have quantisers, got none; prepare it before"),
        ((quantizer("szt"), 0), InvalidValueError, "`total_steps` must be a positive integer, got 0"),
        ((quantizer("szt"), 2.5), TypeError, "`total_steps` must be an integer, got 2.5"),
    ],
)
def test_wrong_arguments(args, kind, text):
    with pytest.raises(kind, match=f"^{re.escape(text)}$"):
        Schedule(*args)
