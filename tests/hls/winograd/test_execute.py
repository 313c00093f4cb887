"""Convolutions by tiles: exact integers against loops, widths that are attained and suffice, rounding within bounds."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hls.winograd.reference import convolve
from tetrit.errors import InvalidValueError, UnknownNameError
from tetrit.hls.winograd import conv2d, conv2d_exact, growth, measure, transform, widths
from tetrit.hls.winograd.analysis import bound, estimate
from tetrit.hls.winograd.execute import FLOATS, direct

SCHEMES = [(2, "standard"), (3, "standard"), (4, "standard"), (6, "halves"), (6, "standard")]


@settings(max_examples=25)
@given(data=st.data())
def test_integers_are_exact(data):
    """Any shape, kernel, padding and groups; signed and unsigned inputs."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    draw = data.draw
    m_v, m_h = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    rows, columns = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    groups, own, outs = draw(st.integers(1, 2)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    padding = tuple(draw(st.integers(0, 2)) for _ in range(4))
    shape = (draw(st.integers(1, 2)), groups * own, draw(st.integers(rows, 7)), draw(st.integers(columns, 7)))
    x = rng.integers(0, 256, shape) - 128 * draw(st.integers(0, 1))
    w = rng.integers(-1, 2, (groups * outs, own, rows, columns)) * draw(st.sampled_from([1, 127]))
    got = conv2d_exact(x, w, transform(m_v, rows), transform(m_h, columns), padding=padding, groups=groups)
    assert got.dtype == np.int64
    assert (got == convolve(x, w, padding, groups)).all()


@pytest.mark.parametrize(("m", "points"), SCHEMES)
def test_extreme_integers_are_exact(m, points):
    """All inputs and weights at the ends of int8: where a width too small would show."""
    rng = np.random.default_rng(0)
    x = rng.choice([-128, 127], (1, 16, 2 * m + 2, m + 5))
    w = rng.choice([-128, 127], (3, 16, 3, 3))
    got = conv2d_exact(x, w, transform(m, 3, points), padding=(1, 1, 1, 1), act=(-128, 127), weight=(-128, 127))
    assert (got == direct(x, w, padding=1)).all()  # float64 holds these sums exactly


def test_beyond_2_53_integers_are_used():
    rng = np.random.default_rng(1)
    x, w = rng.integers(-(2**15), 2**15, (1, 4, 6, 6)), rng.integers(-(2**15), 2**15, (2, 4, 3, 3))
    f = transform(4, 3)
    assert 53 < widths(f, f, act=(-(2**15), 2**15), weight=(-(2**15), 2**15), channels=4).output_bits <= 63
    assert (conv2d_exact(x, w, f) == convolve(x, w)).all()


@pytest.mark.parametrize(("m", "points"), [(2, "standard"), (4, "standard"), (6, "halves"), (4, "nova")])
def test_widths_are_attained_and_suffice(m, points):
    """The widest transformed input and weight, by search over corners in a place, need exactly the stated bits."""
    f = transform(m, 3, points)
    found = widths(f, f, act=(-128, 127), weight=(-1, 1), channels=5)

    def bits(values):
        return max(int(v).bit_length() if v >= 0 else (-int(v) - 1).bit_length() for v in values) + 1

    for rows, limits, stated in ((f.integer.b, (-128, 127), found.act_bits), (f.integer.g, (-1, 1), found.weight_bits)):
        extremes = []
        for left in rows:
            for right in rows:
                place = np.multiply.outer(left, right)
                for low, high in (limits, limits[::-1]):
                    extremes.append(sum(int(c) * (high if c > 0 else low) for c in place.reshape(-1)))
        assert bits(extremes) == stated
    assert found.denominator == f.integer.denominator**2
    assert found.direct_acc_bits == bits([5 * 9 * 128, -5 * 9 * 128])


def test_widths_of_ternary_weights():
    f = transform(2, 3)
    found = widths(f, f, act=(-128, 127), weight=(-1, 1), channels=64)
    assert (found.act_bits, found.weight_bits, found.product_bits, found.acc_bits) == (10, 5, 14, 20)
    assert (found.denominator, found.direct_acc_bits) == (4, 18)


@settings(max_examples=20)
@given(
    seed=st.integers(0, 2**32),
    arithmetic=st.sampled_from(sorted(FLOATS)),
    scheme=st.sampled_from([*SCHEMES, (4, "nova"), (6, "nova")]),
    spread=st.sampled_from([0.0, 2.0]),
)
def test_rounding_stays_within_its_bound(seed, arithmetic, scheme, spread):
    rng = np.random.default_rng(seed)
    spread = 0.0 if arithmetic == "float16" else spread  # which the bound is not for where it over- or underflows
    x = rng.normal(size=(1, 3, 7, 8)) * np.exp(spread * rng.normal(size=(1, 3, 7, 8)))
    w = rng.normal(size=(2, 3, 3, 3))
    f = transform(scheme[0], 3, scheme[1])
    exact = convolve(x, w, (1, 1, 1, 1)).astype(float)
    error = np.abs(conv2d(x, w, f, arithmetic=arithmetic, padding=1) - exact)
    limit = bound(x, w, f, arithmetic=arithmetic, padding=1)
    # beside what the loops' own sums in float64 lose, and subnormal float16
    assert (error <= limit + 1e-14 * np.abs(exact).max() + (1e-2 if arithmetic == "float16" else 0.0)).all()


def test_the_bound_is_not_idle():
    """A thousand times the rounding leaves the bound: it would be found out."""
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(1, 3, 8, 8)), rng.normal(size=(2, 3, 3, 3))
    f = transform(2, 3)
    rough = np.abs(conv2d(x, w, f, arithmetic="bf16") - direct(x, w))
    assert (rough > bound(x, w, f, arithmetic="float32")).any()


