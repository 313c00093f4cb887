"""What all stochastic and step-size estimators keep: arrays, draws, errors, threads, the examples, no compiler."""

import doctest
import importlib
import pickle
import re
from dataclasses import FrozenInstanceError, replace

import numba
import numpy as np
import pytest

from tetrit import formats
from tetrit.errors import InvalidValueError, UnknownNameError
from tetrit.estimators._kernels import CHUNK
from tetrit.estimators.stochastic import LOTION, LSQ, DoubleRounding, GaussWS, StochasticRounding

ALL = [StochasticRounding(), LOTION(), LOTION(form="sampled"), GaussWS(block=4), DoubleRounding(), LSQ()]
DRAWING = [StochasticRounding(), LOTION(form="sampled"), GaussWS(block=4)]
LABELS = ["stochastic_rounding", "lotion", "lotion_sampled", "gauss_ws", "double_rounding", "lsq"]
DRAWING_LABELS = ["stochastic_rounding", "lotion_sampled", "gauss_ws"]
FLOATS = [np.float16, np.float32, np.float64]

every = pytest.mark.parametrize("e", ALL, ids=LABELS)
drawing = pytest.mark.parametrize("e", DRAWING, ids=DRAWING_LABELS)


def outcome(e, w, g):
    q = e(w)
    arrays = [q.codes, q.scale, q.values, e.forward(w), e.backward(w, g)]
    return [np.ascontiguousarray(a) for a in arrays]


def assert_same(a, b):
    for x, y in zip(a, b, strict=True):
        assert x.dtype == y.dtype
        assert x.shape == y.shape
        assert x.tobytes() == y.tobytes()


@every
def test_contract(e):
    assert pickle.loads(pickle.dumps(e)) == e
    assert hash(e) == hash(replace(e))
    with pytest.raises(FrozenInstanceError):
        e.axis = 0
    w = np.random.default_rng(0).normal(size=(6, 5))
    begun, latent = e.start(w)
    q = begun(latent)
    assert q.codes.shape == (6, 5)
    assert q.codes.dtype == np.uint8
    assert q.codes.max() < 2 ** formats.get(q.format).bits
    assert q.scale.dtype == np.float64
    np.testing.assert_array_equal(q.values, formats.get(q.format).decode(q.codes) * q.scale)
    assert begun.forward(latent).dtype == np.float64
    assert begun.backward(latent, np.ones((6, 5))).shape == (6, 5)
    assert begun.at(0.5).forward(latent).shape == (6, 5)


@every
@pytest.mark.parametrize("axis", [None, 0, -1])
@pytest.mark.parametrize("dtype", FLOATS)
def test_memory_order_and_input_type_change_nothing(e, axis, dtype):
    rng = np.random.default_rng(1)
    e = replace(e, axis=axis)
    wide, g = rng.normal(size=(2, 10, 7)).astype(dtype), rng.normal(size=(10, 7)).astype(dtype)
    w = np.ascontiguousarray(wide[1])
    before = w.copy()
    plain = outcome(e, w, g)
    assert plain[-1].dtype == dtype
    for view in (np.asfortranarray(w), wide[1], np.flip(np.flip(w).copy()), w.astype(w.dtype.newbyteorder())):
        assert_same(outcome(e, view, np.asfortranarray(g)), plain)
    assert_same(outcome(e, w.astype(np.float64), g), plain)
    np.testing.assert_array_equal(w, before)


@every
def test_read_only_arrays(e):
    w, g = np.random.default_rng(4).normal(size=(2, 3, 5))
    plain = outcome(e, w, g)
    w.flags.writeable = g.flags.writeable = False
    assert_same(outcome(e, w, g), plain)


@every
@pytest.mark.parametrize("dtype", FLOATS)
def test_out_is_written(e, dtype):
    rng = np.random.default_rng(2)
    w, g = rng.normal(size=(3, 5)).astype(dtype), rng.normal(size=(3, 5)).astype(dtype)
    wanted = e.backward(w, g)
    assert not np.shares_memory(wanted, g)
    for out in (np.empty((3, 5), dtype), np.empty((5, 3), dtype).T, np.empty((3, 10), dtype)[:, ::2]):
        assert e.backward(w, g, out=out) is out
        np.testing.assert_array_equal(out, wanted)
    with pytest.raises(InvalidValueError, match=r"^`out` must have the shape and dtype of `grad_out`, \(3, 5\) and"):
        e.backward(w, g, out=np.empty((5, 3), dtype))


