"""Export: what a trained network has in PyTorch, its checkpoint and the integer simulator have too, bit for bit."""

import copy
import os
import re

import numpy as np
import pytest
import torch
from torch import nn

from tetrit import formats
from tetrit.errors import InvalidValueError
from tetrit.hardware import ShiftArray
from tetrit.hls import compile_network
from tetrit.hls.checkpoint import StoredWeight, read_checkpoint
from tetrit.sim.execute import execute
from tetrit.train import digits, quantizer
from tetrit.train.exporting import export
from tetrit.train.qat import Plan, Rule, prepare, quantized_weights
from tetrit.train.schedule import Schedule

INT8 = {"name": "lsq", "format": "int8"}
EVERYWHERE = Plan(rules=(Rule(match="*", weight={"name": "szt", "axis": "output"}, activation=INT8),))
X = torch.randn(16, 6, generator=torch.Generator().manual_seed(0))


def machine(**fields):
    return ShiftArray(rows=16, cols=16, acc_bits=24, **fields)


@pytest.fixture(scope="module")
def data():
    return digits.load()


@pytest.fixture(scope="module")
def trained(data):
    """A little network, trained in a second."""
    torch.manual_seed(0)
    x = torch.from_numpy(data.train_x.astype(np.float32)) * data.in_scale
    y = torch.from_numpy(data.train_y)
    model = nn.Sequential(
        nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 24), nn.ReLU(), nn.Linear(24, 10)
    )
    prepare(model, EVERYWHERE, example=x)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    schedule = Schedule(model, total_steps=150)
    for step in range(150):
        batch = slice(step * 64 % 1280, step * 64 % 1280 + 64)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()
        schedule.step()
    return model.eval(), x


def integers(quantized):
    """Integers of activation codes."""
    return formats.get(quantized.format).decode(quantized.codes).astype(np.int64)


def watched(model, x):
    """Return the input integers and the output of every layer of a chain."""
    inputs, outputs = [], []
    for module in model:
        if hasattr(module, "input_quantizer"):
            inputs.append(integers(module.input_quantizer.codes(x)))
            outputs.append(module(x).detach())
        x = module(x).detach()
    return inputs, outputs


def test_codes_of_torch_file_and_simulator_are_the_same(trained, data, tmp_path):
    model, x = trained
    path = tmp_path / "net.safetensors"
    export(model, path, example=x)
    assert not model.training
    layers = read_checkpoint(path).linear_network()
    quantised = dict(quantized_weights(model))
    for layer in layers:
        q = quantised[f"{layer.name}.weight"]
        assert layer.weight_format == q.format == "szt"
        assert np.array_equal(layer.weight.T, q.codes)
        assert np.array_equal(layer.weight_scale, q.scale.reshape(-1))
    program = compile_network(layers, machine(), batch=64)
    test = torch.from_numpy(data.test_x.astype(np.float32)) * data.in_scale
    inputs, outputs = watched(model, test)
    assert [layer.relu for layer in layers] == [True, True, False]
    for i, layer in enumerate(layers):
        # the simulator, given torch's integers, has torch's accumulators: its outputs less the bias, in units
        one = compile_network([layer], machine(), batch=64)
        found = execute(one, inputs[i])[0].run.output - one.layers[0].bias
        weight = formats.get("szt").decode(layer.weight).astype(np.int64)
        assert np.array_equal(found, inputs[i] @ weight)
        unit = layer.in_scale * layer.weight_scale
        assert np.array_equal(np.rint((outputs[i].double().numpy() - layer.bias) / unit).astype(np.int64), found)
    last = execute(program, inputs[0])[-1].output
    right = (outputs[-1].argmax(1).numpy() == data.test_y).mean()
    assert right > 0.8
    # biases and requantisation of 16 bits are rounded: a few images near a border go either way
    assert (last.argmax(1) == data.test_y).mean() == pytest.approx(right, abs=0.01)


