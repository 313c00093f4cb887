"""Products: equal to plain ones, bit for bit, the same in any batch, and as near to float64 as stated."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrit import sim
from tetrit.hardware import Crossbar, Device
from tetrit.sim.crossbar.products import PackedMatrix, PackedVariances, filled, input_scale
from tetrit.sim.crossbar.products._kernels import (
    BLOCK,
    WIDTH,
    _fused,
    _multiply,
    _multiply_by_numpy,
    _multiply_counts,
    _multiply_counts_by_numpy,
)


def operands(rng, n, depth, columns, top=2**14):
    x = rng.integers(0, top + 1, size=(n, depth)).astype(np.int16)
    return x, rng.random((depth, columns)) ** 4


@pytest.mark.parametrize(("n", "depth", "columns"), [(6, 64, 64), (12, 128, 192), (48, 448, 64)])
def test_the_compiled_product_is_the_plain_one_bit_for_bit(n, depth, columns):
    rng = np.random.default_rng(n)
    x = rng.integers(0, 2**14 + 1, size=(n, depth)).astype(np.int16)
    w = rng.integers(0, 2**11, size=(columns // WIDTH, depth // 2, WIDTH, 2)).astype(np.int16)
    scale = rng.random((columns // WIDTH, depth // BLOCK, WIDTH)).astype(np.float32)
    fast, slow = np.zeros((2, n, columns), np.float32)
    _multiply_counts(x, w, scale, fast, 0, n // 6)
    _multiply_counts_by_numpy(x, w, scale, slow, 0, n // 6)
    assert fast.tobytes() == slow.tobytes() and fast.any()


def test_the_largest_sums_do_not_overflow():
    x = np.full((6, 128), 2**14, np.int16)
    found = PackedVariances(np.full((128, 64), 3.0)).product(x, [1.0, 1.0])
    np.testing.assert_allclose(found, 3.0 * 128 * 2**14, rtol=1e-6)


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 20, 2**14]))
def test_the_error_is_within_its_bound(seed, top):
    rng = np.random.default_rng(seed)
    x, variances = operands(rng, 6, 192, 64, top)
    x[0, rng.random(192) < 0.95] = 0
    factors = np.array([0.5, 2.0, 3.0])
    found = PackedVariances(variances).product(x, factors)
    scaled = x * np.repeat(factors, 64)
    largest = np.repeat(variances.reshape(3, 64, 64).max(axis=1), 64, axis=0)
    bound = scaled @ largest / 4094 * (1 + 1e-5)
    assert (np.abs(found - scaled @ variances) <= bound + 1e-6 * found).all()


def test_over_many_inputs_errors_cancel():
    rng = np.random.default_rng(3)
    x, variances = operands(rng, 6, 1024, 128)
    found = PackedVariances(variances).product(x, np.ones(16))
    assert np.abs(found / (x.astype(float) @ variances) - 1).max() < 3e-4


def test_no_variance_gives_none():
    x = np.full((6, 64), 2**14, np.int16)
    assert (PackedVariances(np.zeros((64, 64))).product(x, [1.0]) == 0).all()


@given(st.floats(1e-3, 2.0**40))
def test_inputs_use_the_range_and_never_leave_it(largest):
    scale = input_scale(largest)
    assert 2**13 < largest * scale <= 2**14
    assert scale == 2.0 ** round(np.log2(scale))
    assert input_scale(128.0**2) == 1.0


def test_filled():
    assert [filled(n) for n in (1, 6, 7)] == [6, 6, 12]


def test_the_engine_draws_the_same_noise_with_either_product():
    machine = Crossbar(
        rows=100, cols=64, device=Device(flicker=(0.1, 0.5, 1.0), shot=True, thermal=True), adc_bits=None, time_s=10.0
    )
    codes = np.random.default_rng(1).integers(0, 256, size=(150, 30))
    x = np.random.default_rng(2).integers(-128, 128, size=(40, 150))
    clean = sim.build(machine).load(codes).matmul(x, read_noise="off").output
    found = [
        sim.build(machine).load(codes).matmul(x, read_noise=mode).output - clean
        for mode in ("output", "output_float32")
    ]
    scale = np.abs(found[1]).mean()
    assert scale > 10
    assert np.abs(found[0] - found[1]).max() < 2e-3 * scale


def fused(x, y, z):
    """x y + z as a fraction, rounded to float32 by comparing neighbours."""
    exact = Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
    near = np.float32(float(exact))
    ways = [near, np.nextafter(near, np.float32(np.inf)), np.nextafter(near, np.float32(-np.inf))]
    best = min(abs(Fraction(float(way)) - exact) for way in ways)
    ties = [way for way in ways if abs(Fraction(float(way)) - exact) == best]
    return ties[0] if len(ties) == 1 else next(way for way in ties if not way.view(np.int32) & 1)


@given(st.integers(0, 2**32 - 1))
def test_the_plain_multiplication_and_addition_is_rounded_once(seed):
    rng = np.random.default_rng(seed)
    x, y = (rng.standard_normal(20).astype(np.float32) for _ in range(2))
    # sums half way between two numbers, and just beside, are where a second rounding would show
    z = (rng.standard_normal(20) * 2.0 ** rng.integers(-3, 26, 20)).astype(np.float32)
    x[:10], y[:10] = 1 + 2.0**-23, 1 + 2.0 ** rng.integers(-12, 1, 10)
    assert _fused(x, y, z).tolist() == [fused(*three) for three in zip(x, y, z, strict=True)]


@pytest.mark.parametrize(("n", "depth", "columns"), [(6, 64, 64), (12, 128, 96), (30, 192, 64)])
def test_the_compiled_float32_product_is_the_plain_one_bit_for_bit(n, depth, columns):
    rng = np.random.default_rng(n)
    x, w = rng.standard_normal((n, depth)).astype(np.float32), rng.standard_normal((depth, columns))
    packed = PackedMatrix(w)
    fast, slow = np.zeros((2, n, columns), np.float32)
    _multiply(x, packed.tiles, fast, 0, n // 6)
    _multiply_by_numpy(x, packed.tiles, slow, 0, n // 6)
    assert fast.tobytes() == slow.tobytes()
    np.testing.assert_allclose(fast, x.astype(float) @ w, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("depth", "columns"), [(64, 64), (448, 192), (1088, 1024)])
def test_rows_of_a_product_are_the_same_bits_in_any_batch_and_on_any_threads(depth, columns, monkeypatch):
    import numba

    rng = np.random.default_rng(depth)
    x, w = rng.standard_normal((200, depth)).astype(np.float32), rng.standard_normal((depth, columns))
    matrix = PackedMatrix(w)
    answers = []
    for threads, size in ((1, 200), (1, 7), (2, 200), (2, 64), (5, 130), (2, 1)):
        monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", threads)
        parts = []
        for start in range(0, 200, size):
            part = x[start : start + size]
            given = np.zeros((filled(len(part)), depth), np.float32)
            given[: len(part)] = part
            parts.append(matrix.product(given)[: len(part)])
        answers.append(np.concatenate(parts))
    assert all(answer.tobytes() == answers[0].tobytes() for answer in answers)


@pytest.mark.parametrize(("n", "depth", "columns"), [(6, 64, 64), (30, 192, 96)])
def test_the_compiled_float64_product_of_integers_is_the_plain_one(n, depth, columns):
    rng = np.random.default_rng(n)
    x = rng.integers(-(2**15), 2**15, size=(n, depth)).astype(float)
    packed = PackedMatrix(rng.integers(-(2**20), 2**20, size=(depth, columns)), np.float64)
    fast, slow = np.zeros((2, n, columns))
    _multiply(x, packed.tiles, fast, 0, n // 6)
    _multiply_by_numpy(x, packed.tiles, slow, 0, n // 6)
    assert fast.tolist() == slow.tolist() and fast.dtype == packed.tiles.dtype == np.float64


def test_exact_products_are_exact():
    rng = np.random.default_rng(1)
    x, w = rng.integers(-(2**15), 2**15, size=(12, 200)), rng.integers(-255, 256, size=(200, 64))
    found = PackedMatrix(w, np.float64).product(x.astype(float))
    assert found.tolist() == (x @ w).tolist() and math.log2(np.abs(found).max()) > 24
