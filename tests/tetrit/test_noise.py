"""Counter-based noise: its distribution, its independence, and that nothing but key and place decides a number."""

import math
from threading import Thread

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tetrit import noise
from tetrit.errors import InvalidValueError
from tetrit.noise._kernels import FIRST_FACTOR, INCREMENT, SECOND_FACTOR

N = 1 << 20
MASK = 2**64 - 1
KEY = 11841487070546702082
NORMALS = ["-0x1.0a3fea0000000p+0", "0x1.ded04c0000000p-3", "-0x1.da03b60000000p-2"]


def word(key, number):
    """SplitMix64, output by output, in Python integers."""
    x = (key + (number + 1) * INCREMENT) & MASK
    x = ((x ^ (x >> 30)) * FIRST_FACTOR) & MASK
    x = ((x ^ (x >> 27)) * SECOND_FACTOR) & MASK
    return x ^ (x >> 31)


def exact_pair(bits):
    """The transform of a word in float64 and the C library's functions."""
    u = ((bits >> 33) + 0.5) / 2**31
    radius = math.sqrt(-2 * math.log(u))
    rest = bits & (2**30 - 1)
    rest -= 2**30 if rest >= 2**29 else 0
    x = (rest + 0.5) * math.pi * 2.0**-31
    s, c = math.sin(x), math.cos(x) * (-1 if bits >> 31 & 1 else 1)
    return (radius * s, radius * c) if bits >> 30 & 1 else (radius * c, radius * s)