def test_whole_network_is_the_same_bit_for_bit(trained, data, tmp_path):
    """With biases that are whole accumulator units, and a multiplier of 31 bits, nothing is left to round apart."""
    model, x = trained
    model = copy.deepcopy(model).double()
    for module in model:
        if isinstance(module, nn.Linear):
            unit = module.input_quantizer.step * torch.from_numpy(
                module.weight_quantizer.codes(module.weight).scale.reshape(-1)
            )
            module.bias.data = (module.bias / unit).round() * unit
    checkpoint = export(model, tmp_path / "net.safetensors", example=x.double())
    layers = checkpoint.linear_network()
    program = compile_network(layers, machine(multiplier_bits=31), batch=64)
    test = torch.from_numpy(data.test_x.astype(np.float64)) * data.in_scale
    inputs, outputs = watched(model, test)
    runs = execute(program, inputs[0])
    for i, (run, layer) in enumerate(zip(runs, layers, strict=True)):
        assert np.array_equal(run.input, inputs[i])
        unit = layer.in_scale * layer.weight_scale
        assert np.array_equal(run.run.output, np.rint(outputs[i].numpy() / unit).astype(np.int64))
    assert np.array_equal(runs[-1].output, np.rint(outputs[-1].numpy() / layers[-1].out_scale).astype(np.int64))
    accuracies = [(logits.argmax(1) == data.test_y).mean() for logits in (runs[-1].output, outputs[-1].numpy())]
    assert accuracies[0] == accuracies[1] > 0.8


def test_a_wrong_code_would_be_seen(trained, data):
    model, x = trained
    layer = model[0]
    weight = layer.weight_quantizer.codes(layer.weight)
    wrong = weight.codes.copy()
    wrong[3, 21] ^= 1
    found = integers(layer.input_quantizer.codes(x))
    products = [found @ formats.get("szt").decode(codes).T for codes in (weight.codes, wrong)]
    assert not np.array_equal(*products)


def test_output_unit_has_headroom(trained, tmp_path):
    model, x = trained
    layers = export(model, tmp_path / "a", example=x).linear_network()
    assert layers[-1].out_format == "int16"
    assert layers[-1].out_scale == pytest.approx(2 * model(x).abs().max().item() / 32767)


def test_same_network_same_bytes(trained, tmp_path):
    model, x = trained
    for name in "ab":
        export(model, tmp_path / name, example=x)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a", "b"]


class Everything(nn.Module):
    def __init__(self):
        super().__init__()
        self.symbol = nn.Embedding(9, 8, padding_idx=1)
        self.conv = nn.Conv1d(8, 8, 3, padding=1, groups=2)
        self.norm = nn.BatchNorm1d(8)
        self.up = nn.ConvTranspose1d(8, 8, 2, stride=2)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.hidden = nn.Linear(8, 8)
        self.head = nn.Linear(8, 9, bias=False)
        self.head.weight = self.symbol.weight

    def forward(self, x):
        y = self.up(torch.relu(self.norm(self.conv(self.symbol(x).transpose(1, 2))))).transpose(1, 2)
        y = self.attention(y, y, y, need_weights=False)[0]
        return self.head(torch.relu(self.hidden(y)))


def test_every_kind_of_layer(tmp_path):
    torch.manual_seed(0)
    x = torch.randint(0, 9, (3, 5))
    rules = (Rule(match="hidden", activation=INT8), *EVERYWHERE.rules)
    model = prepare(Everything(), Plan(rules=rules), example=x)
    export(model, tmp_path / "net", example=x)
    found = read_checkpoint(tmp_path / "net")
    layers = {layer.name: layer for layer in found.layers}
    kinds = "embedding", "conv1d", "conv_transpose1d", "attention", "linear", "linear", "linear"
    assert tuple(layer.kind for layer in found.layers) == kinds
    for name, q in quantized_weights(model):
        layer, _, key = name.rpartition(".")
        weight = layers[layer].weights[key]
        assert np.array_equal(weight.codes, q.codes) and np.array_equal(weight.scale, q.scale)
        assert weight.format == q.format
        assert np.array_equal(weight.values, q.values)
    assert layers["head"].weights["weight"].codes is not None
    assert np.array_equal(layers["hidden"].weights["weight"], model.hidden.weight.detach().numpy())
    assert layers["conv"].options == {
        "stride": [1],
        "padding": [1],
        "dilation": [1],
        "groups": 2,
        "padding_mode": "zeros",
    }
    assert layers["up"].options["output_padding"] == [0]
    assert layers["symbol"].options == {"padding_idx": 1}
    assert layers["attention"].options == {"num_heads": 2, "batch_first": True}
    assert (layers["conv"].relu, layers["hidden"].relu, layers["head"].relu) == (False, True, False)
    assert (layers["head"].follows, layers["hidden"].follows, layers["symbol"].first) == ("hidden", None, True)
    assert layers["up"].follows is None  # but a normalisation
    assert layers["symbol"].in_format is None and layers["head"].in_format == "int8"
    assert layers["conv"].in_scale == model.conv.input_quantizer.estimator.step
    assert set(found.other) == {
        f"norm.{n}" for n in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    }
    assert layers["head"].out_scale is not None and layers["hidden"].out_scale is None


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 5), nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, x):
        x = torch.flatten(x, 1)
        return self.c(self.b(nn.functional.relu(self.a(x))).relu()).relu()


