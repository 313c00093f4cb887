"""The trainer and its export: accuracy bars over three seeds, repeatability, exact integers, history, errors."""

import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from tetrit import estimators, formats
from tetrit.errors import InvalidValueError
from tetrit.train import digits, fitting, integers, mlp

SHORT = mlp.Config(epochs=3, quantized_epochs=3, hidden=(16,))


@pytest.fixture(scope="module")
def data():
    return digits.load()


@pytest.fixture(scope="module")
def floats(data):
    return [mlp.train_float(data, seed=seed) for seed in range(3)]


@pytest.fixture(scope="module")
def short(data):
    return mlp.train_float(data, seed=5, config=SHORT)


def bits(trained):
    return b"".join(layer.latent.tobytes() + layer.bias.tobytes() for layer in trained.network.layers)


def test_float_accuracy(floats):
    assert np.mean([trained.accuracy for trained in floats]) >= 0.975


@pytest.mark.parametrize(("name", "bar"), [("szt", 0.965), ("ste", 0.965), ("pot", 0.965), ("denseshift", 0.965)])
def test_integer_accuracy(name, bar, data, floats):
    fake, exact = [], []
    for start in floats:
        trained = mlp.train_quantized(data, start, name, seed=start.seed)
        layers = integers.export(trained, data)
        fake.append(trained.accuracy)
        exact.append(integers.integer_accuracy(layers, data.test_x, data.test_y))
    assert np.mean(exact) >= bar
    assert abs(np.mean(exact) - np.mean(fake)) <= 0.005


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_same_seed_gives_the_same_bits(threads, data, short):
    quantized = mlp.train_quantized(data, short, "szt", seed=5, config=SHORT)
    with threadpool_limits(threads, user_api="blas"):
        again = mlp.train_float(data, seed=5, config=SHORT)
        assert bits(again) == bits(short)
        other = mlp.train_quantized(data, again, "szt", seed=5, config=SHORT)
    assert bits(other) == bits(quantized)
    assert other.history == quantized.history
    for a, b in zip(integers.export(other, data), integers.export(quantized, data), strict=True):
        assert a.weight.tobytes() == b.weight.tobytes()
        assert (a.in_scale, a.out_scale) == (b.in_scale, b.out_scale)


def test_another_seed_gives_another_network(data, short):
    assert bits(mlp.train_float(data, seed=6, config=SHORT)) != bits(short)


def test_the_start_is_not_changed(data, short):
    before = bits(short)
    mlp.train_quantized(data, short, "szt", seed=0, config=SHORT)
    assert bits(short) == before


def test_history(data, short):
    assert len(short.history) == 3
    assert short.history[-1].loss < short.history[0].loss
    assert short.history[-1].train_accuracy > short.history[0].train_accuracy
    assert all(0 <= epoch.test_accuracy <= 1 for epoch in short.history)


def test_exported_layers(data, short):
    rule = estimators.get("szt", axis=1, threshold="absmean")
    trained = mlp.train_quantized(data, short, rule, seed=0, config=SHORT)
    layers = integers.export(trained, data)
    assert [layer.name for layer in layers] == ["fc1", "fc2"]
    assert [layer.weight.shape for layer in layers] == [(64, 16), (16, 10)]
    assert layers[0].in_scale == data.in_scale
    assert layers[1].in_scale == layers[0].out_scale
    assert [layer.out_format for layer in layers] == ["int8", "int16"]
    assert [layer.relu for layer in layers] == [True, False]
    for layer, source in zip(layers, trained.network.layers, strict=True):
        q = rule(source.latent)
        np.testing.assert_array_equal(layer.weight, q.codes)
        np.testing.assert_array_equal(layer.weight_scale, q.scale[0])


def test_integers_follow_the_fake_quantised_network(data, short):
    """Up to the float32 roundings of the fake-quantised network, which move a hidden integer by one at most."""
    trained = mlp.train_quantized(data, short, "szt", seed=0, config=SHORT)
    layers = integers.export(trained, data)
    hidden = integers.integer_logits(layers[:1], data.test_x)
    real = trained.network.layers[0]
    y = data.test_x.astype(np.float64) * data.in_scale @ real.weight().astype(np.float64) + real.bias
    wanted = np.clip(np.rint(y / layers[0].out_scale), 0, 127)
    assert np.abs(hidden - wanted).max() <= 1
    assert (hidden == wanted).mean() > 0.999
    assert (hidden.min(), hidden.max() <= 127) == (0, True)
    logits = trained.network.forward(data.test_x * np.float32(data.in_scale))
    got = integers.integer_logits(layers, data.test_x) * layers[1].out_scale
    assert np.abs(got - logits).max() <= 4 * layers[0].out_scale * layers[1].weight_scale.max()


