"""Integer zeroth-order training: updates against the reference, the integer loss against the real one, a training."""

import math
import pickle
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrit.errors import InvalidValueError
from tetrit.estimators.zeroth import IntegerSPSA, integer_cross_entropy, reference, step_seed


@settings(max_examples=100)
@given(
    st.lists(st.integers(-127, 127), max_size=20),
    st.sampled_from([-1, 0, 1]),
    st.integers(1, 127),
    st.floats(0, 1),
    st.integers(1, 7),
    st.integers(0, 2**64 - 1),
)
def test_reference(values, sign, reach, share, bits, seed):
    w = np.array(values, np.int8)
    spsa = IntegerSPSA(reach=reach, zero_share=share, update_bits=bits)
    noise = {"reach": reach, "zero_share": share, "seed": seed, "offset": 5}
    got = spsa.perturbed(w, sign, seed=seed, offset=5)
    assert got.tobytes() == reference.integer_added(w, sign, shift=0, **noise).tobytes()
    got = spsa.updated(w, sign, seed=seed, offset=5)
    assert got.tobytes() == reference.integer_added(w, -sign, shift=spsa.shift, **noise).tobytes()
    assert (np.abs(got.astype(int) - w) <= 2**bits).all()  # what the update bits promise
    assert w.tolist() == values


def test_every_code_saturates_at_127():
    w = np.arange(-127, 128).astype(np.int8)
    spsa = IntegerSPSA(reach=127, zero_share=0.0)
    for times in (1, -1):
        got = spsa.perturbed(w, times, seed=1).astype(int)
        free = w.astype(int) + times * spsa.direction(w.shape, seed=1)
        np.testing.assert_array_equal(got, np.clip(free, -127, 127))
        assert (got != free).any()


def test_layout_and_out():
    spsa = IntegerSPSA()
    w = np.random.default_rng(0).integers(-127, 128, (5, 6)).astype(np.int8)
    wanted = spsa.updated(w, 1, seed=3)
    np.testing.assert_array_equal(spsa.updated(np.asfortranarray(w), 1, seed=3), wanted)
    for out in (np.empty((5, 6), np.int8), np.empty((6, 5), np.int8).T, w):
        assert spsa.updated(w, 1, seed=3, out=out) is out
        np.testing.assert_array_equal(out, wanted)
    for shape in ((), (0,), (0, 3)):
        assert spsa.updated(np.zeros(shape, np.int8), 1, seed=3).shape == shape


def test_sign():
    spsa = IntegerSPSA()
    assert [spsa.sign(*pair) for pair in ((3, 2), (2, 2), (-5, 2), (2**62, -(2**62)))] == [1, 0, -1, 1]
    assert pickle.loads(pickle.dumps(spsa)) == spsa


@pytest.mark.parametrize("exponent", [-24, -12, -6, -3, 0, 2, 4])
@pytest.mark.parametrize("classes", [1, 2, 10, 1000, 4096])
def test_the_integer_loss_is_the_real_one(exponent, classes):
    rng = np.random.default_rng(classes)
    reach = int(min(2.0 ** (5 - exponent), 2**31 - 1))  # logits up to 32 in real units, or tiny ones
    logits = rng.integers(-reach, reach + 1, (40, classes))
    labels = rng.integers(0, classes, 40)
    logits[0] = 0  # uniform
    got = integer_cross_entropy(logits, labels, exponent=exponent)
    assert got.dtype == np.int64
    for row, label, loss in zip(logits.tolist(), labels.tolist(), got.tolist(), strict=True):
        exact = reference.cross_entropy(row, label, exponent)
        assert abs(loss / 2**16 - exact) <= 2**-14 + 2e-8 * abs(exact)
        assert loss >= 0
    assert got[0] / 2**16 == pytest.approx(math.log2(classes), abs=2**-14)


def test_the_extremes_of_the_integer_loss():
    top = 2**31 - 1
    loss = integer_cross_entropy([[top, -top], [top, -top]], [0, 1], exponent=4)
    assert loss[0] == 0
    assert loss[1] / 2**16 == pytest.approx(2 * top * 16 / math.log(2), rel=2e-8)
    assert integer_cross_entropy(np.zeros((0, 3), int), np.zeros(0, int), exponent=0).shape == (0,)
    unsigned = integer_cross_entropy(np.array([[7, 3]], np.uint8), [1], exponent=-1)
    assert unsigned.tolist() == integer_cross_entropy([[7, 3]], [1], exponent=-1).tolist()