def test_relu_of_every_spelling(tmp_path):
    model = prepare(Functional(), EVERYWHERE, example=X)
    layers = export(model, tmp_path / "net", example=X).linear_network()
    assert [(layer.name, layer.relu) for layer in layers] == [("a", True), ("b", True), ("c", True)]
    assert [layer.out_format for layer in layers] == ["int8", "int8", "int16"]
    assert layers[0].out_scale == layers[1].in_scale


class Residual(Functional):
    def forward(self, x):
        y = self.b(self.a(x))
        return self.c(y + torch.relu(y))


@pytest.mark.parametrize(
    ("model", "rules", "text"),
    [
        (
            Residual(),
            EVERYWHERE.rules,
            "layer 'c' does not plainly follow another: the network must be a chain of linear layers with nothing but "
            "ReLU between them",
        ),
        (Functional(), (Rule(match="a"), *EVERYWHERE.rules), "layer 'a' has float weights: quantise it"),
        (
            Functional(),
            (Rule(match="b", weight="szt"), *EVERYWHERE.rules),
            "layer 'b' takes float inputs: give it an activation estimator",
        ),
        (
            Functional(),
            (Rule(match="*", weight={"name": "szt", "axis": "input"}, activation=INT8),),
            "layer 'a' must have one weight scale, or one for each output, got scales of shape (1, 6)",
        ),
        (
            nn.Sequential(nn.Unflatten(1, (1, 6)), nn.Conv1d(1, 2, 3)),
            EVERYWHERE.rules,
            "layer '1' is a conv1d: only linear layers make a linear network",
        ),
    ],
)
def test_networks_that_are_no_chain_of_quantised_layers(model, rules, text, tmp_path):
    checkpoint = export(prepare(model, Plan(rules=rules), example=X), tmp_path / "net", example=X)
    with pytest.raises(InvalidValueError, match=f"^{re.escape(text)}$"):
        checkpoint.linear_network()


def test_pooling_is_no_plain_link(tmp_path):
    model = nn.Sequential(nn.Unflatten(1, (1, 6)), nn.Conv1d(1, 2, 3), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(2, 2, 1))
    layers = export(prepare(model, EVERYWHERE, example=X), tmp_path / "net").layers
    assert [(layer.name, layer.first, layer.follows, layer.relu) for layer in layers] == [
        ("1", False, None, True),
        ("4", False, None, False),
    ]


class Branching(nn.Module):
    """No tracer goes through it."""

    def forward(self, x):
        return x if x.sum() > 0 else -x


def test_untraceable_sequentials_are_followed(tmp_path):
    shared = nn.Linear(2, 2)
    model = nn.Sequential(
        *(nn.Linear(6, 5), nn.Dropout(0.5), nn.ReLU(), nn.Linear(5, 2), Branching(), nn.Linear(2, 2)),
        *(shared, nn.Linear(2, 2), shared),
    )
    layers = export(prepare(model, EVERYWHERE, example=X), tmp_path / "net").layers
    assert [(layer.name, layer.first, layer.follows, layer.relu) for layer in layers] == [
        ("0", False, None, True),
        ("3", False, "0", False),
        ("5", False, None, None),
        ("6", False, None, None),
        ("7", False, None, None),
    ]


def test_what_calls_the_sequential_of_an_untraceable_network_is_not_known(tmp_path):
    class Between(nn.Module):
        def __init__(self):
            super().__init__()
            self.s = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 2))
            self.branching = Branching()

        def forward(self, x):
            return self.s[1](torch.sigmoid(self.s[0](self.branching(x))))

    class Own(nn.Sequential):
        def forward(self, x):
            return self[2](self[1](torch.sigmoid(self[0](x))))

    for model in (Between(), Own(nn.Linear(6, 5), nn.Linear(5, 2), Branching())):
        layers = export(prepare(model, EVERYWHERE, example=X), tmp_path / "net").layers
        assert [(layer.follows, layer.relu) for layer in layers] == [(None, None), (None, None)]