@given(st.integers(0, MASK), st.integers(0, 2**62))
def test_every_number_is_what_its_word_gives(key, first):
    found = noise.normals(key, 7, first=first)
    want = [exact_pair(word(key, number // 2))[number % 2] for number in range(first, first + 7)]
    np.testing.assert_allclose(found, want, rtol=0, atol=3e-6)
    assert noise.uniforms(key, 3, first=first).tolist() == [
        (word(key, number) >> 11) * 2.0**-53 for number in range(first, first + 3)
    ]


@given(st.integers(0, MASK), st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 300))
def test_a_number_depends_on_key_and_place_alone(key, first, skipped, n):
    whole = noise.normals(key, skipped + n, first=first)
    assert (noise.normals(key, n, first=first + skipped) == whole[skipped:]).all()
    assert (
        noise.uniforms(key, n, first=first + skipped) == noise.uniforms(key, skipped + n, first=first)[skipped:]
    ).all()


def test_float32_numbers_are_the_float64_ones():
    narrow = noise.normals(5, 1001, dtype=np.float32)
    assert narrow.dtype == np.float32
    assert (noise.normals(5, 1001) == narrow).all()


def test_normals_are_normal():
    z = noise.normals(noise.key(11), N)
    assert stats.kstest(z, "norm").pvalue > 1e-3
    assert stats.kstest(z[0::2], "norm").pvalue > 1e-3
    assert stats.kstest(z[1::2], "norm").pvalue > 1e-3
    for power, moment in ((1, 0), (2, 1), (3, 0), (4, 3), (6, 15)):
        spread = math.sqrt((math.prod(range(2 * power - 1, 0, -2)) - moment**2) / N)
        assert abs((z**power).mean() - moment) < 4 * spread


@pytest.mark.parametrize("sigma", [2.0, 3.0, 4.0])
def test_tails_hold_what_they_should(sigma):
    z = noise.normals(noise.key(12), 4 * N)
    expected = 4 * N * stats.norm.sf(sigma)
    for count in ((z > sigma).sum(), (z < -sigma).sum()):
        assert abs(count - expected) < 4 * math.sqrt(expected)


def test_tails_reach_six_sigma():
    """The largest radius is that of the least u; no word gives an infinity or a NaN."""
    inverse = [pow(FIRST_FACTOR, -1, 2**64), pow(SECOND_FACTOR, -1, 2**64)]

    def key_for(bits):
        x = bits ^ (bits >> 31) ^ (bits >> 62)
        x = (x * inverse[1]) & MASK
        x = x ^ (x >> 27) ^ (x >> 54)
        x = (x * inverse[0]) & MASK
        return ((x ^ (x >> 30) ^ (x >> 60)) - INCREMENT) & MASK

    for low in (0, 2**29, 2**30 - 1, 2**30, 2**31, 2**32 - 1):
        key = key_for(low)
        assert word(key, 0) == low
        pair = noise.normals(key, 2)
        assert math.hypot(*pair) == pytest.approx(math.sqrt(2 * math.log(2.0**32)), rel=1e-6)
        assert math.hypot(*noise.normals(key_for((2**31 - 1) << 33 | low), 2)) < 1e-4
    assert math.sqrt(2 * math.log(2.0**32)) > 6.6


def test_numbers_are_independent():
    z = noise.normals(noise.key(13), N)
    for lag in (1, 2, 3, 7, 64, 1024):
        assert abs(np.mean(z[lag:] * z[:-lag])) < 4 / math.sqrt(N)
        assert abs(np.mean(z[lag:] ** 2 * z[:-lag] ** 2) - 1) < 4 * 3 / math.sqrt(N)
    for other in (noise.key(14), noise.key(13, 0), noise.key(13, 1), noise.key(13, 0, 0)):
        assert abs(np.mean(z * noise.normals(other, N))) < 4 / math.sqrt(N)


def test_uniforms_are_uniform():
    u = noise.uniforms(noise.key(15), N)
    assert stats.kstest(u, "uniform").pvalue > 1e-3
    assert u.min() >= 0 and u.max() < 1


def test_keys_differ():
    keys = {noise.key(*numbers) for numbers in np.ndindex(20, 20, 20)} | {noise.key(*n) for n in np.ndindex(20, 20)}
    keys |= {noise.key(n) for n in range(20)} | {noise.key(n, MASK) for n in range(20)}
    assert len(keys) == 8000 + 400 + 20 + 20
    words = {word(noise.key(1), number) for number in range(1000)}
    assert not words & {noise.key(1, number) for number in range(1000)}


def test_threads_change_nothing(monkeypatch):
    import numba

    n = (1 << 20) + 3
    answers = []
    for count in (1, 2, 5):
        monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", count)
        answers.append(noise.normals(3, n, first=1))
    assert (answers[0] == answers[1]).all() and (answers[0] == answers[2]).all()
    found = {}
    threads = [Thread(target=lambda k=k: found.update({k: noise.normals(k, 1000)})) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((found[k] == noise.normals(k, 1000)).all() for k in range(4))


def test_no_compiler_changes_nothing(same_without_the_compiler):
    same_without_the_compiler(
        "import hashlib, numpy as np\n"
        "from tetrit import noise\n"
        "z = noise.normals(noise.key(3), 3001, first=7, dtype=np.float32)\n"
        "print(hashlib.sha256(z.tobytes() + noise.uniforms(noise.key(4), 99).tobytes()).hexdigest())",
        silent=True,
    )


def test_the_bits_are_the_same_for_ever():
    assert noise.key(7, 1, 2) == KEY
    assert [float(z).hex() for z in noise.normals(1, 3)] == NORMALS


def test_empty():
    assert noise.normals(1, 0).shape == (0,) and noise.uniforms(1, 0, first=3).shape == (0,)


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda: noise.key(-1), InvalidValueError, "`seed` must be an integer from 0 to 18446744073709551615, got -1"),
        (lambda: noise.key(1, 2**64), InvalidValueError, f"`numbers` must be an integer from 0 to {MASK}, got {2**64}"),
        (lambda: noise.key(1.0), TypeError, "`seed` must be an integer, got 1.0"),
        (lambda: noise.normals(1, -1), InvalidValueError, "`n` must be a non-negative integer, got -1"),
        (lambda: noise.normals(1, 1, dtype=int), InvalidValueError, "`dtype` must be float64 or float32, got int64"),
        (lambda: noise.normals(-1, 1), InvalidValueError, f"`key` must be an integer from 0 to {MASK}, got -1"),
        (
            lambda: noise.uniforms(1, 1, first=-1),
            InvalidValueError,
            f"`first` must be an integer from 0 to {2**62}, got -1",
        ),
    ],
)
def test_refusals(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value) == text
