"""What all estimators on other grids keep: arrays, errors, threads, the examples, no compiler."""

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
from tetrit.errors import InvalidValueError, UnknownNameError
from tetrit.estimators._kernels import CHUNK
from tetrit.estimators.grids import ASQ, NUPES, POST, AdaptiveStep, LearnedTable

TABLE = (-1.5, 0.75, -0.25, 0.125, 2.0)
ALL = [
    POST(quantile=0.7),
    POST(format="pot4z", clipped=True),
    ASQ(axis=None, beta=1.5),
    ASQ(format="int4", axis=None, step=0.25),
    NUPES(),
    LearnedTable(entries=4, strength=0.125),
    LearnedTable(table=TABLE, pull="l2", strength=0.5),
]
LABELS = ["post", "post_pot4z", "asq", "asq_step", "nupes", "codebook_fitted", "codebook_given"]
FLOATS = [np.float16, np.float32, np.float64]

every = pytest.mark.parametrize("e", ALL, ids=LABELS)


def outcome(e, w, g):
    q = e(w)
    arrays = [q.codes, q.scale, q.values, e.forward(w), *e.parameter_gradients(w, g).values(), e.backward(w, g)]
    return [np.ascontiguousarray(a) for a in arrays]


def with_axis(e, axis):
    return e if isinstance(e, LearnedTable) else replace(e, axis=axis)


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
    np.testing.assert_array_equal(latent, w)
    assert not np.shares_memory(latent, w)
    q = begun(latent)
    assert q.codes.shape == (6, 5)
    assert q.codes.dtype == np.uint8
    assert q.codes.max() < 2 ** formats.get(q.format).bits
    assert q.scale.dtype == np.float64
    np.testing.assert_array_equal(q.values, formats.get(q.format).decode(q.codes) * q.scale)
    assert begun.forward(latent).dtype == np.float64
    assert begun.at(0.5).forward(latent).shape == (6, 5)
    gradients = begun.parameter_gradients(latent, np.ones((6, 5)))
    assert set(gradients) == set(e.learnable)
    for name, gradient in gradients.items():
        assert gradient.dtype == np.float64
        assert gradient.shape == np.shape(getattr(begun, name))
    assert begun.after_step(latent).shape == (6, 5)


@every
@pytest.mark.parametrize("axis", [None, 0, -1])
@pytest.mark.parametrize("dtype", FLOATS)
def test_forward_is_the_values_of_the_codes(e, axis, dtype):
    w = (np.random.default_rng(11).normal(size=(4, 3, 70)) * 3).astype(dtype)
    e = with_axis(e, axis)
    values = e(w).values
    assert e.forward(w).tobytes() == values.tobytes()  # signs of zeros too
    for out_dtype in FLOATS:
        rounded = values.astype(out_dtype)
        for out in (np.empty(w.shape, out_dtype), np.empty((70, 3, 4), out_dtype).T, np.empty((4, 3, 140), out_dtype)):
            place = out[..., ::2] if out.shape[-1] == 140 else out
            assert e.forward(w, out=place) is place
            assert np.ascontiguousarray(place).tobytes() == rounded.tobytes()


@every
@pytest.mark.parametrize("axis", [None, 0, -1])
@pytest.mark.parametrize("dtype", FLOATS)
def test_memory_order_and_input_type_change_nothing(e, axis, dtype):
    rng = np.random.default_rng(1)
    e = with_axis(e, axis)
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
def test_bfloat16(e):
    w = np.random.default_rng(12).normal(size=(4, 9)).astype(ml_dtypes.bfloat16)
    g = np.random.default_rng(13).normal(size=(4, 9)).astype(np.float32)
    assert_same(outcome(e, w, g), outcome(e, w.astype(np.float32), g))
    assert e.after_step(w).dtype == w.dtype


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
    e = with_axis(e, axis)
    wanted = e.backward(w, g)
    for place in (0, 1):
        inputs = [w.copy(), g.copy()]
        np.testing.assert_array_equal(e.backward(*inputs, out=inputs[place]), wanted)


@every
@pytest.mark.parametrize("shift", [0, 1, 3])
def test_forward_into_an_array_that_overlaps(e, shift):
    memory = np.random.default_rng(7).normal(size=5003)
    w, out = memory[:5000], memory[shift : shift + 5000]
    wanted = e.forward(w.copy())
    np.testing.assert_array_equal(e.forward(w, out=out), wanted)