def test_signed_zeros_count_as_zeros(data, short):
    layers = integers.export(mlp.train_quantized(data, short, "szt", seed=0, config=SHORT), data)
    assert (layers[0].weight == 2).any()
    plain = [replace(layer, weight=np.where(layer.weight == 2, 0, layer.weight).astype(np.uint8)) for layer in layers]
    logits = integers.integer_logits(layers, data.test_x)
    np.testing.assert_array_equal(logits, integers.integer_logits(plain, data.test_x))
    wrong = [replace(layer, weight=np.where(layer.weight == 2, 3, layer.weight).astype(np.uint8)) for layer in layers]
    assert (logits != integers.integer_logits(wrong, data.test_x)).any()


def test_weight_shares(data, short):
    layers = integers.export(mlp.train_quantized(data, short, "szt", seed=0, config=SHORT), data)
    for shares, layer in zip(integers.weight_shares(layers), layers, strict=True):
        assert shares.name == layer.name
        assert [value for value, _ in shares.shares] == ["+0", "+1", "-0", "-1"]
        assert sum(share for _, share in shares.shares) == pytest.approx(1)
        values = formats.get("szt").decode(layer.weight)
        assert dict(shares.shares)["-0"] == ((values == 0) & np.signbit(values)).mean()


def test_progress_bar(data, capsys):
    mlp.train_float(data, seed=2, config=SHORT, progress=True)
    drawn = capsys.readouterr().err
    assert "float, seed 2" in drawn
    assert "3/3" in drawn


def test_an_interruption_passes_through(data, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    before = [pool["num_threads"] for pool in threadpool_info()]
    monkeypatch.setattr(fitting, "cross_entropy", interrupt)
    with pytest.raises(KeyboardInterrupt):
        mlp.train_float(data, seed=0, config=SHORT, progress=True)
    assert [pool["num_threads"] for pool in threadpool_info()] == before


def test_training_does_not_load_torch():
    code = "import sys, tetrit.train; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("params", "error", "text"),
    [
        ({"hidden": ()}, InvalidValueError, "`hidden` must have at least one width, got none"),
        ({"hidden": (0,)}, InvalidValueError, "`hidden` must be a positive integer, got 0"),
        ({"epochs": 0}, InvalidValueError, "`epochs` must be a positive integer, got 0"),
        ({"batch": 1.5}, TypeError, "`batch` must be an integer, got 1.5"),
        ({"rate": 0}, InvalidValueError, "`rate` must be above 0, got 0"),
        ({"decay": -1}, InvalidValueError, "`decay` must be at least 0, got -1"),
        ({"distill": 1.5}, InvalidValueError, "`distill` must be from 0 to 1, got 1.5"),
        ({"smoothing": 1}, InvalidValueError, "`smoothing` must be at least 0 and below 1, got 1"),
        ({"average": 1}, InvalidValueError, "`average` must be at least 0 and below 1, got 1"),
    ],
)
def test_bad_config(params, error, text):
    with pytest.raises(error, match="^" + re.escape(text) + "$"):
        mlp.Config(**params)


def test_bad_calls(data, short):
    trained = mlp.train_quantized(data, short, "szt", seed=0, config=SHORT)
    with pytest.raises(InvalidValueError, match=r"^`start` must be a float network, got one trained with 'szt'$"):
        mlp.train_quantized(data, trained, "szt", seed=0)
    with pytest.raises(InvalidValueError, match=r"^`trained` must be a quantised network, got a float one$"):
        integers.export(short, data)
    with pytest.raises(InvalidValueError, match=r"^`seed` must be a non-negative integer, got -1$"):
        mlp.train_float(data, seed=-1)


@pytest.mark.parametrize("name", ["gauss_ws", "stochastic_rounding"])
def test_estimators_that_draw_get_a_generator(data, short, name):
    first, again = (mlp.train_quantized(data, short, name, seed=0, config=SHORT) for _ in range(2))
    other = mlp.train_quantized(data, short, replace(mlp.default_estimator(name), seed=1), seed=0, config=SHORT)
    latents = [np.concatenate([layer.latent.ravel() for layer in t.network.layers]) for t in (first, again, other)]
    np.testing.assert_array_equal(latents[0], latents[1])
    np.testing.assert_array_equal(latents[0], latents[2])  # in training the draws are the trainer's, not the seed's
    assert first.accuracy > 0.5


def test_latents_move_after_the_step(data, short):
    bound = 0.05
    trained = mlp.train_quantized(
        data, short, replace(mlp.default_estimator("tanh_clip"), bound=bound), seed=0, config=SHORT
    )
    assert all(np.abs(layer.latent).max() <= bound for layer in trained.network.layers)
