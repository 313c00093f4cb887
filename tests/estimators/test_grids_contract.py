"""What estimators on other grids keep besides the common contract: values, overlaps, zeros, constants, parameters."""

import re
from dataclasses import replace

import numba
import numpy as np
import pytest

from tetrit.errors import InvalidValueError, UnknownNameError
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


def with_axis(e, axis):
    return e if isinstance(e, LearnedTable) else replace(e, axis=axis)


@every
def test_the_latent_is_the_weights(e):
    w = np.random.default_rng(0).normal(size=(6, 5))
    np.testing.assert_array_equal(e.start(w)[1], w)


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
@pytest.mark.parametrize("shift", [0, 1, 3])
def test_forward_into_an_array_that_overlaps(e, shift):
    memory = np.random.default_rng(7).normal(size=5003)
    w, out = memory[:5000], memory[shift : shift + 5000]
    wanted = e.forward(w.copy())
    np.testing.assert_array_equal(e.forward(w, out=out), wanted)


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


def test_the_number_of_threads_changes_nothing(monkeypatch):
    rng = np.random.default_rng(5)
    w = rng.normal(size=(500, 1200)).astype(np.float32)
    net = AdaptiveStep.initial(500, rng)
    results = []
    for threads in (1, 3):
        monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", threads)
        arrays = [LearnedTable(table=TABLE).proximal(w, 0.1).tobytes(), net(w.reshape(1, 500, 1200)).tobytes()]
        results.append(arrays)
    assert results[0] == results[1]


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
