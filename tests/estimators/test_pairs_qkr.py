"""QKR: products and gradients against the slow reference and finite differences, StatsQ inside, errors."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tetrit.errors import InvalidValueError
from tetrit.estimators.deterministic import StatsQ
from tetrit.estimators.pairs import QKR, reference

FLOATS = [np.float16, np.float32, np.float64]


@st.composite
def latents(draw, dtype):
    shape = (2, *(draw(st.integers(0, 3)) for _ in range(3)))
    return draw(hnp.arrays(dtype, shape, elements=st.floats(-100, 100, width=16)))


def quantised_rows(products, e):
    """Values of StatsQ of every row on its own."""
    out = np.empty_like(products)
    for h, i in np.ndindex(*products.shape[:2]):
        out[h, i] = StatsQ(bits=e.bits)(products[h, i]).values
    return out


@pytest.mark.parametrize("dtype", FLOATS)
@given(data=st.data())
def test_products_and_codes_equal_the_reference(data, dtype):
    w = data.draw(latents(dtype))
    e = QKR(bits=data.draw(st.integers(1, 8)))
    products = reference.qkr_product(w)
    np.testing.assert_array_equal(e.product(w), products)
    q = e(w)
    _, heads, _, n = w.shape
    assert q.codes.shape == q.values.shape == e.value_shape(w.shape) == (heads, n, n)
    assert q.scale.shape == (heads, n, 1)
    np.testing.assert_array_equal(q.values, quantised_rows(products, e))
    np.testing.assert_array_equal(e.forward(w), q.values)


@pytest.mark.parametrize("dtype", FLOATS)
@given(data=st.data())
def test_backward_equals_the_reference(data, dtype):
    w = data.draw(latents(dtype))
    _, heads, _, n = w.shape
    g = data.draw(hnp.arrays(dtype, (heads, n, n), elements=st.floats(-100, 100, width=16)))
    got = QKR().backward(w, g)
    assert got.dtype == dtype
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(got, reference.qkr_backward(w, g).astype(dtype))


def test_gradient_is_that_of_the_product_by_finite_differences():
    """Straight through StatsQ, the loss <G, Q(P)> has the gradient of <G, P>, which is bilinear in W_q and W_k."""
    rng = np.random.default_rng(0)
    w, g = rng.normal(size=(2, 2, 3, 4)), rng.normal(size=(2, 4, 4))
    e = QKR(bits=3)
    got = e.backward(w, g)
    step = 2.0**-10
    for index in np.ndindex(*w.shape):
        up, down = w.copy(), w.copy()
        up[index] += step
        down[index] -= step
        slope = ((g * e.product(up)).sum() - (g * e.product(down)).sum()) / (2 * step)
        assert got[index] == pytest.approx(slope, rel=1e-9, abs=1e-9)


def test_gradient_equals_that_of_the_attention_logits():
    """x P x^T with P = W_q^T W_k is (W_q x) . (W_k y): the chain rule through queries and keys gives the same."""
    rng = np.random.default_rng(1)
    w, x, y = rng.normal(size=(2, 1, 3, 5)), rng.normal(size=5), rng.normal(size=5)
    got = QKR().backward(w, np.outer(x, y)[None])
    np.testing.assert_allclose(got[0, 0], np.outer(w[1, 0] @ y, x), rtol=1e-12)
    np.testing.assert_allclose(got[1, 0], np.outer(w[0, 0] @ x, y), rtol=1e-12)


def test_cga_freezes_elements_of_the_product():
    rng = np.random.default_rng(2)
    w, g = rng.normal(size=(2, 2, 3, 6)), rng.normal(size=(2, 6, 6))
    e = QKR(bits=2, cga=0.2)
    products = e.product(w)
    frozen = np.stack([StatsQ(bits=2, cga=0.2, axis=0).frozen(p) for p in products])
    assert 0 < frozen.sum() < frozen.size
    np.testing.assert_array_equal(e.backward(w, g), QKR(bits=2).backward(w, np.where(frozen, 0.0, g)))


def in_order(left, right):
    """Return left right, the terms added one after the other in float64."""
    total = np.zeros((left.shape[0], right.shape[1]))
    for column, row in zip(left.T.astype(np.float64), right.astype(np.float64), strict=True):
        total = total + column[:, None] * row
    return total


@pytest.mark.parametrize(("dtype", "shape"), [(np.float32, (2, 2, 70, 131)), (np.float64, (2, 5, 130, 66))])
def test_matrices_larger_than_a_panel(dtype, shape):
    """More terms, columns and rows than the kernel holds at a time, none a multiple of it, and work for two threads."""
    rng = np.random.default_rng(6)
    w, g = rng.normal(size=shape).astype(dtype), rng.normal(size=QKR().value_shape(shape)).astype(dtype)
    e = QKR(bits=3)
    products, back, out = e.product(w), e.backward(w, g), np.empty_like(g)
    assert e.forward(w, out=out).tobytes() == e(w).dequantize(np.empty_like(g)).tobytes()
    for h, (query, key) in enumerate(zip(*w, strict=True)):
        assert products[h].tobytes() == in_order(query.T, key).tobytes()
        assert back[0, h].tobytes() == in_order(key, g[h].T).astype(dtype).tobytes()
        assert back[1, h].tobytes() == in_order(query, g[h]).astype(dtype).tobytes()


@pytest.mark.parametrize("call", [QKR(), QKR().forward], ids=["codes", "values"])
def test_a_row_whose_magnitudes_overflow_is_refused(call):
    w = np.array([[[[1.0, 1e154]]], [[[1e154, 1e154]]]])
    with pytest.raises(
        InvalidValueError, match=r"^`w` must have a sum of magnitudes that float64 can hold, got an overflow$"
    ):
        call(w)


def test_a_gradient_with_the_heads_swapped_would_be_seen():
    rng = np.random.default_rng(3)
    w, g = rng.normal(size=(2, 2, 3, 4)), rng.normal(size=(2, 4, 4))
    assert np.abs(QKR().backward(w, g) - reference.qkr_backward(w, g[::-1])).max() > 0.1
    assert np.abs(QKR().backward(w, g) - reference.qkr_backward(w, g.swapaxes(1, 2))).max() > 0.1


@pytest.mark.parametrize("dtype", FLOATS)
def test_out(dtype):
    rng = np.random.default_rng(4)
    w, g = rng.normal(size=(2, 2, 3, 4)).astype(dtype), rng.normal(size=(2, 4, 4)).astype(dtype)
    e = QKR()
    wanted = e.backward(w, g)
    for out in (np.empty(w.shape, dtype), np.empty(w.shape[::-1], dtype).T, np.empty((*w.shape, 2), dtype)[..., 1]):
        assert e.backward(w, g, out=out) is out
        np.testing.assert_array_equal(out, wanted)
    values = np.empty(g.shape, dtype)
    assert e.forward(w, out=values) is values
    np.testing.assert_array_equal(values, e(w).values.astype(dtype))
    same = w.copy()
    np.testing.assert_array_equal(e.backward(same, g, out=same), wanted)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: QKR(bits=16), InvalidValueError, "`bits` must be an integer from 1 to 15, got 16"),
        (lambda: QKR(cga=0.6), InvalidValueError, "`cga` must be from 0 to 0.5, got 0.6"),
        (
            lambda: QKR()(np.ones((2, 3, 4))),
            InvalidValueError,
            "`w` must have shape (2, heads, d_head, d_model), got (2, 3, 4)",
        ),
        (
            lambda: QKR()(np.ones((3, 1, 3, 4))),
            InvalidValueError,
            "`w` must have shape (2, heads, d_head, d_model), got (3, 1, 3, 4)",
        ),
        (
            lambda: QKR()(np.array([[[[1.0]]], [[[np.nan]]]])),
            InvalidValueError,
            "`w` must be finite, got nan at index (1, 0, 0, 0)",
        ),
        (
            lambda: QKR()(np.full((2, 1, 1, 2), 1e200)),
            InvalidValueError,
            "`w` must have products that float64 can hold, got an overflow",
        ),
        (
            lambda: QKR().backward(np.ones((2, 1, 3, 4)), np.ones((2, 1, 3, 4))),
            InvalidValueError,
            "`grad_out` must have shape (1, 4, 4), got (2, 1, 3, 4)",
        ),
        (
            lambda: QKR().backward(np.ones((2, 1, 3, 4)), np.ones((1, 4, 4)), out=np.ones((1, 4, 4))),
            InvalidValueError,
            "`out` must have shape (2, 1, 3, 4) and dtype float64, got (1, 4, 4) and float64",
        ),
        (
            lambda: QKR()(np.ones((2, 1, 3, 4), int)),
            TypeError,
            "`w` must be a float16, float32 or float64 array, got int64",
        ),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match="^" + re.escape(text) + "$"):
        call()
