"""Prepared networks under the tools of PyTorch: copies, pickles, state dicts, compilers, autocast, tied weights."""

import copy
import pickle
import re

import numpy as np
import pytest
import torch
from torch import nn

from tetrit import estimators
from tetrit.errors import InvalidValueError
from tetrit.estimators import pairs
from tetrit.train.qat import LowBitLayer, Plan, Rule, low_bit_layers, prepare, quantized_weights
from tetrit.train.schedule import Schedule

X = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def plan(weight="szt", activation=("lsq", "int8")):
    fields = {"name": activation[0], "format": activation[1]} if activation else None
    table = {"name": weight, "axis": "output"} if isinstance(weight, str) else weight
    return Plan(rules=(Rule(match="*", weight=table, activation=fields),))


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 8),
        nn.ReLU(),
        nn.Linear(8, 3),
    )


@pytest.fixture
def model():
    return prepare(network(), plan(), example=X)


def gradients(model, x=X):
    model.zero_grad()
    y = model(x)
    y.square().sum().backward()
    return [y.detach(), *(p.grad.clone() for p in model.parameters())]


def same(a, b):
    assert len(a) == len(b)
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_layers_stay_the_objects_and_parameters_they_were():
    model = network()
    before = list(model), list(model.parameters())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    assert prepare(model, plan(activation=None)) is model
    assert all(a is b for a, b in zip(before[0], model, strict=True))
    assert all(a is b for a, b in zip(before[1], model.parameters(), strict=True))
    first = model[0].weight.detach().clone()
    gradients(model)
    optimizer.step()
    assert not torch.equal(model[0].weight, first)
    assert isinstance(model[0], nn.Conv2d) and isinstance(model[0], LowBitLayer)


def test_a_single_layer_is_a_network():
    layer = prepare(nn.Linear(64, 2), plan(), example=X.flatten(1))
    assert list(low_bit_layers(layer)) == [""]
    assert [name for name, _ in quantized_weights(layer)] == ["weight"]


def test_twice_is_an_error(model):
    with pytest.raises(
        InvalidValueError, match=r"^`model` must be a float model: layer '0' has been prepared already$"
    ):
        prepare(model, plan(), example=X)


def test_activations_that_learn_need_an_example():
    text = "`example` must be a batch of inputs, from which the activation quantiser of layer '0' starts"
    model = network()
    with pytest.raises(InvalidValueError, match=f"^{re.escape(text)}$"):
        prepare(model, plan())
    assert not low_bit_layers(model)
    prepare(model, plan(activation=("ste", "int8")))


def test_activations_start_from_what_reaches_them():
    model = prepare(network(), plan(activation=None))
    with torch.no_grad():
        inputs = [X]
        model.eval()
        for layer in model:
            inputs.append(layer(inputs[-1]))
    started = prepare(network(), plan(), example=X)
    assert started.training and all(module.training for module in started.modules())
    for place in (0, 4, 6):
        x = inputs[place].numpy().astype(np.float64)
        expected = 2 * np.abs(x).mean() / np.sqrt(127)
        assert started[place].input_quantizer.step.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("example", [(X[:2], X[:2]), {"a": X[:2], "b": X[:2]}])
def test_examples_of_several_arguments(example):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 2)
            self.unused = nn.Linear(2, 2)

        def forward(self, a, b):
            return self.fc(a + b)

    keep = Plan(rules=(Rule(match="unused"), *plan().rules))
    model = prepare(Two(), keep, example=example)
    assert model.fc.input_quantizer.step.item() > 0
    with pytest.raises(InvalidValueError, match=r"^`example` must reach every layer, it does not reach 'unused'$"):
        prepare(Two(), plan(), example=example)


def test_example_with_a_nan():
    text = "input of layer '0' for the `example`: `w` must be finite, got nan at index (0, 0, 0, 0)"
    with pytest.raises(InvalidValueError, match=f"^{re.escape(text)}$"):
        prepare(network(), plan(activation=("lsq", "int8")), example=torch.full((1, 1, 8, 8), torch.nan))


@pytest.mark.parametrize("name", ["denseshift", "qkr"])
@pytest.mark.parametrize("example", [None, X])
def test_activation_estimators_that_change_the_shape(name, example):
    model = network()
    text = f"input of layer '0': the estimator '{name}' changes the shape of what it quantises"
    with pytest.raises(InvalidValueError, match=f"^{re.escape(text)}$"):
        prepare(model, Plan(rules=(Rule(match="*", activation=name),)), example=example)
    assert not low_bit_layers(model)


