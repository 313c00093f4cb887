"""Folding of batch normalisation: the same network, or an error that names the one that cannot be."""

import copy
import re

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from tetrit.errors import InvalidValueError
from tetrit.train.qat import Plan, Rule, fold_batchnorm, prepare


def trained(model, *shape):
    """Give every normalisation statistics, factors and offsets of its own."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine:
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    for _ in range(3):
        model(torch.randn(8, *shape) * 2 + 1)
    return model.eval()


def check(model, *shape):
    x = torch.randn(4, *shape)
    expected = model.double()(x.double())
    fold_batchnorm(model)
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
    torch.testing.assert_close(model(x.double()), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    ("layer", "norm", "shape"),
    [
        (nn.Linear(3, 4), nn.BatchNorm1d(4), (3,)),
        (nn.Linear(3, 4, bias=False), nn.BatchNorm1d(4, affine=False), (3,)),
        (nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4, eps=0.1), (3, 5)),
        (nn.Conv2d(4, 6, 3, groups=2, bias=False), nn.BatchNorm2d(6), (4, 5, 5)),
        (nn.Conv3d(2, 3, 2), nn.BatchNorm3d(3), (2, 3, 3, 3)),
        (nn.ConvTranspose1d(3, 4, 3), nn.BatchNorm1d(4), (3, 5)),
        (nn.ConvTranspose2d(4, 6, 3, groups=2), nn.BatchNorm2d(6), (4, 5, 5)),
        (nn.ConvTranspose3d(2, 3, 2, bias=False), nn.BatchNorm3d(3), (2, 3, 3, 3)),
    ],
)
def test_every_layer_type(layer, norm, shape):
    check(trained(nn.Sequential(layer, norm, nn.ReLU()), *shape), *shape)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 3, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(3)
        self.conv2 = nn.Conv2d(3, 3, 1)
        self.norm2 = nn.BatchNorm2d(3)

    def forward(self, x):
        return x + self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(x)))))


def test_found_by_tracing():
    check(trained(nn.Sequential(Block(), Block()), 3, 5, 5), 3, 5, 5)


class Branching(nn.Module):
    """Cannot be traced."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x) if x.sum() > 0 else self.inner(x + 1)


def test_networks_without_normalisations_need_no_tracing():
    model = Branching(nn.Linear(3, 4))
    assert fold_batchnorm(model) is model


def test_float32_within_rounding():
    model = trained(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), 3, 6, 6)
    x = torch.randn(4, 3, 6, 6)
    torch.testing.assert_close(fold_batchnorm(copy.deepcopy(model))(x), model(x), rtol=1e-5, atol=1e-5)


HOOK = "a parameter of the layer before it is computed by a hook (weight_norm, pruning); remove that first"
UNTRACEABLE = "torch.fx cannot trace the model, so which layer comes before it is not known"


class Parts(nn.Module):
    """Cannot be traced, and calls the elements of a Sequential apart."""

    def __init__(self):
        super().__init__()
        self.parts = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))

    def forward(self, x):
        y = self.parts[0](x)
        return self.parts[1](y if y.sum() > 0 else -y) + y


def same_linear_twice():
    layer = nn.Linear(3, 3)
    return nn.Sequential(layer, nn.ReLU(), layer, nn.BatchNorm1d(3))


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 3)
        self.norm = nn.BatchNorm1d(3)

    def forward(self, x):
        return self.norm(self.fc(self.fc(x)))


class ReadsStatistics(Twice):
    def forward(self, x):
        return self.norm(self.fc(x)) + self.norm.running_mean


def hooked(place, register):
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    getattr(model[place], register)(lambda *given: None)
    return model


class ReadsWeight(Twice):
    def forward(self, x):
        return self.norm(self.fc(x)) + x @ self.fc.weight


def weight_by_hook(make):
    layer = nn.Linear(3, 3)
    make(layer)
    return nn.Sequential(layer, nn.BatchNorm1d(3))


def shared():
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    return nn.Sequential(first, second, nn.BatchNorm1d(3))


class Forked(Twice):
    def forward(self, x):
        y = self.fc(x)
        return y + self.norm(y)


