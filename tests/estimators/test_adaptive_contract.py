"""What the adaptive estimators keep: arrays, draws, errors, threads, the examples, no compiler."""

import doctest
import importlib
import pickle
import re
from dataclasses import FrozenInstanceError, replace

import ml_dtypes
import numba
import numpy as np
import pytest

from tetrit import formats
from tetrit.errors import InvalidValueError
from tetrit.estimators._kernels import CHUNK
from tetrit.estimators.adaptive import AdaPT, SwitchRule, Tequila, gradient_diversity, histogram_divergence, switch

ALL = [Tequila(), Tequila(threshold="twn", scale="kept", axis=0), AdaPT(), AdaPT(rounding="stochastic", word_length=5)]
LABELS = ["tequila", "tequila_kept", "adapt", "adapt_stochastic"]
FLOATS = [np.float16, np.float32, np.float64]

every = pytest.mark.parametrize("e", ALL, ids=LABELS)


def outcome(e, w, g):
    q = e(w)
    arrays = [q.codes, q.scale, q.values, e.forward(w), e.backward(w, g)]
    if isinstance(e, Tequila):
        h = np.linspace(-1.0, 2.0, w.shape[0])
        arrays += [e.bias(w), e.backward(w, g, grad_bias=h)]
    return [np.ascontiguousarray(a) for a in arrays]


def assert_same(a, b):
    for x, y in zip(a, b, strict=True):
        assert (x.dtype, x.shape) == (y.dtype, y.shape)
        assert x.tobytes() == y.tobytes()


@every
def test_contract(e):
    assert pickle.loads(pickle.dumps(e)) == e
    assert hash(e) == hash(replace(e))
    with pytest.raises(FrozenInstanceError):
        e.axis = 0
    w = np.random.default_rng(0).normal(size=(6, 5))
    begun, latent = e.start(w)
    np.testing.assert_array_equal(latent, w)
    assert not np.shares_memory(latent, w)
    q = begun(latent)
    assert q.codes.dtype == np.uint8
    assert q.codes.max() < 2 ** formats.get(q.format).bits
    np.testing.assert_array_equal(q.values, formats.get(q.format).decode(q.codes) * q.scale)
    np.testing.assert_array_equal(begun.forward(latent), q.values)
    assert begun.at(0.5) == begun
    assert e.straight_through
    np.testing.assert_array_equal(e.backward(w, 2 * w), 2 * w)


@every
@pytest.mark.parametrize("dtype", FLOATS)
def test_memory_order_and_input_type_change_nothing(e, dtype):
    rng = np.random.default_rng(1)
    wide, g = rng.normal(size=(2, 10, 7)).astype(dtype), rng.normal(size=(10, 7)).astype(dtype)
    w = np.ascontiguousarray(wide[1])
    before = w.copy()
    plain = outcome(e, w, g)
    for view in (np.asfortranarray(w), wide[1], np.flip(np.flip(w).copy()), w.astype(w.dtype.newbyteorder())):
        assert_same(outcome(e, view, np.asfortranarray(g)), plain)
    assert_same(outcome(e, w.astype(np.float64), g), plain)
    np.testing.assert_array_equal(w, before)
    w.flags.writeable = g.flags.writeable = False
    assert_same(outcome(e, w, g), plain)


@every
def test_bfloat16_is_its_float32(e):
    w, g = np.random.default_rng(2).normal(size=(2, 4, 9)).astype(ml_dtypes.bfloat16)
    assert_same(outcome(e, w, g), outcome(e, w.astype(np.float32), g.astype(np.float32)))
    if isinstance(e, Tequila):
        h = np.arange(4).astype(ml_dtypes.bfloat16)
        wide = e.backward(w, g.astype(np.float32), grad_bias=h.astype(np.float64))
        np.testing.assert_array_equal(e.backward(w, g, grad_bias=h), wide)


@every
@pytest.mark.parametrize("dtype", FLOATS)
def test_out_is_written(e, dtype):
    w, g = np.random.default_rng(3).normal(size=(2, 3, 5)).astype(dtype)
    for method, inputs in (("backward", (w, g)), ("forward", (w,))):
        call = getattr(e, method)
        wanted = call(*inputs).astype(dtype)
        for out in (np.empty((3, 5), dtype), np.empty((5, 3), dtype).T, np.empty((3, 10), dtype)[:, ::2]):
            assert call(*inputs, out=out) is out
            np.testing.assert_array_equal(out, wanted)


@every
@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (3, 0), (1,), (2, 3, 4)])
def test_any_shape(e, shape):
    e = replace(e, axis=None) if isinstance(e, Tequila) else e
    w = np.full(shape, 0.5)
    q = e(w)
    assert q.codes.shape == e.forward(w).shape == e.backward(w, np.ones(shape)).shape == shape
    assert np.isfinite(q.values).all()
    assert q.scale.shape == ()


@every
@pytest.mark.parametrize("w", [np.zeros(3), np.array([-0.0, -0.0]), np.zeros((0, 2))])
def test_nothing_to_represent_is_zero(e, w):
    assert not e(w).codes.any()
    np.testing.assert_array_equal(e.forward(w), np.abs(w))
    assert not np.signbit(e.forward(w)).any()


