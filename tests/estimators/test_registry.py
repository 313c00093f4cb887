"""The registry, the contract that every estimator keeps, the documented examples, the kernels without the compiler."""

import doctest
import importlib
import os
import pickle
import re
import subprocess
import sys
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from tetrit import estimators, formats
from tetrit.errors import UnknownNameError

NAMES = ("denseshift", "pot", "ste", "ste_clipped", "szt")


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
    begun, latent = e.start(np.random.default_rng(0).normal(size=(6, 5)))
    q = begun(latent)
    assert q.codes.shape == (6, 5)
    assert q.codes.dtype.kind == "u"
    assert q.codes.max() < 2 ** formats.get(q.format).bits
    assert q.scale.dtype == np.float64
    np.testing.assert_array_equal(q.values, formats.get(q.format).decode(q.codes) * q.scale)
    assert begun.forward(latent).shape == (6, 5)
    assert begun.backward(latent, np.ones((6, 5))).shape == latent.shape


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


@pytest.mark.parametrize("module", ["", ".szt", ".uniform", ".pot", ".denseshift", ".surrogates", ".base"])
def test_documented_examples(module):
    result = doctest.testmod(importlib.import_module("tetrit.estimators" + module))
    assert result.failed == 0


PROBE = """
import hashlib
import numpy as np
from tetrit import estimators

digest = hashlib.sha256()
rng = np.random.default_rng(7)
for name in estimators.names():
    for dtype in (np.float16, np.float32, np.float64):
        for shape in ((3, 70), (1, 40000)) if dtype == np.float32 else ((3, 70),):
            e, latent = estimators.get(name).start(rng.normal(size=shape).astype(dtype))
            grad = rng.normal(size=shape).astype(dtype)
            q = e(latent)
            for array in (q.codes, q.scale, q.values, e.forward(latent), e.backward(latent, grad)):
                digest.update(np.ascontiguousarray(array).tobytes())
print(digest.hexdigest())
"""


def test_without_the_compiler_the_bits_are_the_same():
    answers = []
    for disabled in ("0", "1"):
        env = os.environ | {"NUMBA_DISABLE_JIT": disabled}
        done = subprocess.run([sys.executable, "-c", PROBE], env=env, capture_output=True, text=True, check=True)
        answers.append(done.stdout)
    assert answers[0] == answers[1]
    assert len(answers[0].strip()) == 64
