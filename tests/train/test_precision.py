"""Formats layer by layer: scales, losses, what is trained and exported, and the same in PyTorch; the engine agrees."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from tetrit import estimators, formats, hardware, hls
from tetrit.errors import InvalidValueError
from tetrit.sim.execute import execute
from tetrit.train import choose_formats, digits, format_plan, low_bit_layers, mlp, prepare
from tetrit.train.precision import (
    FormatPair,
    activation_rules,
    export_codes,
    format_losses,
    post_training,
    rounded_biases,
    weight_rules,
)

FP4, P8, P16 = (FormatPair(act=name, weight=name) for name in ("fp4_e2m1", "posit8_0", "posit16_1"))
MIXED = FormatPair(act="posit8_0", weight="fp4_e2m1")
CONFIG = mlp.Config(hidden=(16, 12), epochs=25, quantized_epochs=10)


@pytest.fixture(scope="module")
def data():
    return digits.load()


@pytest.fixture(scope="module")
def start(data):
    return mlp.train_float(data, seed=0, config=CONFIG)


@pytest.fixture(scope="module")
def x(data):
    return data.train_x[:200] * np.float32(data.in_scale)


def test_bits_and_names_of_pairs():
    assert [(pair.bits, str(pair)) for pair in (FP4, MIXED, P16)] == [
        (4, "fp4_e2m1"),
        (8, "posit8_0 x fp4_e2m1"),
        (16, "posit16_1"),
    ]


def test_scales_are_powers_of_two_per_output_for_fp4_only(start, x):
    network = post_training(start, x, [FP4, P8, MIXED])
    scales = [layer.estimator(layer.latent).scale for layer in network.layers]
    assert [scale.shape for scale in scales] == [(1, 16), (), (1, 10)]
    fixed = [network.input.scale, *(layer.output.scale for layer in network.layers[:-1])]
    for scale in (*fixed, *(entry for array in scales for entry in array.ravel())):
        assert np.frexp(scale)[0] == 0.5
    assert start.network.layers[0].estimator is None


def test_wider_formats_lose_less_and_a_rounded_layer_alone_is_measured(start, x):
    losses = format_losses(start, x, [FP4, P8, P16])
    assert losses.shape == (3, 3)
    assert (np.diff(losses, axis=1) < 0).all()
    assert (losses[:, 2] < 1e-5).all()


@pytest.mark.parametrize("pairs", [(FP4, FP4, FP4), (P8, MIXED, P16)], ids=["fp4", "mixed"])
def test_the_engine_gives_what_the_rounded_network_gives(start, data, x, pairs):
    """With biases of whole units; sums of FP4 are exact in float32, those of posits but for ties and last bits."""
    trained = mlp.train_layers(
        data, start, weight_rules(pairs), activation_rules(start, x, pairs), seed=0, config=CONFIG
    )
    network = rounded_biases(trained.network)
    layers = export_codes(network, data, "posit16_1")
    assert [layer.weight_format for layer in layers] == [pair.weight for pair in pairs]
    assert [layer.in_format for layer in layers] == [pair.act for pair in pairs]
    program = hls.compile_network(layers, hardware.load("simd_4x4"), batch=1)
    test_x = data.test_x * np.float32(data.in_scale)
    found = program.decode(execute(program, program.encode(test_x))[-1].output)
    wanted = network.forward(test_x)
    if pairs[0] == FP4:
        results = estimators.FormatSTE(format="posit16_1", scale=layers[-1].out_scale)
        assert (found == results.forward(wanted)).all()
    same = found.argmax(axis=1) == wanted.argmax(axis=1)
    assert same.mean() > 0.995
    assert np.median(np.abs(found - wanted)) < 1e-3 * np.abs(wanted).max()
    assert trained.accuracy > 0.8


def test_the_same_seed_gives_the_same_network(start, data, x):
    pairs = [P8, FP4, P8]
    one, two = (
        mlp.train_layers(data, start, weight_rules(pairs), activation_rules(start, x, pairs), seed=4, config=CONFIG)
        for _ in range(2)
    )
    assert all((a.latent == b.latent).all() for a, b in zip(one.network.layers, two.network.layers, strict=True))


def test_refusals(start, data, x):
    with pytest.raises(InvalidValueError, match=r"^`pairs` must have one for each of 3 layers, got 1$"):
        post_training(start, x, [FP4])
    half = post_training(start, x, [FP4, None, FP4])
    with pytest.raises(
        InvalidValueError, match=r"^output of layer 'fc1' has no FormatSTE estimator with one fixed scale$"
    ):
        export_codes(half, data, "posit16_1")
    with pytest.raises(InvalidValueError, match=r"^`weights` and `activations` must have an estimator for each of 3"):
        mlp.train_layers(data, start, [], [], seed=0)
    pairs = [P8, P8, P8]
    trained = mlp.train_layers(
        data, start, weight_rules(pairs), activation_rules(start, x, pairs), seed=0, config=CONFIG
    )
    with pytest.raises(
        InvalidValueError, match=r"^`start` must be a float network, got one trained with 'ste_format'$"
    ):
        mlp.train_layers(data, trained, weight_rules(pairs), activation_rules(start, x, pairs), seed=0)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 8), nn.ReLU(), nn.Linear(8, 5))


@pytest.fixture(scope="module")
def images():
    return torch.rand(32, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def test_a_plan_gives_each_layer_its_formats(model, images):
    plan = format_plan(model, {"0": FP4, "3": P8, "5": MIXED}, images)
    rounded = prepare(copy.deepcopy(model), plan)
    found = low_bit_layers(rounded)
    for name, pair in (("0", FP4), ("3", P8), ("5", MIXED)):
        layer = found[name]
        q = layer.weight_quantizer.codes(layer.weight)
        assert q.format == pair.weight
        assert q.scale.size == (len(q.codes) if pair.weight == "fp4_e2m1" else 1)
        assert layer.input_quantizer.estimator.format == pair.act
    best = estimators.get("ste_format", format="fp4_e2m1").start(images.double().numpy())[0].scale
    assert found["0"].input_quantizer.estimator.scale == best
    with torch.no_grad():
        seen = found["0"].quantized_input(images) / best
    assert set(seen.unique().tolist()) <= set(formats.get("fp4_e2m1").values.tolist())


def test_a_choice_is_within_its_bound_and_leaves_the_model_alone(model, images):
    before = copy.deepcopy(model.state_dict())
    choice = choose_formats(model, [FP4, P8, P16], images, mean_bits=8.0)
    assert choice.macs == {"0": 36 * 36, "3": 4 * 36 * 8, "5": 40}
    bits = sum(choice.macs[name] * pair.bits for name, pair in choice.pairs.items()) / sum(choice.macs.values())
    assert choice.mean_bits == pytest.approx(bits)
    assert bits <= 8.0
    assert choice.losses.shape == (3, 3)
    assert (np.diff(choice.losses, axis=1) < 0).all()
    assert all((before[name] == value).all() for name, value in model.state_dict().items())
    wide = choose_formats(model, [FP4, P8, P16], images, mean_bits=16.0, loss=nn.functional.mse_loss)
    assert set(map(str, wide.pairs.values())) == {"posit16_1"}


def test_refusals_in_torch(model, images):
    with pytest.raises(InvalidValueError, match=r"^`pairs` must name at least one layer, got none$"):
        format_plan(model, {}, images)
    with pytest.raises(InvalidValueError, match=r"^`pairs` names '1', which is no linear or convolutional layer"):
        format_plan(model, {"1": FP4}, images)
    with pytest.raises(InvalidValueError, match=r"^`budget` must be at least"):
        choose_formats(model, [P8], images, mean_bits=4.0)
    with pytest.raises(InvalidValueError, match=r"^a choice needs at least one linear or convolutional layer and one"):
        choose_formats(nn.ReLU(), [P8], images, mean_bits=8.0)