def test_activation_estimators_that_refuse_the_shape():
    model = network()
    text = "input of layer '4' for the `example`: `w` must have real and imaginary parts on its first axis, got shape "
    with pytest.raises(InvalidValueError, match=f"^{re.escape(text + '(16, 64)')}$"):
        prepare(model, Plan(rules=(Rule(match="4", activation="fairy"),)), example=X)
    assert not low_bit_layers(model)


class Attending(nn.Module):
    """Layers of which `prepare` changes more than the class."""

    def __init__(self):
        super().__init__()
        self.symbol = nn.Embedding(7, 4)
        layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, dropout=0.0)
        self.encoder = nn.TransformerEncoder(layer, 1)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.symbol.weight

    def forward(self, x):
        return self.head(self.encoder(self.symbol(x)))


@pytest.mark.parametrize("weight", ["denseshift", "tequila", "tanh_clip"])
def test_a_failing_example_leaves_the_model_as_it_was(weight):
    torch.manual_seed(0)
    model = Attending().eval()
    x = torch.tensor([[1, 4, 2]])
    expected, state = model(x).detach(), copy.deepcopy(model.state_dict())
    parameters, kinds = list(model.parameters()), [type(module) for module in model.modules()]
    attributes = [set(vars(module)) for module in model.modules()]
    fast = [m.activation_relu_or_gelu for m in model.modules() if isinstance(m, nn.TransformerEncoderLayer)]
    rules = (Rule(match="symbol"), Rule(match="head"), Rule(match="*", weight=weight, activation="lsq"))
    for wrong in (torch.tensor([[1, 9]]), x.float(), (x, x)):
        with pytest.raises((IndexError, RuntimeError, TypeError)):
            prepare(model, Plan(rules=rules), example=wrong)
        after = model.state_dict()
        assert after.keys() == state.keys() and all(torch.equal(after[key], state[key]) for key in state)
        assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
        assert [type(module) for module in model.modules()] == kinds
        assert [set(vars(module)) for module in model.modules()] == attributes
        layers = [m for m in model.modules() if isinstance(m, nn.TransformerEncoderLayer)]
        assert [m.activation_relu_or_gelu for m in layers] == fast and fast != [0]
        assert model.encoder.use_nested_tensor and model.head.weight is model.symbol.weight
        assert torch.equal(model(x), expected)
    prepare(model, Plan(rules=rules), example=x)
    assert len(low_bit_layers(model)) == 4
    with pytest.raises(InvalidValueError, match=r"has been prepared already$"):
        prepare(model, Plan(rules=rules), example=x)


def test_copies_and_pickles(model):
    expected = gradients(model)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert same(gradients(other), expected)
        assert [p.data_ptr() for p in other.parameters()] != [p.data_ptr() for p in model.parameters()]


def test_state_dict_into_a_freshly_prepared_network(model):
    schedule = Schedule(model, total_steps=10)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(4):
        gradients(model)
        optimizer.step()
        schedule.step()
    other = prepare(network(seed=5), plan(), example=X + 1)
    assert not same(gradients(other), gradients(model))
    other.load_state_dict(model.state_dict())
    assert same(gradients(other), gradients(model))
    assert other[0].weight_quantizer.progress == 0.4
    for (name, a), (_, b) in zip(quantized_weights(model), quantized_weights(other), strict=True):
        assert np.array_equal(a.codes, b.codes) and np.array_equal(a.scale, b.scale), name


def test_weights_of_a_float_network_have_the_same_names(model):
    missing, unexpected = model.load_state_dict(network(seed=3).state_dict(), strict=False)
    assert not unexpected
    assert all("quantizer" in name for name in missing)


# torch's own compiler makes an object of every autograd function that it traces
TRACING = pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")


@TRACING
@pytest.mark.parametrize("weight", ["szt", "reste", "stochastic_rounding"])
def test_compiled_networks_are_the_same_bit_for_bit(weight):
    given = {"name": weight} if weight == "reste" else {"name": weight, "axis": "output"}
    rules = (Rule(match="*", weight=given, activation={"name": "lsq", "format": "int8"}),)
    model = prepare(network(), Plan(rules=rules), example=X)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    for progress in (0.0, 0.7):
        for module in model.modules():
            if hasattr(module, "set_progress"):
                module.set_progress(progress)
        torch.manual_seed(3)
        expected = gradients(model)
        torch.manual_seed(3)
        found = gradients(compiled)
        if weight == "stochastic_rounding":  # the compiled graph may draw in another order
            assert [a.shape for a in found] == [b.shape for b in expected]
        else:
            assert same(found, expected)
    model.eval()
    assert torch.equal(compiled(X), model(X))


