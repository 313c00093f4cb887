"""What block quantisers, Fairy and QKR keep: arrays, layouts, errors, threads, the examples, no compiler."""

import doctest
import importlib
import pickle
import re
from dataclasses import FrozenInstanceError, replace

import ml_dtypes
import numba
import numpy as np
import pytest

from tetrit.errors import InvalidValueError
from tetrit.estimators._kernels import CHUNK
from tetrit.estimators.blocks import DFP, BlockQuantizer

ALL = [
    *(
        BlockQuantizer(format=name, block=7, clip=clip)
        for name in ("mxfp4", "nvfp4", "bfp12")
        for clip in (False, True)
    ),
    BlockQuantizer(format="dfp16", clip=True),
    DFP(),
    DFP(bits=5),
]
FLOATS = [np.float16, np.float32, np.float64]
every = pytest.mark.parametrize("e", ALL, ids=str)


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
        e.format = "mxfp4"
    assert e.learnable == {}
    assert not e.draws
    w = np.random.default_rng(0).normal(size=(6, 5))
    begun, latent = e.start(w)
    assert begun == e == e.at(0.5)
    np.testing.assert_array_equal(latent, w)
    np.testing.assert_array_equal(e.after_step(w), w)
    assert not np.shares_memory(latent, w)
    assert e.value_shape((6, 5)) == (6, 5)
    assert e.straight_through is not getattr(e, "clip", False)


@every
@pytest.mark.parametrize("dtype", [*FLOATS, ml_dtypes.bfloat16])
def test_memory_order_and_input_type_change_nothing(e, dtype):
    rng = np.random.default_rng(1)
    wide, g = rng.normal(size=(2, 10, 23)).astype(dtype), rng.normal(size=(10, 23)).astype(np.float32)
    w = np.ascontiguousarray(wide[1])
    before = w.tobytes()
    plain = outcome(e, w, g)
    for view in (np.asfortranarray(w), wide[1], np.flip(np.flip(w).copy()), w.astype(np.float64)):
        assert_same(outcome(e, view, np.asfortranarray(g)), plain)
    if dtype is not ml_dtypes.bfloat16:
        assert_same(outcome(e, w.astype(w.dtype.newbyteorder()), g), plain)
    assert w.tobytes() == before
    w.flags.writeable = False
    assert_same(outcome(e, w, g), plain)


@every
@pytest.mark.parametrize("dtype", FLOATS)
def test_gradients_are_written_where_they_are_wanted(e, dtype):
    rng = np.random.default_rng(2)
    w, g = rng.normal(size=(2, 3, 25)).astype(dtype)
    wanted = e.backward(w, g)
    assert wanted.dtype == dtype
    assert not np.shares_memory(wanted, g)
    for out in (np.empty((3, 25), dtype), np.empty((25, 3), dtype).T, np.empty((3, 50), dtype)[:, ::2]):
        assert e.backward(w, g, out=out) is out
        np.testing.assert_array_equal(out, wanted)
    for place in (0, 1):
        inputs = [w.copy(), g.copy()]
        np.testing.assert_array_equal(e.backward(*inputs, out=inputs[place]), wanted)
    with pytest.raises(InvalidValueError, match=r"^`out` must have the shape and dtype of `grad_out`, \(3, 25\) and"):
        e.backward(w, g, out=np.empty((25, 3), dtype))
    with pytest.raises(
        InvalidValueError, match=r"^`out` must not overlap `grad_out` in memory, unless it is the same ar"
    ):
        e.backward(w.reshape(-1)[:70], g.reshape(-1)[:70], out=g.reshape(-1)[1:71])


@every
@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (3, 0), (2, 0, 3), (1,), (2, 3, 4)])
def test_any_shape(e, shape):
    w = np.full(shape, 0.75)
    q = e(w)
    assert q.codes.shape == e.forward(w).shape == q.values.shape == e.backward(w, np.ones(shape)).shape == shape
    np.testing.assert_array_equal(e.forward(w), q.values)
    assert (np.abs(q.values - 0.75) <= 0.05).all()


@every
def test_zeros_and_constants(e):
    for value in (0.0, -0.0, 1.5, -1.5, 5e-324, -1e300):
        w = np.full((3, 15), value)
        q = e(w)
        assert (q.scale > 0).all()
        assert np.isfinite(q.values).all()
        assert len(np.unique(q.values)) == 1
        assert value or not (q.values.any() or (q.codes & 7).any())


@every
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, CHUNK + 1])
def test_bad_weights(e, bad, place):
    w = np.ones((1, CHUNK + 10), np.float32)
    w[0, place] = bad
    pattern = "^" + re.escape(f"`w` must be finite, got {bad} at index (0, {place})") + "$"
    calls = [e, e.forward, lambda w: e.forward(w, out=np.empty(w.shape))]
    if getattr(e, "clip", False):
        calls.append(lambda w: e.backward(w, np.ones(w.shape)))
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
    with pytest.raises(TypeError, match=r"^`out` must be a float16, float32 or float64 array, got dtype\('int64'\)$"):
        e.forward(np.ones(2), out=np.ones(2, int))


def test_the_number_of_threads_changes_nothing(monkeypatch):
    rng = np.random.default_rng(5)
    w, g = rng.normal(size=(2, 500, 1200)).astype(np.float32)
    results = []
    for threads in (1, 3):
        monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", threads)
        results.append([a.tobytes() for e in ALL for a in outcome(e, w, g)])
    assert results[0] == results[1]


@pytest.mark.parametrize("module", ["blocks.block", "blocks.dfp", "blocks.sorting", "pairs.fairy", "pairs.qkr", "base"])
def test_documented_examples(module):
    result = doctest.testmod(importlib.import_module(f"tetrit.estimators.{module}"))
    assert result.failed == 0
    assert result.attempted > 4


PROBE = """
import hashlib
import numpy as np
from tetrit.estimators.blocks import DFP, BlockQuantizer, dfp_accumulate, k_sort
from tetrit.estimators.pairs import QKR, Fairy

digest = hashlib.sha256()
rng = np.random.default_rng(7)

def add(*arrays):
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())

def use(e, w, grad):
    q = e(w)
    add(q.codes, q.scale, q.values, e.forward(w), e.backward(w, grad))

for dtype in (np.float16, np.float32, np.float64):
    for e in (BlockQuantizer(clip=True), BlockQuantizer(format="nvfp4"), BlockQuantizer(format="bfp12"), DFP()):
        use(e, *rng.normal(size=(2, 3, 70)).astype(dtype))
    for axis in (None, 0):
        use(Fairy(axis=axis), *rng.normal(size=(2, 2, 3, 70)).astype(dtype))
    use(QKR(cga=0.1), rng.normal(size=(2, 2, 3, 9)).astype(dtype), rng.normal(size=(2, 9, 9)).astype(dtype))
    add(k_sort(*rng.normal(size=(2, 2, 6, 5)).astype(dtype), rotary="halves").w_q)
use(Fairy(), *rng.normal(size=(2, 2, 33000)).astype(np.float32))
use(BlockQuantizer(clip=True), *rng.normal(size=(2, 33000)).astype(np.float32))
a, b = (rng.integers(-32768, 32768, shape).astype(np.int16) for shape in ((3, 11), (11, 4)))
for overflow in ("wrap", "saturate"):
    add(dfp_accumulate(a, b, chain=3, overflow=overflow))
print(digest.hexdigest())
"""


def test_without_the_compiler_the_bits_are_the_same(same_without_the_compiler):
    same_without_the_compiler(PROBE)