@every
@pytest.mark.parametrize("value", [1.5, -1.5, 5e-324, -1e300, 1.7e308])
def test_constant_tensors(e, value):
    w = np.full((1, 1), value)
    assert np.isfinite(e.forward(w)).all()
    assert np.isfinite(e(w).scale).all()


@every
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, CHUNK + 1])
def test_bad_weights(e, bad, place):
    w = np.ones((1, CHUNK + 10), np.float32)
    w[0, place] = bad
    pattern = "^" + re.escape(f"`w` must be finite, got {bad} at index (0, {place})") + "$"
    calls = [e, e.forward, e.bias] if isinstance(e, Tequila) else [e, e.forward]
    for call in calls:
        with pytest.raises(InvalidValueError, match=pattern):
            call(w)


@every
def test_bad_arrays(e):
    with pytest.raises(TypeError, match=r"^`w` must be a float16, float32 or float64 array, got int64$"):
        e(np.arange(3))
    with pytest.raises(TypeError, match=r"^`grad_out` must be a float16, float32 or float64 array, got bool$"):
        e.backward(np.ones(2), np.ones(2, bool))
    with pytest.raises(InvalidValueError, match=r"^`grad_out` must have shape \(2,\), got \(3,\)$"):
        e.backward(np.ones(2), np.ones(3))


def test_draws_come_from_the_generator_or_the_seed():
    e = AdaPT(rounding="stochastic", word_length=4)
    w = np.random.default_rng(3).normal(size=(8, 9))
    np.testing.assert_array_equal(e.forward(w), e.forward(w, rng=np.random.default_rng(0)))
    np.testing.assert_array_equal(replace(e, seed=11).forward(w), e.forward(w, rng=np.random.default_rng(11)))
    rng = np.random.default_rng(0)
    assert (e.forward(w, rng=rng) != e.forward(w, rng=rng)).any()
    two = np.random.default_rng(0)
    two.integers(2**64, size=2, dtype=np.uint64)
    assert rng.random() == two.random()  # exactly one key per call
    rng = np.random.default_rng(0)
    AdaPT().forward(w, rng=rng)
    assert rng.random() == np.random.default_rng(0).random()  # none to the nearest
    with pytest.raises(TypeError, match=r"^`rng` must be a numpy\.random\.Generator or None, got 3$"):
        e.forward(w, rng=3)


def test_the_number_of_threads_changes_nothing(monkeypatch):
    rng = np.random.default_rng(5)
    w, g = rng.normal(size=(2, 500, 1200)).astype(np.float32)
    results = []
    for threads in (1, 3):
        monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", threads)
        arrays = [a.tobytes() for e in ALL for a in outcome(e, w, g)]
        results.append((arrays, histogram_divergence(w, g), gradient_diversity([w, g])))
    assert results[0] == results[1]


@pytest.mark.parametrize("module", ["tequila", "adapt", "switching"])
def test_documented_examples(module):
    result = doctest.testmod(importlib.import_module(f"tetrit.estimators.adaptive.{module}"))
    assert result.failed == 0
    assert result.attempted > 4


PROBE = """
import hashlib
import numpy as np
from tetrit.estimators.adaptive import AdaPT, SwitchRule, Tequila, gradient_diversity, histogram_divergence, switch

digest = hashlib.sha256()
rng = np.random.default_rng(7)
for e in (Tequila(axis=0), Tequila(threshold="twn", outputs=1), AdaPT(), AdaPT(rounding="stochastic", word_length=9)):
    for dtype in (np.float16, np.float32, np.float64):
        for shape in ((3, 70), (1, 33000)) if dtype == np.float32 else ((3, 70),):
            w, grad = rng.normal(size=(2, *shape)).astype(dtype)
            q = e(w)
            arrays = [q.codes, q.scale, q.values, e.forward(w), e.backward(w, grad)]
            if isinstance(e, Tequila):
                h = np.linspace(-1.0, 1.0, shape[e.outputs])
                arrays += [e.bias(w), e.backward(w, grad, grad_bias=h)]
            for array in arrays:
                digest.update(np.ascontiguousarray(array).tobytes())
w = rng.normal(size=(4, 50))
digest.update(repr((histogram_divergence(w, w / 3, bins=3), gradient_diversity(list(w)))).encode())
print(digest.hexdigest(), switch(AdaPT(), w, [w, w * w], rule=SwitchRule(bins=5)).fraction_length)
"""


def test_without_the_compiler_the_bits_are_the_same(same_without_the_compiler):
    same_without_the_compiler(PROBE)


def test_a_training_that_switches_its_precision():
    """Least squares with AdaPT weights: the word shrinks to what the weights need, the loss still falls."""
    rng = np.random.default_rng(8)
    x, truth = rng.normal(size=(200, 6)), rng.normal(size=(6, 3))
    y = x @ truth
    w = np.zeros((6, 3))
    e, gradients, words = AdaPT(word_length=16, fraction_length=12), [], []
    for step in range(120):
        grad = e.backward(w, x.T @ (x @ e.forward(w) - y) / len(x))
        gradients.append(grad)
        w -= 0.1 * grad
        if step % 20 == 19:
            e = switch(e, w, gradients, rule=SwitchRule(bins=20))
            gradients = []
            words.append(e.word_length)
    assert max(words) < 16
    assert np.abs(e.forward(w) - truth).max() < 0.05
