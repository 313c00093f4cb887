"""What Fairy and QKR keep: frozen and pickled, layouts, dtypes, overlaps, threads."""

import pickle
from dataclasses import FrozenInstanceError, replace

import ml_dtypes
import numba
import numpy as np
import pytest

from tetrit.errors import InvalidValueError
from tetrit.estimators.pairs import QKR, Fairy

ALL = [Fairy(), Fairy(axis=0), Fairy(axis=-1), QKR(), QKR(bits=2, cga=0.1)]
SHAPE = (2, 3, 4, 6)
every = pytest.mark.parametrize("e", ALL, ids=str)


def arrays(e, seed, shape=SHAPE):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape), rng.normal(size=e.value_shape(shape))


def outcome(e, w, g):
    q = e(w)
    found = [q.codes, q.scale, q.values, e.forward(w), e.backward(w, g)]
    return [(a.dtype, a.shape, a.tobytes()) for a in map(np.ascontiguousarray, found)]


@every
def test_contract(e):
    assert pickle.loads(pickle.dumps(e)) == e
    assert hash(e) == hash(replace(e))
    with pytest.raises(FrozenInstanceError):
        e.axis = 1
    assert e.learnable == {}
    w, g = arrays(e, 0)
    np.testing.assert_array_equal(e.after_step(w), w)
    assert e.at(0.5) == e
    assert e.straight_through is (e.name == "fairy")
    assert e.forward(w).shape == e(w).values.shape == g.shape
    assert e.forward(w).dtype == np.float64
    assert e.backward(w, g).shape == w.shape


@every
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ml_dtypes.bfloat16])
def test_memory_order_and_input_type_change_nothing(e, dtype):
    w, g = arrays(e, 1)
    w, g = w.astype(dtype), g.astype(np.float32)
    before = w.tobytes()
    plain = outcome(e, w, g)
    for view in (np.asfortranarray(w), np.flip(np.flip(w).copy()), w.astype(np.float64)):
        assert outcome(e, view, np.asfortranarray(g)) == plain
    if dtype is not ml_dtypes.bfloat16:
        assert outcome(e, w.astype(w.dtype.newbyteorder()), g) == plain
    w.flags.writeable = g.flags.writeable = False
    assert outcome(e, w, g) == plain
    assert w.tobytes() == before


@every
def test_overlaps_are_refused(e):
    w, g = arrays(e, 2)
    buffer = np.zeros(2000)
    start = buffer[: w.size].reshape(w.shape)
    start[...] = w
    with pytest.raises(
        InvalidValueError, match=r"^`out` must not overlap `(w|grad_out)` in memory, unless it is the same"
    ):
        e.backward(start, start if e.name == "fairy" else g, out=buffer[1 : 1 + w.size].reshape(w.shape))


def test_the_number_of_threads_changes_nothing(monkeypatch):
    results = []
    for threads in (1, 3):
        monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", threads)
        found = [outcome(e, *arrays(e, 3, (2, 5, 300, 400))) for e in ALL[:3]]
        found += [outcome(e, *arrays(e, 4, (2, 4, 20, 220))) for e in ALL[3:]]
        results.append(found)
    assert results[0] == results[1]