@every
def test_bad_places_for_values(e):
    w = np.ones((2, 3))
    with pytest.raises(TypeError, match=r"^`out` must be a float16, float32 or float64 array, got "):
        e.forward(w, out=np.empty((2, 3), np.int32))
    with pytest.raises(InvalidValueError, match=r"^`out` must have shape \(2, 3\) and dtype float32, got \(3, 2\) and"):
        e.forward(w, out=np.empty((3, 2), np.float32))
    out = np.empty((2, 3))
    out.flags.writeable = False
    with pytest.raises(InvalidValueError, match=r"^`out` must be writeable, got a read-only array$"):
        e.forward(w, out=out)


@every
@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (3, 0), (2, 0, 3), (1,), (2, 3, 4)])
def test_any_shape(e, shape):
    w = np.full(shape, 0.5)
    q = e(w)
    assert q.codes.shape == e.forward(w).shape == e.backward(w, np.ones(shape)).shape == shape
    assert q.scale.shape == ()
    assert np.isfinite(q.values).all()
    assert e.after_step(w).shape == shape
    begun, latent = e.start(w)
    assert begun.forward(latent).shape == shape
    for gradient in e.parameter_gradients(w, np.ones(shape)).values():
        assert np.isfinite(gradient).all()
    if shape and isinstance(e, POST | NUPES):
        per_channel = replace(e, axis=-1)
        assert per_channel(w).scale.shape == (1,) * (len(shape) - 1) + shape[-1:]
        assert per_channel.forward(w).shape == per_channel.backward(w, np.ones(shape)).shape == shape


@every
@pytest.mark.parametrize("w", [np.zeros(3), np.array([-0.0, -0.0]), np.zeros((0, 2))])
def test_nothing_to_represent(e, w):
    q = e(w)
    scale = {"pot4z": 1.0, "int4": 0.25}.get(q.format, 1.0)
    assert float(q.scale) == scale
    if e != ALL[-1]:  # a table without zero
        assert not q.codes.any()
        assert not q.values.any()
        assert not np.signbit(q.values).any()


@every
@pytest.mark.parametrize("value", [1.5, -1.5, 5e-324, -1e300])
def test_constant_tensors(e, value):
    w = np.full((3, 4), value)
    q = e(w)
    assert np.isfinite(q.values).all()
    assert len(np.unique(e.forward(w))) == 1
    assert np.isfinite(e.backward(w, np.ones(w.shape))).all()
    assert np.isfinite(e.start(w)[0].forward(w)).all()


@every
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, CHUNK + 1])
def test_bad_weights(e, bad, place):
    w = np.ones((1, CHUNK + 10), np.float32)
    w[0, place] = bad
    pattern = "^" + re.escape(f"`w` must be finite, got {bad} at index (0, {place})") + "$"
    calls = [e, e.forward]
    if e.learnable:
        calls += [e.start, lambda x: e.parameter_gradients(x, x)]
    if isinstance(e, LearnedTable):
        calls += [e.after_step, e.refit]
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
    if not isinstance(e, LearnedTable):
        with pytest.raises(InvalidValueError, match=r"^`axis` must be None or from -1 to 0 for .*, got 1$"):
            replace(e, axis=1)(np.ones(2))


