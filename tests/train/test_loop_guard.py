"""Where NaN and infinities come from: each place in a network, planted and found."""

import re

import pytest
import torch
from torch import nn

from tetrit.errors import InvalidValueError
from tetrit.train.loop.guard import finite, locate


class Square(nn.Module):
    def forward(self, x):
        return x.square()


class Root(nn.Module):
    """Finite forward at 0, with an infinite gradient."""

    def forward(self, x):
        return x.sqrt()


class Pair(nn.Module):
    """Has a tuple as its output."""

    def forward(self, x):
        return x, (x / 0, {"rest": x})


class First(nn.Module):
    def forward(self, pair):
        return pair[0]


class Picky(nn.Module):
    """As an estimator: refuses what is not finite."""

    def forward(self, x):
        if not torch.isfinite(x).all():
            raise InvalidValueError("`w` must be finite")
        return x


def net(*layers):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), *layers)


X = torch.ones(2, 3)


def test_a_healthy_step_has_nothing():
    model = net(nn.Linear(4, 2))
    assert locate(model, X, torch.sum) is None
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_parameter(value):
    model = net(nn.Linear(4, 2))
    with torch.no_grad():
        model[2].weight[1, 3] = float(value)
    assert locate(model, X, torch.sum) == f"the parameter '2.weight', which has {value} at index (1, 3)"


def test_the_input():
    x = X.clone()
    x[1, 2] = float("nan")
    assert locate(net(), x, torch.sum) == "the input, which has nan at index (1, 2)"


def test_the_innermost_output_that_came_first():
    model = net(nn.Sequential(nn.Linear(4, 2), Square()), Square())
    with torch.no_grad():
        model[2][0].weight.fill_(1e30)
        model[0].bias.fill_(1.0)
    assert locate(model, X, torch.sum) == "the output of '2.1' (Square), which has inf at index (0, 0)"


def test_an_output_inside_a_tuple():
    assert locate(net(Pair(), First()), X, torch.sum).startswith("the output of '2' (Pair), which has ")


def test_the_loss():
    assert locate(net(), X, lambda y: (y.detach() * 0 - 1).log().sum() + y.sum()) == "the loss of finite outputs"


def test_a_gradient():
    model = net(Root())
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].bias.zero_()
    # the root's derivative at 0 is infinite: its input, the output of the ReLU, is the first to get it
    assert locate(model, X, torch.sum) == "the gradient of the output of '1' (ReLU), which has inf at index (0, 0)"


def test_the_gradient_of_a_parameter():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.zeros(()))

        def forward(self, x):
            return x * self.scale.sqrt()

    found = locate(net(Scaled()), X, torch.sum)
    assert found == "the gradient of the parameter '2.scale', which has inf at index ()"


def test_a_module_that_refuses_does_not_hide_the_cause():
    model = net(Square(), Picky())
    with torch.no_grad():
        model[0].weight.fill_(1e30)
    assert locate(model, X, torch.sum) == "the output of '2' (Square), which has inf at index (0, 0)"
    refusing = net(Picky())

    def fail(outputs):
        raise InvalidValueError("something else")

    with pytest.raises(InvalidValueError, match=r"^something else$"):
        locate(refusing, X, fail)
    assert not any(module._forward_hooks for module in (*model.modules(), *refusing.modules()))


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        (torch.tensor([1.0, -0.0]), True),
        (torch.tensor([1.0, float("nan")]), False),
        (torch.tensor(float("inf"), dtype=torch.bfloat16), False),
        (torch.tensor([], dtype=torch.float64), True),
        (torch.tensor([3]), True),
    ],
)
def test_finite(tensor, expected):
    assert finite(tensor) is expected


def test_messages_are_one_line():
    assert not re.search("\n", locate(net(Pair(), First()), X, torch.sum))