def test_a_forward_of_one_object_and_a_kind_of_relu_are_in_no_chain(tmp_path):
    class Leaky(nn.ReLU):
        def forward(self, x):
            return torch.maximum(x, 0.1 * x)

    model = prepare(nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 4)), EVERYWHERE, example=X)
    original = model[0].forward
    model[0].forward = lambda x: original(x).sigmoid()
    assert export(model, tmp_path / "net").layers[1].follows is None
    for more in ([], [Branching()]):
        model = prepare(nn.Sequential(nn.Linear(6, 5), Leaky(), nn.Linear(5, 4), *more), EVERYWHERE, example=X)
        assert [layer.follows for layer in export(model, tmp_path / "net").layers] == [None, None]


def test_a_relu_before_the_first_layer_makes_no_chain(tmp_path):
    model = prepare(nn.Sequential(nn.ReLU(), nn.Linear(6, 3)), EVERYWHERE, example=X)
    checkpoint = export(model, tmp_path / "net", example=X)
    assert not checkpoint.layers[0].first
    text = "^the network must have one layer that takes its input, as it is, before all others, got 0$"
    with pytest.raises(InvalidValueError, match=text):
        checkpoint.linear_network()


def test_a_layer_is_a_chain_of_one(tmp_path):
    model = prepare(nn.Linear(6, 3), EVERYWHERE, example=X)
    (layer,) = export(model, tmp_path / "net", example=X).linear_network()
    assert (layer.name, layer.weight.shape, layer.relu) == ("0", (6, 3), False)
    assert np.array_equal(layer.weight.T, model.weight_quantizer.codes(model.weight).codes)


@pytest.mark.parametrize("place", ["a", "relu", "c", "whole"])
@pytest.mark.parametrize("traceable", [True, False])
@pytest.mark.parametrize("before", [True, False])
def test_hooks_are_in_no_chain(place, traceable, before, tmp_path):
    parts = {"a": nn.Linear(6, 5), "relu": nn.ReLU(), "c": nn.Linear(5, 4)}
    model = nn.Sequential(*parts.values(), *([] if traceable else [Branching()]))
    prepare(model, EVERYWHERE, example=X)
    module = parts.get(place, model)
    if before:
        module.register_forward_pre_hook(lambda module, inputs: (inputs[0].sigmoid(),))
    else:
        module.register_forward_hook(lambda module, inputs, output: output.sigmoid())
    checkpoint = export(model, tmp_path / "net", example=X)
    # a hook of a whole network is traced, and between no layers
    assert checkpoint.layers[1].follows == ("0" if place == "whole" and traceable else None)
    text = (
        "must have one layer that takes its input|does not plainly follow another|what follows layer '2' is not known"
    )
    with pytest.raises(InvalidValueError, match=text):
        checkpoint.linear_network()


def test_without_example_there_is_no_output_unit(tmp_path):
    checkpoint = export(prepare(Functional(), EVERYWHERE, example=X), tmp_path / "net")
    text = "layer 'c' lacks the scale of its output: export the model with an `example`"
    with pytest.raises(InvalidValueError, match=f"^{text}$"):
        checkpoint.linear_network()


def test_wrapped_networks(tmp_path):
    model = prepare(Functional(), EVERYWHERE, example=X)
    export(model, tmp_path / "plain", example=X)
    export(torch.compile(model, backend="eager"), tmp_path / "compiled", example=X)
    assert (tmp_path / "plain").read_bytes() == (tmp_path / "compiled").read_bytes()


def test_dead_weights_of_tequila_are_in_the_bias(tmp_path, monkeypatch):
    from tetrit import estimators
    from tetrit.estimators.adaptive import Tequila

    monkeypatch.setitem(estimators._CLASSES, "tequila", Tequila)
    rule = Rule(match="*", weight={"name": "tequila", "strength": 0.5}, activation=INT8)
    model = prepare(Functional(), Plan(rules=(rule,)), example=X)
    layer = export(model, tmp_path / "net").layers[0]
    extra = model.a.weight_quantizer.estimator.bias(model.a.weight.detach().numpy())
    assert extra.any()
    assert np.array_equal(layer.bias, model.a.bias.detach().numpy() + extra)
    assert isinstance(layer.weights["weight"], StoredWeight)