@pytest.mark.parametrize(
    ("cls", "params", "error", "text"),
    [
        (POST, {"format": "int4"}, UnknownNameError, "unknown format 'int4'; known: post4, pot3z, pot4z"),
        (POST, {"quantile": 0}, InvalidValueError, "`quantile` must be above 0, got 0"),
        (POST, {"quantile": 1.01}, InvalidValueError, "`quantile` must be at most 1, got 1.01"),
        (POST, {"clipped": 1}, TypeError, "`clipped` must be True or False, got 1"),
        (POST, {"axis": True}, TypeError, "`axis` must be an integer or None, got True"),
        (ASQ, {"format": "uint17"}, UnknownNameError, "unknown format 'uint17'; did you mean 'uint7'?"),
        (ASQ, {"step": 0.0}, InvalidValueError, "`step` must be above 0, got 0"),
        (ASQ, {"step": (1.0,)}, TypeError, "`step` must be a number, got (1.0,)"),
        (ASQ, {"beta": None}, TypeError, "`beta` must be a number or a tuple of numbers, got None"),
        (ASQ, {"beta": (1.0, -1.0)}, InvalidValueError, "`beta[1]` must be above 0, got -1"),
        (NUPES, {"bits": 9}, InvalidValueError, "`bits` must be an integer from 2 to 8, got 9"),
        (NUPES, {"power": 0.0}, InvalidValueError, "`power` must be from 2^-6 to 2^10, got 0"),
        (NUPES, {"power": 1025}, InvalidValueError, "`power` must be from 2^-6 to 2^10, got 1025"),
        (NUPES, {"power": np.nan}, InvalidValueError, "`power` must be finite, got nan"),
        (LearnedTable, {"entries": 1}, InvalidValueError, "`entries` must be an integer from 2 to 256, got 1"),
        (LearnedTable, {"table": 1.0}, TypeError, "`table` must be a tuple of numbers or None, got 1.0"),
        (LearnedTable, {"table": (1.0,)}, InvalidValueError, "`table` must have 2 to 256 entries, got 1"),
        (LearnedTable, {"table": (1.0, np.nan)}, InvalidValueError, "`table[1]` must be finite, got nan"),
        (LearnedTable, {"pull": "huber"}, UnknownNameError, "unknown pull 'huber'; known: l1, l2"),
        (LearnedTable, {"strength": -0.5}, InvalidValueError, "`strength` must be at least 0, got -0.5"),
    ],
)
def test_bad_parameters(cls, params, error, text):
    with pytest.raises(error, match="^" + re.escape(text) + "$"):
        cls(**params)


@pytest.mark.parametrize("axis", [None, 1])
def test_the_number_of_threads_changes_nothing(axis, monkeypatch):
    rng = np.random.default_rng(5)
    w, g = rng.normal(size=(500, 1200)).astype(np.float32), rng.normal(size=(500, 1200)).astype(np.float32)
    net = AdaptiveStep.initial(500, rng)
    results = []
    for threads in (1, 3):
        monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", threads)
        arrays = [a.tobytes() for e in ALL for a in outcome(with_axis(e, axis), w, g)]
        arrays += [LearnedTable(table=TABLE).proximal(w, 0.1).tobytes(), net(w.reshape(1, 500, 1200)).tobytes()]
        results.append(arrays)
    assert results[0] == results[1]


@pytest.mark.parametrize("module", ["post", "asq", "adaptive_step", "nupes", "learned_table"])
def test_documented_examples(module):
    result = doctest.testmod(importlib.import_module(f"tetrit.estimators.grids.{module}"))
    assert result.failed == 0
    assert result.attempted > 4


PROBE = """
import hashlib
import numpy as np
from tetrit.estimators.grids import ASQ, NUPES, POST, AdaptiveStep, LearnedTable

digest = hashlib.sha256()
rng = np.random.default_rng(7)
table = LearnedTable(table=(-1.0, 0.5, 0.25), strength=0.1)
for e in (POST(quantile=0.6), POST(axis=0, clipped=True), ASQ(), ASQ(format="int3", axis=None), NUPES(bits=3), table):
    for dtype in (np.float16, np.float32, np.float64):
        for shape in ((3, 70), (1, 33000)) if dtype == np.float32 else ((3, 70),):
            w, grad = rng.normal(size=shape).astype(dtype), rng.normal(size=shape).astype(dtype)
            q = e(w)
            arrays = [q.codes, q.scale, q.values, e.forward(w), e.backward(w, grad), e.after_step(w)]
            arrays += e.parameter_gradients(w, grad).values()
            for array in arrays:
                digest.update(np.ascontiguousarray(array).tobytes())
long = rng.normal(size=70000).astype(np.float32)
digest.update(POST(quantile=0.3)._alphas(long)[1].tobytes())
digest.update(LearnedTable(entries=3).start(long[:300])[0].forward(long[:300]).tobytes())
x = rng.normal(size=(3, 8, 70))
net = AdaptiveStep.initial(8, rng)
for array in (net(x), *net.backward(x, np.ones(3)).values()):
    digest.update(array.tobytes())
print(digest.hexdigest())
"""


def test_without_the_compiler_the_bits_are_the_same(same_without_the_compiler):
    same_without_the_compiler(PROBE)