@every
@pytest.mark.parametrize("axis", [None, 0])
def test_out_may_be_an_input(e, axis):
    w, g = np.random.default_rng(6).normal(size=(2, 4, 5))
    e = replace(e, axis=axis)
    wanted = e.backward(w, g)
    for place in (0, 1):
        inputs = [w.copy(), g.copy()]
        np.testing.assert_array_equal(e.backward(*inputs, out=inputs[place]), wanted)


@every
@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (3, 0), (2, 0, 3), (1,), (2, 3, 4)])
def test_any_shape(e, shape):
    w = np.full(shape, 0.5)
    q = e(w)
    assert q.codes.shape == e.forward(w).shape == e.backward(w, np.ones(shape)).shape == shape
    assert q.scale.shape == ()
    assert np.isfinite(q.values).all()
    if shape:
        per_channel = replace(e, axis=-1)
        assert per_channel(w).scale.shape == (1,) * (len(shape) - 1) + shape[-1:]
        assert per_channel.backward(w, np.ones(shape)).shape == shape


@every
@pytest.mark.parametrize("w", [np.zeros(3), np.array([-0.0, -0.0]), np.zeros((0, 2))])
def test_nothing_to_represent_is_zero(e, w):
    q = e(w)
    assert float(q.scale) == {"int4": 1.0, "int6": 1.0}[q.format] * (16.0 if isinstance(e, DoubleRounding) else 1.0)
    assert not q.codes.any()
    np.testing.assert_array_equal(e.forward(w), w)


@every
@pytest.mark.parametrize("value", [1.5, -1.5, 5e-324, -1e300])
def test_constant_tensors(e, value):
    w = np.full((3, 4), value)
    q = e(w)
    assert np.isfinite(q.values).all()
    if not isinstance(e, GaussWS):
        assert len(np.unique(e.forward(w))) == 1
    assert np.isfinite(e.backward(w, np.ones(w.shape))).all()


@every
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, CHUNK + 1])
def test_bad_weights(e, bad, place):
    w = np.ones((1, CHUNK + 10), np.float32)
    w[0, place] = bad
    pattern = "^" + re.escape(f"`w` must be finite, got {bad} at index (0, {place})") + "$"
    with pytest.raises(InvalidValueError, match=pattern):
        e(w)
    with pytest.raises(InvalidValueError, match=pattern):
        e.forward(w)


@every
def test_bad_arrays(e):
    with pytest.raises(TypeError, match=r"^`w` must be a float16, float32 or float64 array, got int64$"):
        e(np.arange(3))
    with pytest.raises(TypeError, match=r"^`grad_out` must be a float16, float32 or float64 array, got bool$"):
        e.backward(np.ones(2), np.ones(2, bool))
    with pytest.raises(InvalidValueError, match=r"^`grad_out` must have shape \(2,\), got \(3,\)$"):
        e.backward(np.ones(2), np.ones(3))
    with pytest.raises(InvalidValueError, match=r"^`axis` must be None or from -1 to 0 for .*, got 1$"):
        replace(e, axis=1)(np.ones(2))


@drawing
def test_draws_come_from_the_generator_or_the_seed(e):
    w = np.random.default_rng(3).normal(size=(8, 9))
    np.testing.assert_array_equal(e.forward(w), e.forward(w))
    np.testing.assert_array_equal(e.forward(w), e.forward(w, rng=np.random.default_rng(0)))
    np.testing.assert_array_equal(replace(e, seed=11).forward(w), e.forward(w, rng=np.random.default_rng(11)))
    rng = np.random.default_rng(0)
    first, second = e.forward(w, rng=rng), e.forward(w, rng=rng)
    assert (first != second).any()
    two = np.random.default_rng(0)
    two.integers(2**64, dtype=np.uint64)
    np.testing.assert_array_equal(second, e.forward(w, rng=two))  # exactly one key per call


@drawing
def test_bad_generators(e):
    with pytest.raises(TypeError, match=r"^`rng` must be a numpy\.random\.Generator or None, got 3$"):
        e.forward(np.ones(2), rng=3)
    with pytest.raises(InvalidValueError, match=r"^`seed` must be a non-negative integer, got -1$"):
        replace(e, seed=-1)