@pytest.mark.parametrize("activation", ["ste", {"name": "lsq", "axis": 1}])
def test_activations_without_a_fixed_scale(activation, tmp_path):
    model = prepare(Functional(), Plan(rules=(Rule(match="*", weight="szt", activation=activation),)), example=X)
    name = activation if isinstance(activation, str) else activation["name"]
    text = (
        f"layer 'a': the activation estimator '{name}' has no fixed scale, which hardware needs; use one scale that is "
        "learned ('lsq') or given ('ste_clipped' with `limit`)"
    )
    with pytest.raises(InvalidValueError, match=f"^{re.escape(text)}$"):
        export(model, tmp_path / "net")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_exported(tmp_path):
    with pytest.raises(InvalidValueError, match=r"^`model` must have been prepared, got no quantised layer$"):
        export(nn.Sequential(nn.Linear(2, 2), quantizer("szt")), tmp_path / "net")
    model = prepare(Functional(), EVERYWHERE, example=X)
    model.b.weight.data[1, 2] = torch.nan
    with pytest.raises(InvalidValueError, match=r"^layer 'b': `w` must be finite, got nan at index \(1, 2\)$"):
        export(model, tmp_path / "net")
    model = prepare(Functional(), EVERYWHERE, example=X)
    with pytest.raises(InvalidValueError, match=r"^cannot write checkpoint '.*no/net': No such file or directory$"):
        export(model, tmp_path / "no" / "net")


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_numbers_that_are_not_finite(value, tmp_path):
    model = prepare(Functional(), EVERYWHERE, example=X)
    model.b.bias.data[1] = value
    with pytest.raises(InvalidValueError, match=rf"^layer 'b': `bias` must be finite, got {value} at index \(1,\)$"):
        export(model, tmp_path / "net")
    model = prepare(Functional(), Plan(rules=(Rule(match="b", activation=INT8), *EVERYWHERE.rules)), example=X)
    model.b.weight.data[1, 2] = value
    with pytest.raises(
        InvalidValueError, match=rf"^layer 'b': `weight` must be finite, got {value} at index \(1, 2\)$"
    ):
        export(model, tmp_path / "net")
    model = nn.Sequential(prepare(nn.Linear(6, 3), EVERYWHERE, example=X), nn.Linear(3, 1))
    model[1].register_forward_hook(lambda module, inputs, output: output * value)
    text = rf"^`model` must give finite results for the `example`, got a magnitude of {value}$"
    with pytest.raises(InvalidValueError, match=text):
        export(model, tmp_path / "net", example=X)
    assert not list(tmp_path.iterdir())


def test_buffers_that_numpy_cannot_hold(tmp_path):
    model = prepare(Functional(), EVERYWHERE, example=X)
    model.register_buffer("table", torch.ones(3).to(torch.float8_e4m3fn))
    text = "'table' cannot be stored: it must be a dense tensor of a real dtype that numpy has, got torch.float8_e4m3fn"
    with pytest.raises(InvalidValueError, match=f"^{re.escape(text)}$"):
        export(model, tmp_path / "net")


def test_entries_that_a_hook_adds_to_the_state_dict(tmp_path):
    model = prepare(Functional(), EVERYWHERE, example=X)

    def more(module, state, prefix, local):
        state["nowhere.at.all"] = torch.ones(2)

    model.register_state_dict_post_hook(more)
    found = export(model, tmp_path / "net").other
    assert list(found) == ["nowhere.at.all"] and found["nowhere.at.all"].tolist() == [1, 1]


@pytest.mark.parametrize("path", ["", ".", "/", "a\0b"])
def test_paths_that_name_no_file(path):
    model = prepare(Functional(), EVERYWHERE, example=X)
    with pytest.raises(InvalidValueError, match=f"^{re.escape(f'`path` must name a file, got {path!r}')}$"):
        export(model, path)


def test_only_regular_files_are_replaced(tmp_path):
    model = prepare(Functional(), EVERYWHERE, example=X)
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe"):
        text = f"cannot write checkpoint '{tmp_path / name}': it is no regular file"
        with pytest.raises(InvalidValueError, match=f"^{re.escape(text)}$"):
            export(model, tmp_path / name)
    assert (tmp_path / "pipe").is_fifo() and len(list(tmp_path.iterdir())) == 2