@pytest.mark.parametrize("arithmetic", ["int8", "fp4_e2m1", "posit8_0", "posit16_1", "int4"])
@pytest.mark.parametrize(("m", "points"), [(2, "standard"), (4, "standard"), (4, "nova"), (6, "halves")])
def test_estimates_fit_what_is_measured(arithmetic, m, points):
    rng = np.random.default_rng(3)
    x, w = np.maximum(rng.normal(size=(1, 16, 14, 14)), 0), rng.normal(size=(8, 16, 3, 3))
    f = transform(m, 3, points)
    found = measure(x, w, f, arithmetic=arithmetic, padding=1)
    assert 0.8 < found.estimate / found.rms < 1.3
    assert found.bound is None
    assert found.rms > found.direct_rms > 0


@pytest.mark.parametrize("arithmetic", ["float32", "float16", "bf16"])
def test_estimates_of_floating_point_have_the_right_order(arithmetic):
    rng = np.random.default_rng(3)
    x, w = np.maximum(rng.normal(size=(1, 16, 14, 14)), 0), rng.normal(size=(8, 16, 3, 3))
    found = measure(x, w, transform(4, 3), arithmetic=arithmetic, padding=1)
    assert 0.3 < found.estimate / found.rms < 3
    assert found.bound is not None
    assert found.largest < found.bound


def test_condition_numbers_do_not_rank_errors():
    """F(6,3): NOVA's points have the far better Vandermonde matrix, the usual ones with +-1/2 the smaller errors."""
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(1, 16, 14, 14)), rng.normal(size=(8, 16, 3, 3))
    halves, nova, standard = (transform(6, 3, points) for points in ("halves", "nova", "standard"))
    errors = [measure(x, w, f, arithmetic="float32", padding=1).rms for f in (halves, nova, standard)]
    assert 3 * errors[0] < errors[1] < errors[2] / 3
    assert growth(halves).typical < growth(nova).typical < growth(standard).typical


def test_growth_is_that_of_the_worst_case():
    """All inputs and weights of magnitude 1 with the signs of the transforms reach the first stages' bound."""
    f = transform(2, 3)
    found = growth(f)
    a, g, b = (np.abs(rows) for rows in f.floats)
    ones = np.ones((4, 4)), np.ones((3, 3))
    worst = (a @ ((g @ ones[1] @ g.T) * (b @ ones[0] @ b.T)) @ a.T).max() / 9
    assert found.worst == pytest.approx(worst)
    assert growth(f, transform(1, 1)).worst == pytest.approx(np.sqrt(worst))


def test_overflow_gives_infinities_not_warnings():
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(1, 8, 16, 16)), rng.normal(size=(4, 8, 3, 3))
    assert measure(x, w, transform(8, 3), arithmetic="float16").rms == np.inf


@pytest.mark.parametrize("arithmetic", ["float32", "int8", "posit8_0"])
def test_zeros_stay_zero_and_empty_stays_empty(arithmetic):
    f = transform(2, 3)
    zero = conv2d(np.zeros((1, 2, 5, 5)), np.ones((3, 2, 3, 3)), f, arithmetic=arithmetic)
    assert zero.shape == (1, 3, 3, 3)
    assert not zero.any()
    assert conv2d_exact(np.zeros((0, 1, 4, 4), int), np.ones((1, 1, 3, 3), int), f).shape == (0, 1, 2, 2)


