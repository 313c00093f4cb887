"""The watch over codes: shares counted by hand, over looks, and through a saved state."""

import io

import pytest
import torch
from torch import nn

from tetrit.train.loop.weights import CodeWatch
from tetrit.train.qat import Plan, Rule, prepare


@pytest.fixture
def model():
    """Two layers, of which the first is ternary: weights below half their mean magnitude are zeros."""
    szt = {"name": "szt", "threshold": "absmean"}
    model = nn.Sequential(nn.Linear(4, 2, bias=False), nn.Linear(2, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[0.9, 0.05, -0.05, -0.9], [0.05, 0.05, 0.8, -0.05]]))
    return prepare(model, Plan(rules=(Rule(match="0", weight=szt),)))


def shares(watch, model):
    found = watch.look(model)
    assert found["0.weight"] == found["all"]
    assert list(found) == ["0.weight", "all"]
    return found["all"]


def test_shares_by_hand(model):
    watch = CodeWatch(model)
    assert shares(watch, model) == {"weights": 8, "zero": 5 / 8, "unmoved": 1.0}
    weight = model[0].weight.data
    weight[0, 0] = 0.05  # +1 to +0
    assert shares(watch, model) == {"weights": 8, "zero": 6 / 8, "unmoved": 7 / 8}
    weight[0, 0] = 0.9  # back: it has moved all the same
    weight[1, 3] = -0.06  # -0 stays -0
    assert shares(watch, model) == {"weights": 8, "zero": 5 / 8, "unmoved": 7 / 8}
    weight[1, 0] = -0.05  # the sign of zero is part of the code
    assert shares(watch, model) == {"weights": 8, "zero": 5 / 8, "unmoved": 6 / 8}


def test_a_saved_watch_goes_on(model):
    watch = CodeWatch(model)
    model[0].weight.data[0, 0] = 0.05
    watch.look(model)
    buffer = io.BytesIO()
    torch.save(watch.state_dict(), buffer)
    buffer.seek(0)
    again = CodeWatch(model)
    again.load_state_dict(torch.load(buffer, weights_only=True))
    model[0].weight.data[0, 0] = 0.9
    assert shares(again, model)["unmoved"] == 7 / 8
    with pytest.raises(KeyError):
        again.load_state_dict({"first": {}, "moved": {}})


def test_a_float_network_has_nothing_to_watch():
    model = nn.Linear(2, 2)
    assert CodeWatch(model).look(model) == {}
