"""What stochastic and step-size estimators keep besides the common contract: zeros, constants, parameters, threads."""

import re

import numba
import numpy as np
import pytest

from tetrit.errors import InvalidValueError, UnknownNameError
from tetrit.estimators.stochastic import LOTION, LSQ, DoubleRounding, GaussWS, StochasticRounding

ALL = [StochasticRounding(), LOTION(), LOTION(form="sampled"), GaussWS(block=4), DoubleRounding(), LSQ()]
DRAWING = [StochasticRounding(), LOTION(form="sampled"), GaussWS(block=4)]
LABELS = ["stochastic_rounding", "lotion", "lotion_sampled", "gauss_ws", "double_rounding", "lsq"]
DRAWING_LABELS = ["stochastic_rounding", "lotion_sampled", "gauss_ws"]
FLOATS = [np.float16, np.float32, np.float64]

every = pytest.mark.parametrize("e", ALL, ids=LABELS)
drawing = pytest.mark.parametrize("e", DRAWING, ids=DRAWING_LABELS)


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
        arrays = [LSQ(axis=axis).step_gradient(w, g).tobytes(), LOTION(axis=axis).variance(w).tobytes()]
        results.append((arrays, LOTION(axis=axis).penalty(w, g**2)))
    assert results[0] == results[1]


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
