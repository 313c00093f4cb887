"""The registry, the contract that every estimator keeps, the documented examples, the kernels without the compiler."""

import doctest
import pickle
import re
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from tetrit import estimators, formats
from tetrit.errors import InvalidValueError, UnknownNameError

NAMES = (
    "adapt",
    "asq",
    "biper",
    "block",
    "codebook",
    "denseshift",
    "dfp",
    "double_rounding",
    "fairy",
    "gauss_ws",
    "lotion",
    "lsq",
    "nupes",
    "post",
    "pot",
    "qkr",
    "reste",
    "sr_ste",
    "statsq",
    "ste",
    "ste_clipped",
    "ste_format",
    "stochastic_rounding",
    "szt",
    "tanh_clip",
    "tequila",
)


def weights(name, *shape):
    """Float weights that the estimator can start from: a pair of projections for query-key products."""
    return np.random.default_rng(0).normal(size=(2, 2, *shape) if name == "qkr" else shape)


def test_names():
    assert estimators.names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_contract(name):
    e = estimators.get(name)
    assert e.name == name
    assert hash(e) == hash(estimators.get(name))
    assert pickle.loads(pickle.dumps(e)) == e
    with pytest.raises(FrozenInstanceError):
        e.axis = 0
    begun, latent = e.start(weights(name, 6, 5))
    q = begun(latent)
    shape = begun.value_shape(latent.shape)
    assert q.values.shape == shape
    assert q.codes.dtype.kind == "u"
    assert q.codes.max() < 2 ** formats.get(q.format).bits
    assert q.scale.dtype == np.float64
    if q.block is None and name != "fairy":
        np.testing.assert_array_equal(q.values, formats.get(q.format).decode(q.codes) * q.scale)
    assert begun.forward(latent).shape == shape
    assert begun.backward(latent, np.ones(shape)).shape == latent.shape


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("stz", "unknown estimator 'stz'; did you mean 'szt'?"),
        ("x", "unknown estimator 'x'; known: " + ", ".join(NAMES)),
    ],
)
def test_unknown_name(name, text):
    with pytest.raises(UnknownNameError, match="^" + re.escape(text) + "$"):
        estimators.get(name)


def test_documented_examples():
    assert doctest.testmod(estimators).failed == 0


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", ["pot", "ste", "ste_clipped", "szt"])
def test_out_may_be_an_input_or_lie_beside_it(name, dtype):
    e = estimators.get(name)
    w, g = np.random.default_rng(1).normal(size=(2, 5000)).astype(dtype)
    wanted = e.backward(w, g)
    same = g.copy()
    assert e.backward(w, same, out=same) is same
    np.testing.assert_array_equal(same, wanted)
    flat = g.copy()
    np.testing.assert_array_equal(e.backward(w[None], flat[None], out=flat.reshape(1, -1)), wanted[None])
    same = w.copy()
    np.testing.assert_array_equal(e.backward(same, g, out=same), wanted)
    pairs = np.stack([g, g], axis=1)
    np.testing.assert_array_equal(e.backward(w, pairs[:, 0], out=pairs[:, 1]), wanted)


@pytest.mark.parametrize("name", ["pot", "ste", "ste_clipped", "szt"])
@pytest.mark.parametrize("offset", [-1, 1, 64])
def test_out_that_overlaps_the_gradient_is_refused(name, offset):
    buffer = np.ones(5200)
    before = buffer.copy()
    text = "`out` must not overlap `grad_out` in memory, unless it is the same array"
    with pytest.raises(InvalidValueError, match=f"^{re.escape(text)}$"):
        estimators.get(name).backward(np.ones(5000), buffer[100:5100], out=buffer[100 + offset : 5100 + offset])
    with pytest.raises(InvalidValueError, match=f"^{re.escape(text)}$"):
        estimators.get(name).backward(np.ones(5000), buffer[:5000], out=buffer[4999::-1])
    np.testing.assert_array_equal(buffer, before)


@pytest.mark.parametrize("name", ["pot", "ste", "ste_clipped", "szt"])
def test_out_must_be_an_array_to_write_to(name):
    e = estimators.get(name)
    out = np.empty(2)
    out.flags.writeable = False
    with pytest.raises(InvalidValueError, match=r"^`out` must be writeable, got a read-only array$"):
        e.backward(np.ones(2), np.ones(2), out=out)
    with pytest.raises(TypeError, match=r"^`out` must be a numpy array, got list$"):
        e.backward(np.ones(2), np.ones(2), out=[0.0, 0.0])


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("qkr", "fairy", "denseshift")])
def test_forward_into_its_own_input(name):
    """Ties between integers, which kernels look at twice, and an `out` that is the input, or lies across it."""
    e = estimators.get(name)
    w = (np.arange(64.0) - 31.5).reshape(8, 8).astype(np.float32) * np.float32(0.1)
    e, w = e.start(w)
    wanted = e.forward(w, out=np.empty_like(w))
    same = w.copy()
    buffer = np.zeros(w.size + 3, np.float32)
    across, out = buffer[:-3].reshape(w.shape), buffer[3:].reshape(w.shape)
    across[...] = w
    for x, into in ((same, same), (across, out)):
        try:
            got = e.forward(x, out=into)
        except InvalidValueError as error:  # an estimator may refuse instead
            assert "overlap" in str(error)
            continue
        np.testing.assert_array_equal(got, wanted)
    with pytest.raises(TypeError, match=r"^`out` must be a float16, float32 or float64 array, got "):
        e.forward(w, out=[1.0])


PROBE = """
import hashlib
import numpy as np
from tetrit import estimators

digest = hashlib.sha256()
rng = np.random.default_rng(7)
for name in estimators.names():
    for dtype in (np.float16, np.float32, np.float64):
        for shape in ((3, 70), (1, 40000)) if dtype == np.float32 else ((3, 70),):
            full = {"qkr": (2, 2, 3, 30), "fairy": (2, *shape)}.get(name, shape)
            e, latent = estimators.get(name).start(rng.normal(size=full).astype(dtype))
            grad = rng.normal(size=e.value_shape(latent.shape)).astype(dtype)
            q = e(latent)
            for array in (q.codes, q.scale, q.values, e.forward(latent), e.backward(latent, grad)):
                digest.update(np.ascontiguousarray(array).tobytes())
print(digest.hexdigest())
"""


def test_without_the_compiler_the_bits_are_the_same(same_without_the_compiler):
    same_without_the_compiler(PROBE)