def test_inputs_may_be_any_layout_and_stay_as_they_are():
    rng = np.random.default_rng(0)
    x = rng.integers(-128, 128, (8, 9, 4, 2)).astype(np.int8).transpose(3, 2, 0, 1)
    w = np.asfortranarray(rng.integers(-1, 2, (2, 4, 3, 3)).astype(np.int8))
    before = x.copy(), w.copy()
    assert (conv2d_exact(x, w, transform(2, 3)) == convolve(x, w)).all()
    assert (x == before[0]).all()
    assert (w == before[1]).all()


ONE = np.ones((1, 1, 4, 4), int)
TAPS = np.ones((1, 1, 3, 3), int)


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda: conv2d_exact(ONE * 0.5, TAPS, transform(2, 3)), TypeError, "`x` must be integers, got float64"),
        (
            lambda: conv2d_exact(ONE, TAPS, transform(2, 2)),
            InvalidValueError,
            "`vertical` must be for the 3 taps of `w`, got F(2,2)",
        ),
        (lambda: conv2d_exact(ONE, TAPS, 2), TypeError, "`vertical` must be a Transform, got 2"),
        (
            lambda: conv2d_exact(ONE[0], TAPS, transform(2, 3)),
            InvalidValueError,
            "`x` and `w` must have shapes (batch, channels, height, width) and (outputs, channels / groups, rows, "
            "columns), got (1, 4, 4) and (1, 1, 3, 3)",
        ),
        (
            lambda: conv2d_exact(ONE, np.ones((1, 2, 3, 3), int), transform(2, 3)),
            InvalidValueError,
            "`w` of shape (1, 2, 3, 3) must have 1 channels in 1 groups, and as many outputs in each",
        ),
        (
            lambda: conv2d_exact(ONE[:, :, :2], TAPS, transform(2, 3)),
            InvalidValueError,
            "`w` of 3 x 3 must fit the padded input",
        ),
        (
            lambda: conv2d_exact(ONE, TAPS, transform(2, 3), act=(2, 5)),
            InvalidValueError,
            "`act` must contain all values, 0 to 1, got (2, 5)",
        ),
        (
            lambda: conv2d_exact(200 * ONE, TAPS, transform(8, 3, "nova")),
            InvalidValueError,
            "F(8,3) at 0, 2/5, -2/5, 5/6, -5/6, 1, -1, 7/6, -7/6 needs sums of up to 125 bits here, 63 can be had: "
            "take fewer outputs a tile or other points",
        ),
        (
            lambda: conv2d(ONE * np.nan, TAPS, transform(2, 3)),
            InvalidValueError,
            "`x` must be finite, got nan at index (0, 0, 0, 0)",
        ),
        (
            lambda: conv2d(ONE, TAPS, transform(2, 3), arithmetic="int88"),
            UnknownNameError,
            "unknown arithmetic 'int88'; did you mean 'int8'?",
        ),
        (
            lambda: bound(ONE, TAPS, transform(2, 3), arithmetic="int8"),
            InvalidValueError,
            "`arithmetic` must be one of float64, float32, float16, bf16, got 'int8'",
        ),
        (
            lambda: measure(0 * ONE, TAPS, transform(2, 3), arithmetic="int8"),
            InvalidValueError,
            "the convolution gives only zeros: there is nothing to compare with",
        ),
        (
            lambda: widths(transform(2, 3), transform(2, 3), act=(3, 2), weight=(0, 1), channels=1),
            InvalidValueError,
            "`act` must be the least and the greatest integer, got 3 and 2",
        ),
        (
            lambda: widths(transform(2, 3), transform(2, 3), act=3, weight=(0, 1), channels=1),
            TypeError,
            "`act` must be the least and the greatest integer, got 3",
        ),
        (
            lambda: conv2d_exact(ONE, TAPS, transform(2, 3), padding=(1, 2)),
            InvalidValueError,
            "`padding` must be one or four integers, got (1, 2)",
        ),
    ],
)
def test_refusals(call, kind, text):
    with pytest.raises(kind, match=f"^{re.escape(text)}$"):
        call()


def test_a_broken_transform_is_found_out():
    """The comparison with loops sees a single wrong coefficient."""
    f = transform(2, 3)
    wrong = f.integer.b.copy()
    wrong[1, 1] += 1
    f.__dict__["integer"] = type(f.integer)(a=f.integer.a, g=f.integer.g, b=wrong, denominator=f.integer.denominator)
    rng = np.random.default_rng(0)
    x, w = rng.integers(-9, 9, (1, 2, 6, 6)), rng.integers(-9, 9, (1, 2, 3, 3))
    assert (conv2d_exact(x, w, f) != convolve(x, w)).any()


def test_estimate_is_zero_without_rounding():
    x, w = np.ones((1, 1, 4, 4)), np.ones((1, 1, 3, 3))
    assert estimate(x, w, transform(2, 3), arithmetic="float64") == 0.0