@TRACING
def test_compiled_networks_follow_the_schedule():
    model = prepare(network(), Plan(rules=(Rule(match="*", weight="reste"),)))
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    schedule = Schedule(model, total_steps=2)
    first = gradients(compiled)
    schedule.step()
    second = gradients(compiled)
    assert not same(first, second)
    assert same(second, gradients(model))


def test_autocast_computes_with_quantised_weights(model):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = model(X)
        seen = []
        handle = model[4].weight_quantizer.register_forward_hook(lambda m, a, out: seen.append(out))
        model(X).float().square().sum().backward()
        handle.remove()
    assert y.dtype == torch.bfloat16
    assert len(seen[0].detach()[0].abs().unique()) <= 2
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in model.parameters())
    torch.testing.assert_close(y.float(), model(X), rtol=0.1, atol=0.1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes(model, dtype):
    model = model.to(dtype)
    y = model(X.to(dtype))
    y.float().square().sum().backward()
    assert y.dtype == dtype
    assert all(p.grad.dtype == p.dtype for p in model.parameters())


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.symbol = nn.Embedding(7, 4)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.symbol.weight

    def forward(self, x):
        return self.head(self.symbol(x))


@pytest.mark.parametrize("weight", ["szt", "denseshift"])
def test_tied_weights_stay_tied(weight):
    torch.manual_seed(0)
    table = {"name": weight, "axis": "output"} if weight == "szt" else weight
    model = prepare(Tied(), Plan(rules=(Rule(match="*", weight=table),)))
    for tied in (model, copy.deepcopy(model)):
        assert tied.head.weight is tied.symbol.weight
        assert tied.head.weight_quantizer is tied.symbol.weight_quantizer
        assert len(list(tied.parameters())) == 1
        assert [name for name, _ in quantized_weights(tied)] == ["symbol.weight"]
    x = torch.tensor([1, 4])
    model(x).sum().backward()
    values = model.head.weight_quantizer(model.head.weight)
    expected = values[x] @ values.T
    assert torch.equal(model(x), expected)


def test_tied_weights_that_a_plan_would_part():
    text = (
        "layers 'symbol' and 'head' share a weight, so the plan must treat it alike in both: "
        "float in 'symbol', {'name': 'szt'} in 'head'"
    )
    for wrong in (
        Plan(rules=(Rule(match="head", weight="szt"),)),
        Plan(rules=(Rule(match="*", weight="szt"),), keep_first=True),
    ):
        with pytest.raises(InvalidValueError, match=f"^{re.escape(text)}$"):
            prepare(Tied(), wrong)


def test_weights_that_an_estimator_refuses():
    model = network()
    model[4].weight.data[1, 2] = torch.inf
    with pytest.raises(InvalidValueError, match=r"^layer '4': `w` must be finite, got inf at index \(1, 2\)$"):
        prepare(model, plan(), example=X)
    assert not low_bit_layers(model)


@pytest.mark.parametrize(("name", "shape"), [("fairy", (2, 4)), ("fairy", (4, 4)), ("qkr", (4, 4))])
def test_estimators_of_pairs_of_matrices(name, shape, monkeypatch):
    for cls in (pairs.Fairy, pairs.QKR):
        monkeypatch.setitem(estimators._CLASSES, cls.name, cls)
    model = nn.Sequential(nn.Linear(shape[1], shape[0]))
    with pytest.raises(InvalidValueError, match=r"^layer '0': "):
        prepare(model, plan(weight={"name": name}, activation=None))
    assert not low_bit_layers(model)


def test_frozen_weights_stay_frozen():
    model = network()
    model[0].weight.requires_grad_(False)
    prepare(model, Plan(rules=(Rule(match="*", weight="denseshift"),)))
    assert [model[i].weight.requires_grad for i in (0, 4)] == [False, True]


def test_mode_of_a_network_reaches_its_quantisers(model):
    frozen = prepare(network().eval(), plan(), example=X)
    assert not any(module.training for module in frozen.modules())
    assert all(module.training for module in model.modules())
