"""Sine, cosine and powers: against arithmetic of 200 bits, at their special points, and without the compiler."""

import mpmath
import numpy as np
import pytest

from tetrit.estimators.elementary._kernels import LARGEST_PHASE, cosine, powers, sine


def power(base, exponent):
    result = np.empty(1)
    powers(np.array([base]), exponent, result)
    return result[0]


def error(got, wanted):
    """Distance in units in the last place of what is wanted."""
    return float(abs(mpmath.mpf(float(got)) - wanted) / np.spacing(abs(float(wanted))))


@pytest.fixture(autouse=True)
def precision():
    with mpmath.workprec(200):
        yield


@pytest.mark.parametrize(("function", "exact"), [(sine, mpmath.sin), (cosine, mpmath.cos)])
def test_waves(function, exact):
    rng = np.random.default_rng(0)
    multiples = np.arange(1, 600) * 1093 * np.pi / 2  # next to the zeros of both
    phases = np.concatenate([rng.uniform(-40, 40, 1500), rng.uniform(-LARGEST_PHASE, LARGEST_PHASE, 1500), multiples])
    worst = max(error(function(p), exact(mpmath.mpf(p))) for p in phases)
    assert 0.1 < worst < 2.5


def test_powers():
    rng = np.random.default_rng(1)
    pairs = zip(2 ** rng.uniform(-4, 4, 2000), rng.uniform(-1, 1, 2000), strict=True)
    worst = max(error(power(b, e), mpmath.power(b, e)) for b, e in pairs)
    assert 0.1 < worst < 2.5
    wide = zip(2 ** rng.uniform(-1074, 1023, 500), rng.uniform(-0.9, 0.9, 500), strict=True)
    assert max(error(power(b, e), mpmath.power(b, e)) for b, e in wide) < 1024  # 2^10: exponents have ten bits


def test_special_points():
    assert str(sine(0.0)) == "0.0"
    assert str(sine(-0.0)) == "-0.0"
    assert cosine(0.0) == 1.0
    assert [power(1.0, e) for e in (-1.0, 0.0, 0.3)] == [1.0, 1.0, 1.0]
    assert [power(b, 1.0) for b in (0.5, 4.0, 2.0**-1074)] == [0.5, 4.0, 2.0**-1074]
    assert power(5e-324, -1.0) == power(1e300, 2.0) == np.inf
    assert power(1e-300, 2.0) == 0.0


PROBE = """
import hashlib
import numpy as np
from tetrit.estimators.elementary._kernels import cosine, powers, sine

phases, bases = np.linspace(-1e4, 1e4, 999), np.geomspace(1e-320, 1e300, 999)
out = np.empty(999)
powers(bases, -0.7, out)
waves = np.array([(sine(p), cosine(p)) for p in phases])
print(hashlib.sha256(out.tobytes() + waves.tobytes()).hexdigest())
"""


def test_without_the_compiler_the_bits_are_the_same(same_without_the_compiler):
    same_without_the_compiler(PROBE)
