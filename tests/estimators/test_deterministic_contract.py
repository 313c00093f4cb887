"""What every surrogate estimator keeps: frozen, exact for any layout and thread count, clear errors, no compiler."""

import doctest
import importlib
import pickle
import re
from dataclasses import FrozenInstanceError

import numba
import numpy as np
import pytest

from tetrit import formats
from tetrit.errors import InvalidValueError
from tetrit.estimators import SZT, deterministic

ALL = [
    deterministic.ReSTE(),
    deterministic.ReSTE(axis=1),
    deterministic.BiPer(),
    deterministic.BiPer(stage=1),
    deterministic.SRSTE(),
    deterministic.SRSTE(inner=SZT(axis=1)),
    deterministic.TanhClip(),
    deterministic.StatsQ(cga=0.2),
    deterministic.StatsQ(bits=8, axis=1),
]
each = pytest.mark.parametrize("e", ALL, ids=[f"{e.name}-{i}" for i, e in enumerate(ALL)])


def results(e, w, g):
    q = e(w)
    return [q.codes, q.scale, q.values, e.forward(w), e.backward(w, g)]


def same_bits(these, those):
    for this, that in zip(these, those, strict=True):
        assert this.dtype == that.dtype
        assert this.shape == that.shape
        assert np.ascontiguousarray(this).tobytes() == np.ascontiguousarray(that).tobytes()


@each
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_contract(e, dtype):
    assert hash(e) == hash(pickle.loads(pickle.dumps(e)))
    assert pickle.loads(pickle.dumps(e)) == e
    with pytest.raises(FrozenInstanceError):
        e.name = "other"
    rng = np.random.default_rng(0)
    begun, latent = e.start(rng.normal(size=(8, 5)).astype(dtype))
    assert latent.dtype == dtype
    q = begun(latent)
    assert q.codes.shape == (8, 5)
    assert q.codes.dtype.kind == "u"
    assert q.scale.dtype == np.float64
    assert (q.scale > 0).all()
    assert np.isfinite(formats.get(q.format).values[q.codes]).all()
    assert begun.forward(latent).dtype == np.float64
    assert begun.backward(latent, np.ones((8, 5), dtype)).dtype == dtype


@each
def test_layout_width_and_byte_order_change_nothing(e):
    rng = np.random.default_rng(1)
    w, g = rng.normal(size=(2, 12, 7)).astype(np.float16)
    kept, gave = w.copy(), g.copy()
    wanted = results(e, w, g)
    same_bits(results(e, np.asfortranarray(w), np.asfortranarray(g)), wanted)
    wide = np.zeros((24, 21), np.float16)
    wide[::2, ::3] = w
    same_bits(results(e, wide[::2, ::3], g[::-1][::-1]), wanted)
    same_bits(results(e, w.astype(">f4"), g), wanted)
    same_bits(results(e, w.astype(np.float64), g), wanted)
    np.testing.assert_array_equal(w, kept)
    np.testing.assert_array_equal(g, gave)


@each
def test_out_is_written(e):
    rng = np.random.default_rng(2)
    w, g = rng.normal(size=(2, 12, 7))
    wanted = e.backward(w, g)
    for out in (np.empty((12, 7)), np.empty((12, 7), order="F"), np.empty((12, 14))[:, ::2], g.copy()):
        assert e.backward(w, g, out=out) is out
        np.testing.assert_array_equal(out, wanted)
    in_place = g.copy()
    np.testing.assert_array_equal(e.backward(w, in_place, out=in_place), wanted)
    text = "`out` must have the shape and dtype of `grad_out`, (12, 7) and float64, got (12, 7) and float32"
    with pytest.raises(InvalidValueError, match="^" + re.escape(text) + "$"):
        e.backward(w, g, out=np.empty((12, 7), np.float32))


@each
def test_zeros_constants_and_nothing(e):
    for w in (np.zeros((4, 3)), np.full((4, 3), -0.0), np.full((4, 3), 0.25), np.zeros((0, 3)), np.zeros((4, 0))):
        q = e(w)
        assert q.codes.shape == w.shape
        assert np.isfinite(q.values).all()
        assert (q.scale > 0).all()
        assert np.isfinite(e.backward(w, np.ones(w.shape))).all()
        if not w.any():
            assert (q.scale == 1.0).all()


@each
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_bad_weights(e, bad):
    w = np.ones((40, 3))
    w[33, 2] = bad
    text = "^" + re.escape(f"`w` must be finite, got {bad} at index (33, 2)") + "$"
    with pytest.raises(InvalidValueError, match=text):
        e(w)
    with pytest.raises(InvalidValueError, match=text):
        e.forward(w)


@each
def test_bad_gradients_and_dtypes(e):
    w = np.ones((4, 2))
    with pytest.raises(InvalidValueError, match=r"^`grad_out` must have shape \(4, 2\), got \(2,\)$"):
        e.backward(w, np.ones(2))
    with pytest.raises(TypeError, match=r"^`w` must be a float16, float32 or float64 array, got int64$"):
        e(np.ones((4, 2), np.int64))
    with pytest.raises(TypeError, match=r"^`grad_out` must be a float16, float32 or float64 array, got bool$"):
        e.backward(w, np.ones((4, 2), bool))


@pytest.mark.parametrize("e", [deterministic.ReSTE(), deterministic.StatsQ(axis=0)])
def test_a_sum_that_overflows(e):
    text = "^`w` must have a sum of magnitudes that float64 can hold, got an overflow$"
    with pytest.raises(InvalidValueError, match=text):
        e(np.full((2, 2), 1.7e308))


def test_the_number_of_threads_changes_nothing(monkeypatch):
    w, g = np.random.default_rng(3).normal(size=(2, 600, 500)).astype(np.float32)
    answers = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", threads)
        answers.append([array for e in ALL for array in results(e, w, g)])
        answers[-1].append(deterministic.TanhClip().after_step(w))
    same_bits(answers[0], answers[1])
    same_bits(answers[0], answers[2])


@pytest.mark.parametrize("module", ["reste", "biper", "sr_ste", "tanh_clip", "statsq"])
def test_documented_examples(module):
    result = doctest.testmod(importlib.import_module(f"tetrit.estimators.deterministic.{module}"))
    assert result.attempted > 0
    assert result.failed == 0


PROBE = """
import hashlib
import numpy as np
from tetrit.estimators import deterministic as s

digest = hashlib.sha256()
rng = np.random.default_rng(7)
for e in (s.ReSTE(power=2.3), s.BiPer(stage=1), s.BiPer(), s.SRSTE(), s.TanhClip(), s.StatsQ(cga=0.2)):
    for dtype in (np.float16, np.float32, np.float64):
        for shape in ((8, 30), (1, 33000)) if dtype == np.float32 and e.name != "sr_ste" else ((8, 30),):
            w, grad = rng.normal(size=(2, *shape)).astype(dtype)
            q = e(w)
            for array in (q.codes, q.scale, q.values, e.forward(w), e.backward(w, grad), s.TanhClip().after_step(w)):
                digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(repr((s.estimating_error(w, power=3.0), s.gradient_variance(w), s.biper_penalty(w))).encode())
print(digest.hexdigest())
"""


def test_without_the_compiler_the_bits_are_the_same(same_without_the_compiler):
    same_without_the_compiler(PROBE)