@pytest.mark.parametrize(
    ("model", "name", "reason"),
    [
        (
            nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2)),
            "0",
            "no Linear or convolution alone comes right before it",
        ),
        (
            nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.BatchNorm1d(3)),
            "2",
            "no Linear or convolution alone comes right before it",
        ),
        (Twice(), "norm", "no Linear or convolution alone comes right before it"),
        (Forked(), "norm", "no Linear or convolution alone comes right before it"),
        (Branching(Block()), "inner.norm1", UNTRACEABLE),
        (Parts(), "parts.1", UNTRACEABLE),
        (Branching(same_linear_twice()), "inner.3", UNTRACEABLE),
        (same_linear_twice(), "3", "no Linear or convolution alone comes right before it"),
        (ReadsWeight(), "norm", "the network reads a tensor of the layer before it by itself"),
        (ReadsStatistics(), "norm", "the network reads a tensor of the normalisation by itself"),
        (hooked(0, "register_forward_hook"), "1", "the layer before it has forward hooks; remove them first"),
        (hooked(0, "register_forward_pre_hook"), "1", "the layer before it has forward hooks; remove them first"),
        (hooked(1, "register_forward_hook"), "1", "the normalisation has forward hooks; remove them first"),
        (hooked(1, "register_forward_pre_hook"), "1", "the normalisation has forward hooks; remove them first"),
        (weight_by_hook(lambda fc: prune.random_unstructured(fc, "weight", 0.5)), "1", HOOK),
        (weight_by_hook(lambda fc: prune.random_unstructured(fc, "bias", 0.5)), "1", HOOK),
        (
            nn.Sequential(nn.Linear(3, 3), nn.BatchNorm2d(3)),
            "1",
            "after a Linear it must be a BatchNorm1d, not a BatchNorm2d",
        ),
        (
            nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm1d(3)),
            "1",
            "after a Conv2d it must be a BatchNorm2d, not a BatchNorm1d",
        ),
        (shared(), "2", "the layer before it shares its parameters"),
        (
            nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3, track_running_stats=False)),
            "1",
            "it keeps no statistics (`track_running_stats`)",
        ),
        (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(5)), "1", "it has 5 features, the layer before it 4 outputs"),
    ],
)
def test_what_cannot_be_folded(model, name, reason):
    text = f"batch normalisation '{name}' cannot be folded: {reason}"
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(InvalidValueError, match=f"^{re.escape(text)}$"):
        fold_batchnorm(model)
    after = model.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)


def test_nothing_is_changed_if_one_of_several_cannot_be_folded():
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.BatchNorm1d(3))
    with pytest.raises(InvalidValueError, match=r"^batch normalisation '3'"):
        fold_batchnorm(model)
    assert isinstance(model[1], nn.BatchNorm1d)


OTHER = (
    "batch normalisations cannot be folded: for the `example` the folded network computes something else, as it does "
    "where one after a Linear works on another axis than the outputs"
)


@pytest.mark.parametrize("bias", [True, False])
def test_an_example_shows_a_normalisation_along_the_length(bias):
    model = trained(nn.Sequential(nn.Linear(4, 4, bias=bias), nn.BatchNorm1d(4)), 4, 4).train()
    before, modules = copy.deepcopy(model.state_dict()), list(model.modules())
    x = torch.randn(5, 4, 4)
    expected = copy.deepcopy(model).eval()(x)
    with pytest.raises(InvalidValueError, match=f"^{re.escape(OTHER)}$"):
        fold_batchnorm(model, example=x)
    with pytest.raises(InvalidValueError, match=f"^{re.escape(OTHER)}$"):
        prepare(model, Plan(rules=(Rule(match="*", weight="szt"),)), example=x, fold_batchnorm=True)
    after = model.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)
    assert list(model.modules()) == modules and all(module.training for module in modules)
    assert torch.equal(model.eval()(x), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_an_example_that_the_fold_stands(dtype):
    model = trained(nn.Sequential(*(Block() for _ in range(3))), 3, 5, 5).to(dtype).train()
    model[1].eval()
    x = torch.randn(4, 3, 5, 5, dtype=dtype)
    fold_batchnorm(model, example=x)
    assert isinstance(model[2].norm2, nn.Identity) and model[2].norm2.training and not model[1].norm2.training


def test_an_example_that_does_not_fit_changes_nothing():
    model = trained(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), 3)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        fold_batchnorm(model, example=torch.ones(2, 5))
    assert isinstance(model[1], nn.BatchNorm1d)


class OnlyInTraining(Block):
    """Goes another way in training."""

    def forward(self, x):
        return self.norm1(torch.relu(self.conv1(x))) if self.training else self.norm1(self.conv1(x))


def test_what_counts_is_the_way_of_evaluation():
    model = OnlyInTraining()
    del model.conv2, model.norm2
    model = trained(model, 3, 5, 5).train()
    x = torch.randn(4, 3, 5, 5)
    expected = copy.deepcopy(model).eval()(x)
    assert fold_batchnorm(model).training
    torch.testing.assert_close(model.eval()(x), expected, rtol=1e-5, atol=1e-5)


def test_preparation_folds_before_it_quantises():
    model = trained(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), 3)
    folded = fold_batchnorm(copy.deepcopy(model))
    prepare(model, Plan(rules=(Rule(match="*", weight="szt"),)), fold_batchnorm=True)
    assert isinstance(model[1], nn.Identity)
    assert torch.equal(model[0].weight, folded[0].weight) and torch.equal(model[0].bias, folded[0].bias)
