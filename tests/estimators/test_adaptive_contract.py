"""What adaptive estimators keep besides the common contract: biases, zeros, draws, threads, a training."""

import ml_dtypes
import numba
import numpy as np
import pytest

from tetrit.estimators.adaptive import AdaPT, SwitchRule, Tequila, gradient_diversity, histogram_divergence, switch

ALL = [Tequila(), Tequila(threshold="twn", scale="kept", axis=0), AdaPT(), AdaPT(rounding="stochastic", word_length=5)]
LABELS = ["tequila", "tequila_kept", "adapt", "adapt_stochastic"]
FLOATS = [np.float16, np.float32, np.float64]

every = pytest.mark.parametrize("e", ALL, ids=LABELS)


@every
def test_straight_through(e):
    w = np.random.default_rng(0).normal(size=(6, 5))
    begun, latent = e.start(w)
    np.testing.assert_array_equal(latent, w)
    np.testing.assert_array_equal(begun.forward(latent), begun(latent).values)
    assert begun.at(0.5) == begun
    assert e.straight_through


def test_bfloat16_gradients_of_the_bias():
    w, g = np.random.default_rng(2).normal(size=(2, 4, 9)).astype(ml_dtypes.bfloat16)
    h = np.arange(4).astype(ml_dtypes.bfloat16)
    for e in ALL[:2]:
        wide = e.backward(w, g.astype(np.float32), grad_bias=h.astype(np.float64))
        np.testing.assert_array_equal(e.backward(w, g, grad_bias=h), wide)


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


def test_rounding_to_the_nearest_draws_nothing():
    rng = np.random.default_rng(0)
    AdaPT().forward(np.random.default_rng(3).normal(size=(8, 9)), rng=rng)
    assert rng.random() == np.random.default_rng(0).random()


def test_the_number_of_threads_changes_nothing(monkeypatch):
    rng = np.random.default_rng(5)
    w, g = rng.normal(size=(2, 500, 1200)).astype(np.float32)
    results = []
    for threads in (1, 3):
        monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", threads)
        results.append((histogram_divergence(w, g), gradient_diversity([w, g])))
    assert results[0] == results[1]


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