@pytest.mark.parametrize(
    ("cls", "params", "error", "text"),
    [
        (StochasticRounding, {"format": "fairy2"}, UnknownNameError, None),
        (StochasticRounding, {"limit": 0}, InvalidValueError, "`limit` must be above 0, got 0"),
        (LOTION, {"form": "sample"}, UnknownNameError, "unknown form 'sample'; did you mean 'sampled'?"),
        (LOTION, {"weight": -1.0}, InvalidValueError, "`weight` must be at least 0, got -1"),
        (LOTION, {"limit": np.nan}, InvalidValueError, "`limit` must be finite, got nan"),
        (GaussWS, {"bits": 1.5}, InvalidValueError, "`bits` must be at least 2, got 1.5"),
        (GaussWS, {"end_bits": 17}, InvalidValueError, "`end_bits` must be from 2 to 16, got 17"),
        (GaussWS, {"block": 0}, InvalidValueError, "`block` must be a positive integer, got 0"),
        (DoubleRounding, {"bits": 9}, InvalidValueError, "`bits` must be an integer from 2 to 8, got 9"),
        (DoubleRounding, {"step": 0.0}, InvalidValueError, "`step` must be above 0, got 0"),
        (LSQ, {"step": (1.0, -2.0)}, InvalidValueError, "`step[1]` must be above 0, got -2"),
        (LSQ, {"step": "big"}, TypeError, "`step` must be a number, got 'big'"),
        (LSQ, {"format": "int17"}, UnknownNameError, "unknown format 'int17'; did you mean 'int7'?"),
        (LSQ, {"axis": 0.5}, TypeError, "`axis` must be an integer or None, got 0.5"),
    ],
)
def test_bad_parameters(cls, params, error, text):
    pattern = r"^unknown format 'fairy2'; .*$" if text is None else "^" + re.escape(text) + "$"
    with pytest.raises(error, match=pattern):
        cls(**params)


@pytest.mark.parametrize("axis", [None, 1])
def test_the_number_of_threads_changes_nothing(axis, monkeypatch):
    rng = np.random.default_rng(5)
    w, g = rng.normal(size=(500, 1200)).astype(np.float32), rng.normal(size=(500, 1200)).astype(np.float32)
    results = []
    for threads in (1, 3):
        monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", threads)
        arrays = [a.tobytes() for e in ALL for a in outcome(replace(e, axis=axis), w, g)]
        arrays.append(LSQ(axis=axis).step_gradient(w, g).tobytes())
        arrays.append(LOTION(axis=axis).variance(w).tobytes())
        results.append((arrays, LOTION(axis=axis).penalty(w, g**2)))
    assert results[0] == results[1]


@pytest.mark.parametrize("module", ["rounding", "lotion", "gauss", "double_rounding", "lsq"])
def test_documented_examples(module):
    result = doctest.testmod(importlib.import_module(f"tetrit.estimators.stochastic.{module}"))
    assert result.failed == 0
    assert result.attempted > 4


PROBE = """
import hashlib
import numpy as np
from tetrit.estimators.stochastic import LOTION, LSQ, DoubleRounding, GaussWS, StochasticRounding

digest = hashlib.sha256()
rng = np.random.default_rng(7)
for e in (StochasticRounding(format="fp8_e4m3"), LOTION(), GaussWS(block=3), DoubleRounding(), LSQ(axis=0)):
    for dtype in (np.float16, np.float32, np.float64):
        for shape in ((3, 70), (1, 33000)) if dtype == np.float32 else ((3, 70),):
            w, grad = rng.normal(size=shape).astype(dtype), rng.normal(size=shape).astype(dtype)
            q = e(w)
            arrays = [q.codes, q.scale, q.values, e.forward(w), e.backward(w, grad)]
            if isinstance(e, LSQ):
                arrays.append(e.step_gradient(w, grad))
            if isinstance(e, LOTION):
                arrays.append(np.array(e.penalty(w, grad**2)))
            for array in arrays:
                digest.update(np.ascontiguousarray(array).tobytes())
print(digest.hexdigest())
"""


def test_without_the_compiler_the_bits_are_the_same(same_without_the_compiler):
    same_without_the_compiler(PROBE)