def test_the_integer_loss_orders_what_the_real_one_orders():
    """The sign that training uses: right wherever the real losses differ by more than the stated error."""
    rng = np.random.default_rng(3)
    spsa = IntegerSPSA()
    near = 0
    for _ in range(300):
        a = rng.integers(-400, 400, (1, 10))
        b = a + rng.integers(-1, 2, (1, 10))
        losses = [int(integer_cross_entropy(x, [4], exponent=-5).sum()) for x in (a, b)]
        real = [reference.cross_entropy(x[0].tolist(), 4, -5) for x in (a, b)]
        if abs(real[0] - real[1]) > 2 * (2**-14 + 2e-8 * max(real)):
            assert spsa.sign(*losses) == np.sign(real[0] - real[1])
        else:
            near += 1
    assert near < 150


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: IntegerSPSA(reach=128), InvalidValueError, "`reach` must be an integer from 1 to 127, got 128"),
        (lambda: IntegerSPSA(zero_share=1.5), InvalidValueError, "`zero_share` must be from 0 to 1, got 1.5"),
        (lambda: IntegerSPSA(update_bits=0), InvalidValueError, "`update_bits` must be an integer from 1 to 7, got 0"),
        (lambda: IntegerSPSA().updated(np.ones(2), 1, seed=0), TypeError, "`w` must be an int8 array, got float64"),
        (
            lambda: IntegerSPSA().updated(np.ones(2, np.int8), 2, seed=0),
            InvalidValueError,
            "`sign` must be an integer from -1 to 1, got 2",
        ),
        (
            lambda: IntegerSPSA().perturbed(np.ones(2, np.int8), -2, seed=0),
            InvalidValueError,
            "`times` must be an integer from -1 to 1, got -2",
        ),
        (lambda: IntegerSPSA().sign(1.0, 2), TypeError, "`loss_plus` must be an integer, got 1.0"),
        (
            lambda: integer_cross_entropy([[0.5]], [0], exponent=0),
            TypeError,
            "`logits` must hold integers, got float64",
        ),
        (
            lambda: integer_cross_entropy([1, 2], [0], exponent=0),
            InvalidValueError,
            "`logits` must have 2 dimensions, got 1",
        ),
        (
            lambda: integer_cross_entropy([[1, 2]], [0, 1], exponent=0),
            InvalidValueError,
            "`logits` must have one row for each of 2 labels and at least one class, got shape (1, 2)",
        ),
        (
            lambda: integer_cross_entropy([[1, 2]], [2], exponent=0),
            InvalidValueError,
            "`labels` must be from 0 to 1, got 2",
        ),
        (
            lambda: integer_cross_entropy([[2**31, 2]], [1], exponent=0),
            InvalidValueError,
            f"`logits` must have magnitudes below 2^31, got {2**31}",
        ),
        (
            lambda: integer_cross_entropy([[1, 2]], [1], exponent=5),
            InvalidValueError,
            "`exponent` must be an integer from -24 to 4, got 5",
        ),
    ],
)
def test_bad_arguments(call, error, text):
    with pytest.raises(error, match="^" + re.escape(text) + "$"):
        call()


def test_a_training_in_integers_alone():
    """int8 weights, int8 inputs, int32 accumulators, integer loss, integer update: not one float, and it learns."""
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 3, 240)
    centres = rng.integers(-60, 61, (3, 6))
    x = np.clip(centres[labels] + rng.integers(-20, 21, (240, 6)), -127, 127).astype(np.int64)
    spsa = IntegerSPSA(reach=15, zero_share=0.33, update_bits=2)
    w = np.zeros((6, 3), np.int8)

    def loss(weights):
        return int(integer_cross_entropy(x @ weights.astype(np.int64), labels, exponent=-12).sum())

    start = loss(w)
    assert start == pytest.approx(240 * math.log2(3) * 2**16, rel=1e-3)
    for step in range(300):
        seed = step_seed(0, step)
        sign = spsa.sign(*(loss(spsa.perturbed(w, times, seed=seed)) for times in (1, -1)))
        spsa.updated(w, sign, seed=seed, out=w)
    assert loss(w) < 0.35 * start
    assert w.dtype == np.int8
    assert (np.argmax(x @ w.astype(np.int64), axis=1) == labels).mean() > 0.9
