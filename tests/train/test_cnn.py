"""The convolutional trainer in numpy: forward by loops, gradients by differences, ranges that branches share."""

import copy
import re

import numpy as np
import pytest

from tetrit.errors import InvalidValueError
from tetrit.flow.conv_graph import integer_graph
from tetrit.hardware import ShiftArray
from tetrit.train import cnn, digits
from tetrit.train.cnn import Block, Config
from tetrit.train.network import cross_entropy

SMALL = Config(
    blocks=(Block(channels=6), Block(channels=6, residual=True), Block(channels=8, stride=2, pool=2)),
    epochs=10,
    quantized_epochs=8,
    rate=6e-3,
)


@pytest.fixture(scope="module")
def data():
    return digits.load()


@pytest.fixture(scope="module")
def plain(data):
    return cnn.train_float(data, seed=0, config=SMALL)


@pytest.fixture(scope="module")
def trained(data, plain):
    return cnn.train_quantized(data, plain, "szt", seed=0, config=SMALL)


def convolved(x, weight, bias, block):
    """Return a convolution by loops, float64."""
    half, size, stride = block.kernel // 2, block.kernel, block.stride
    n, height, width, channels = x.shape
    padded = np.zeros((n, height + 2 * half, width + 2 * half, channels))
    padded[:, half : half + height, half : half + width] = x
    rows, columns = -(-height // stride), -(-width // stride)
    out = np.zeros((n, rows, columns, block.channels))
    kernel = weight.astype(np.float64).reshape(size, size, channels, block.channels)
    for y in range(rows):
        for z in range(columns):
            window = padded[:, y * stride : y * stride + size, z * stride : z * stride + size]
            out[:, y, z] = np.einsum("nabc,abco->no", window, kernel) + bias
    return out


def by_loops(network, x):
    """Return the logits of a float network by loops."""
    x = x.astype(np.float64)
    for stage in network.stages:
        y = convolved(x, stage.layer.latent, stage.layer.bias, stage.block)
        x = np.maximum(x + y if stage.block.residual else y, 0)
        size = stage.block.pool
        if size > 1:
            rows, columns = x.shape[1] // size, x.shape[2] // size
            pooled = [
                x[:, r * size : (r + 1) * size, c * size : (c + 1) * size].max(axis=(1, 2))
                for r in range(rows)
                for c in range(columns)
            ]
            x = np.stack(pooled, axis=1).reshape(len(x), rows, columns, -1)
    last = network.layers[-1]
    return x.reshape(len(x), -1) @ last.latent + last.bias


@pytest.mark.parametrize(
    "blocks",
    [
        SMALL.blocks,
        (Block(channels=3, kernel=5), Block(channels=3, kernel=1, residual=True, pool=3)),
        (Block(channels=4, stride=3), Block(channels=5, kernel=1, stride=2)),
    ],
)
def test_forward_is_that_of_loops(data, blocks):
    config = Config(blocks=blocks, epochs=1)
    network = cnn.train_float(data, seed=1, config=config).network
    x = (data.test_x[:7] * np.float32(data.in_scale)).reshape(-1, 8, 8, 1)
    np.testing.assert_allclose(network.forward(x), by_loops(network, x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("field", ["latent", "bias"])
def test_gradients_are_those_of_differences(data, plain, place, field):
    network, rng = copy.deepcopy(plain.network), np.random.default_rng(place)
    for layer in network.layers:  # in float64, for differences over steps that cross no corner of a ReLU
        layer.latent, layer.bias = layer.latent.astype(np.float64), layer.bias.astype(np.float64)
    x = (data.train_x[:32] * data.in_scale).reshape(-1, 8, 8, 1)
    target = np.eye(10)[data.train_y[:32]]
    _, grad = cross_entropy(network.forward(x, record=True), target)
    found = network.backward(grad)[place][field == "bias"]
    array = getattr(network.layers[place], field)
    kept, step = array.copy(), 1e-7
    slopes = []
    for _ in range(4):
        along = rng.normal(size=array.shape)
        losses = []
        for sign in (1, -1):
            array[...] = kept + sign * step * along
            losses.append(cross_entropy(network.forward(x), target)[0])
        array[...] = kept
        slopes.append(((losses[0] - losses[1]) / (2 * step), float((found * along).sum())))
    differences, gradients = np.array(slopes).T
    scale = np.abs(gradients).max()
    assert scale > 0
    np.testing.assert_allclose(differences, gradients, atol=1e-4 * scale)


def test_it_learns(plain, trained):
    assert plain.accuracy > 0.8
    assert trained.accuracy > 0.8
    assert [len(net.history) for net in (plain, trained)] == [10, 8]
    assert trained.history[-1].loss < trained.history[0].loss


def test_branches_that_meet_have_one_range(trained):
    first, second, _ = trained.network.stages
    assert first.layer.limit == second.layer.limit is not None
    assert second.limit is not None
    assert second.out_limit == second.limit


def test_the_same_seed_gives_the_same_network(data, plain):
    again = cnn.train_float(data, seed=0, config=SMALL)
    for one, other in zip(plain.network.layers, again.network.layers, strict=True):
        np.testing.assert_array_equal(one.latent, other.latent)


def test_integers_follow_the_quantised_network(data, trained):
    machine = ShiftArray(rows=8, cols=8, dataflow="output_stationary")
    graph = integer_graph(trained, data.train_x, data.in_scale, machine)
    images = data.test_x.astype(np.int64).reshape(-1, 8, 8, 1)
    integers = graph.run(images)["fc"]
    logits = trained.network.forward((data.test_x * np.float32(data.in_scale)).reshape(-1, 8, 8, 1))
    scale = graph.tensors["fc"].scale
    apart = np.abs(integers - logits / scale)  # in units of the int8 logits: each layer rounds on its own
    assert apart.mean() < 1
    assert apart.max() < 8
    assert (integers.argmax(axis=1) == data.test_y).mean() == pytest.approx(trained.accuracy, abs=0.02)
    assert [node.name for node in graph.nodes] == ["conv1", "conv2", "sum2", "conv3", "pool3", "flatten", "fc"]


def test_a_float_network_has_no_integers(data, plain):
    with pytest.raises(InvalidValueError, match=r"^`trained` must be a quantised network, got a float one$"):
        integer_graph(plain, data.train_x, data.in_scale, ShiftArray(rows=8, cols=8, dataflow="output_stationary"))


def test_what_is_refused(data, trained):
    cases = [
        (lambda: Block(channels=0), "`channels` must be a positive integer, got 0"),
        (lambda: Block(channels=4, kernel=2), "`kernel` must be odd, got 2"),
        (lambda: Block(channels=4, stride=2, residual=True), "`stride` of a residual block must be 1, got 2"),
        (lambda: Config(blocks=()), "`blocks` must have at least one block, got none"),
        (lambda: Config(rate=0.0), "`rate` must be above 0, got 0"),
        (lambda: Config(smoothing=1.0), "`smoothing` must be at least 0 and below 1, got 1"),
        (
            lambda: Config(blocks=(Block(channels=4), Block(channels=5, residual=True))).shapes((8, 8, 1)),
            "`channels` of residual block 2 must be the 4 of its input, got 5",
        ),
        (
            lambda: Config(blocks=(Block(channels=4, pool=9),)).shapes((8, 8, 1)),
            "`pool` of block 1 must fit its map, got 9",
        ),
        (
            lambda: cnn.train_quantized(data, trained, "szt", seed=0),
            "`start` must be a float network, got one trained with 'szt'",
        ),
        (lambda: cnn.train_float(data, seed=-1), "`seed` must be a non-negative integer, got -1"),
    ]
    for call, text in cases:
        with pytest.raises(InvalidValueError, match=rf"^{re.escape(text)}$"):
            call()
    with pytest.raises(TypeError, match=r"^`residual` must be true or false, got 1$"):
        Block(channels=4, residual=1)
    with pytest.raises(TypeError, match=r"^`blocks` must be of class Block, got 3$"):
        Config(blocks=(3,))
