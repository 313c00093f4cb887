"""Checkpoints as integer networks; a small network on real images keeps its accuracy in integers."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from tetrit import hls
from tetrit.errors import InvalidValueError
from tetrit.hardware import ShiftArray
from tetrit.hls.integer import Product, channels_last
from tetrit.sim.execute import execute
from tetrit.train import digits
from tetrit.train.exporting import export
from tetrit.train.models.lenet import LeNet
from tetrit.train.models.resnet import ResNet
from tetrit.train.qat import Plan, Rule, fold_batchnorm, prepare

INT8 = {"name": "lsq", "format": "int8"}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Small tensors are slower on several."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data():
    return digits.load()


def images(pixels):
    return pixels.reshape(-1, 1, 8, 8)


def real(pixels):
    return torch.from_numpy(images(pixels).astype(np.float32) / 16)


def trained(model, data, steps, rate):
    torch.manual_seed(1)
    x, y = real(data.train_x), torch.from_numpy(data.train_y)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    for step in range(steps):
        batch = torch.arange(step * 64, step * 64 + 64) % len(x)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()
    return model.eval()


@pytest.fixture(scope="module")
def lenet(data):
    torch.manual_seed(0)
    model = LeNet(shape=(1, 8, 8), channels=(6, 12), kernel=3, hidden=(24,), classes=10)
    return trained(model, data, 200, 1e-2)


@pytest.fixture(scope="module")
def graph(lenet):
    return hls.from_torch(lenet, torch.zeros(64, 1, 8, 8))


def accuracy(net, data):
    out = net.run(channels_last(images(data.test_x)))[net.outputs[0]]
    return float((out.argmax(axis=1) == data.test_y).mean())


@pytest.mark.parametrize("fmt, drop", [("int8", 0.01), ("int4", 0.04), ("fp4_e2m1", 0.02), ("pot4z", 0.08)])
def test_post_training_quantisation_keeps_the_accuracy(lenet, graph, data, fmt, drop):
    with torch.no_grad():
        before = float((lenet(real(data.test_x)).argmax(1).numpy() == data.test_y).mean())
    assert before > 0.9
    net = hls.quantize(graph, real(data.train_x[:256]).numpy(), weight_format=fmt, scales={"x": data.in_scale})
    assert accuracy(net, data) >= before - drop


@pytest.fixture(scope="module")
def prepared(lenet, data, tmp_path_factory):
    """A network with signed-zero-ternary convolutions and an int4 head, trained a little further, and its file."""
    model = copy.deepcopy(lenet)
    rules = (
        Rule(match="head.*", weight={"name": "ste", "format": "int4", "axis": "output"}, activation=INT8),
        Rule(match="*", weight={"name": "szt", "axis": "output"}, activation=INT8),
    )
    x = real(data.train_x)
    prepare(model, Plan(rules=rules), example=x[:64])
    trained(model, data, 60, 3e-3)
    path = tmp_path_factory.mktemp("net") / "net.safetensors"
    return model, export(model, path, example=x), path


def test_a_convolutional_checkpoint_meets_its_graph(prepared, graph, data):
    model, checkpoint, path = prepared
    net = hls.load(path, graph=graph)  # all scales are in the file
    products = {node.name: node for node in net.nodes if isinstance(node, Product)}
    assert set(products) == {layer.name for layer in checkpoint.layers}
    for layer in checkpoint.layers:
        node, codes = products[layer.name], layer.weights["weight"].codes
        assert node.weight_format == layer.weights["weight"].format
        if codes.ndim == 4:
            assert (node.weight.reshape(*codes.shape[2:], codes.shape[1], -1) == codes.transpose(2, 3, 1, 0)).all()
        assert net.tensors[node.input].scale == pytest.approx(layer.in_scale, rel=1e-12)
    with torch.no_grad():
        wanted = model(real(data.test_x)).numpy()
    found = net.decode(net.run(net.encode(channels_last(real(data.test_x).numpy())))[net.outputs[0]])
    # biases are rounded to units of the accumulator, an eighth of an output's here: some results are one unit apart
    assert (found.argmax(1) == wanted.argmax(1)).mean() > 0.98
    assert np.abs(found - wanted).max() < 0.05 * np.abs(wanted).max()
    assert (wanted.argmax(1) == data.test_y).mean() > 0.85


def test_a_chain_is_what_the_compiler_makes(data, tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10))
    x = torch.from_numpy(data.train_x[:200].astype(np.float32)) * data.in_scale
    prepare(model, Plan(rules=(Rule(match="*", weight="szt", activation=INT8),)), example=x)
    checkpoint = export(model, tmp_path / "net.safetensors", example=x)
    net = hls.load(tmp_path / "net.safetensors", acc_bits=24)
    machine = ShiftArray(rows=8, cols=8, acc_bits=24)
    program = hls.compile_network(checkpoint.linear_network(), machine, batch=50)
    pixels = data.test_x[:50].astype(np.int64)
    runs = execute(program, pixels)
    traced = net.trace(pixels)
    assert [node.name for node in net.nodes] == ["0", "2"]
    for run in runs:
        assert (traced[run.layer.name] == run.output).all()
    assert traced["2"].any()


@pytest.mark.parametrize("fold", [True, False])
def test_branches_and_normalisation_need_a_calibration_only(data, tmp_path, fold):
    torch.manual_seed(0)
    model = ResNet(channels=1, widths=(4, 6), blocks=1, classes=10)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.running_mean, -0.2, 0.2)
            nn.init.uniform_(part.running_var, 0.2, 0.5)
            nn.init.uniform_(part.weight, -1.0, 1.0)
    x = real(data.train_x[:64])
    model.eval()
    if fold:
        fold_batchnorm(model)
    graph = hls.from_torch(model, x)
    rule = Rule(match="*", weight={"name": "ste", "format": "int6", "axis": "output"}, activation=INT8)
    prepare(model, Plan(rules=(rule,)), example=x).eval()
    export(model, tmp_path / "net.safetensors", example=x)
    with pytest.raises(InvalidValueError, match=r"^`calibration` is needed for the scales of 'stages\.0\.second\."):
        hls.load(tmp_path / "net.safetensors", graph=graph)
    net = hls.load(tmp_path / "net.safetensors", graph=graph, calibration=x.numpy())
    with torch.no_grad():
        wanted = model(x).numpy()
    found = net.decode(net.run(net.encode(channels_last(x.numpy())))[net.outputs[0]])
    assert np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.995
    assert np.abs(found - wanted).max() < 0.1 * np.abs(wanted).max()


def changed(prepared, tmp_path, **changes):
    """Write the checkpoint with something changed."""
    path = tmp_path / "changed.safetensors"
    hls.write_checkpoint(replace(prepared[1], **changes), path)
    return path


def test_refusals(prepared, graph, tmp_path):
    _, checkpoint, path = prepared
    with pytest.raises(InvalidValueError) as found:
        hls.load(path)
    assert str(found.value).startswith(f"checkpoint '{path}' is no chain of linear layers, give its `graph`: layer '")
    with pytest.raises(InvalidValueError, match=r"^`percentile` needs a `graph`$"):
        hls.load(path, percentile=99.0)
    with pytest.raises(TypeError, match=r"^`graph` must be a Graph, got 'net'$"):
        hls.load(path, graph="net")
    other = hls.from_torch(nn.Sequential(nn.Conv2d(1, 2, 3)), torch.zeros(1, 1, 8, 8))
    with pytest.raises(InvalidValueError) as found:
        hls.load(path, graph=other)
    assert str(found.value) == "layer 'features.0': the graph lacks its constant 'features.0.weight'"
    with pytest.raises(InvalidValueError) as found:
        hls.load(changed(prepared, tmp_path, layers=checkpoint.layers[:-1]), graph=graph)
    last = checkpoint.layers[-1].name
    assert str(found.value) == (f"the graph has '{last}.bias', which the checkpoint lacks: is it of the same network?")
    with pytest.raises(InvalidValueError) as found:
        hls.load(changed(prepared, tmp_path, other={"norm.weight": np.ones(3)}), graph=graph)
    assert str(found.value) == "the checkpoint has 'norm.weight', which the graph lacks: is it of the same network?"
    first = replace(checkpoint.layers[0], kind="conv3d")
    with pytest.raises(InvalidValueError) as found:
        hls.load(changed(prepared, tmp_path, layers=(first, *checkpoint.layers[1:])), graph=graph)
    assert str(found.value) == (
        "layer 'features.0': a layer of kind conv3d has no integer form; known are linear, conv1d, conv2d"
    )
    first = replace(checkpoint.layers[0], in_format="fp4_e2m1")
    with pytest.raises(InvalidValueError) as found:
        hls.load(changed(prepared, tmp_path, layers=(first, *checkpoint.layers[1:])), graph=graph)
    assert str(found.value) == "layer 'features.0': its inputs are fp4_e2m1, an integer network takes integers only"
    first = replace(checkpoint.layers[0], in_format=None, in_scale=None)
    with pytest.raises(InvalidValueError) as found:
        hls.load(changed(prepared, tmp_path, layers=(first, *checkpoint.layers[1:])), graph=graph)
    assert str(found.value) == "`calibration` is needed for the scales of 'x', which the network leaves open"
