"""The search for a scale: bounds from a histogram choose what the golden sums choose, and leave open what they must."""

import numpy as np
import pytest

from tetrit import estimators, formats
from tetrit.estimators.scales import _kernels, best_scales, search
from tetrit.formats import RealFormat

FORMATS = ["fp4_e2m1", "fp4_e3m0", "posit4_1", "posit8_0", "int2", "int4", "int8", "pot4", "post4", "fp8_e5m2", "szt"]
ROWS = {
    "normal": lambda rng, shape, fmt: rng.normal(size=shape),
    "ties": lambda rng, shape, fmt: np.round(4 * rng.normal(size=shape)) / 8,
    "sparse": lambda rng, shape, fmt: rng.normal(size=shape) * (rng.random(shape) < 0.05),
    "near subnormal": lambda rng, shape, fmt: rng.normal(size=shape) * 1e-38,
    "subnormal": lambda rng, shape, fmt: rng.normal(size=shape) * 1e-44,
    "near overflow": lambda rng, shape, fmt: np.clip(rng.normal(size=shape), -3.4, 3.4) * 1e38,
    "wide": lambda rng, shape, fmt: np.exp2(rng.uniform(-40, 0, shape)) * rng.choice([-1, 1], shape),
    "constant": lambda rng, shape, fmt: np.full(shape, rng.normal()),
    "values": lambda rng, shape, fmt: rng.choice(fmt.magnitude_cells[1], shape) * rng.choice([-0.25, 0.25], shape),
    "borders": lambda rng, shape, fmt: rng.choice(fmt.magnitude_cells[0], shape) * rng.choice([-1, 1], shape),
    "outlier": lambda rng, shape, fmt: np.where(np.arange(shape[1]) == 5, 1.0, 1e-4 * rng.normal(size=shape)),
    "zero": lambda rng, shape, fmt: np.zeros(shape),
}


def summed(rows, e):
    """The choice of the golden sums alone."""
    everything = np.ones((len(rows), len(e.ratios())), np.bool_)
    return search._summed(rows, formats.get(e.format), e.ratios(), e.power_of_two, everything)


def searched(rows, e):
    return best_scales(rows, formats.get(e.format), e.ratios(), power_of_two=e.power_of_two)


def left_open(rows, e):
    """How many scales the histograms leave of each row."""
    fmt = formats.get(e.format)
    kept = search._kept_bits(fmt, rows, e.power_of_two)
    units = np.ones(len(rows)) if e.power_of_two else np.frexp(np.abs(rows).max(1).astype(np.float64))[0]
    scales = np.multiply.outer(units, e.ratios())
    return search._bounded(rows.view(np.uint32), kept, fmt, scales, e.power_of_two)[1].sum(1)


@pytest.mark.parametrize("power_of_two", [True, False])
@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("name", FORMATS)
def test_histograms_choose_as_the_golden_sums(name, kind, power_of_two):
    e, fmt, rng = estimators.get("ste_format", format=name, power_of_two=power_of_two), formats.get(name), None
    for seed, n in enumerate((1024, 3001, 40000)):
        rng = np.random.default_rng(seed)
        rows = ROWS[kind](rng, (3, n), fmt).astype(np.float32)
        assert searched(rows, e).tolist() == summed(rows, e).tolist()


@pytest.mark.parametrize("power_of_two", [True, False])
@pytest.mark.parametrize("name", ["fp4_e2m1", "int8", "posit8_0"])
def test_rows_of_several_histograms(name, power_of_two):
    e = estimators.get("ste_format", format=name, power_of_two=power_of_two)
    rng = np.random.default_rng(3)
    rows = (rng.standard_t(3, size=(2, 2 * _kernels.PART + 777)) * [[1.0], [1e-3]]).astype(np.float32)
    assert searched(rows, e).tolist() == summed(rows, e).tolist()


@pytest.mark.parametrize(("name", "share"), [("fp4_e2m1", 1.0), ("int4", 1.0), ("int8", 1.0), ("posit8_0", 0.7)])
def test_few_rows_need_the_sums(name, share):
    """Else the search would be right but no faster: at powers of two, where borders are edges of bins."""
    e = estimators.get("ste_format", format=name)
    rows = np.random.default_rng(4).normal(size=(20, 40000)).astype(np.float32)
    assert (left_open(rows, e) == 1).mean() >= share


def test_at_finer_scales_most_candidates_are_ruled_out():
    e = estimators.get("ste_format", power_of_two=False)
    rows = np.random.default_rng(5).normal(size=(20, 40000)).astype(np.float32)
    assert len(e.ratios()) == 25
    assert left_open(rows, e).mean() < 3


def test_scales_that_are_equally_good_are_left_to_the_sums():
    e = estimators.get("ste_format")
    rows = np.full((1, 2000), 0.75, np.float32)
    assert left_open(rows, e)[0] > 1
    assert searched(rows, e).tolist() == [0.5]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite(bad):
    rows = np.random.default_rng(6).normal(size=(3, 2000)).astype(np.float32)
    rows[1, 7] = bad
    for power_of_two in (True, False):
        e = estimators.get("ste_format", power_of_two=power_of_two)
        assert np.isfinite(searched(rows, e)).tolist() == [True, False, True]


def test_magnitudes_beyond_the_largest_value_count_as_held_there():
    """-8 is a number of int4, but no value of the estimator: at a scale of 1/8, -0.98 has the error of -7/8."""
    w = np.array([-0.98] * 30 + [0.125] * 10 + [0.28] * 5)
    fmt, scales = formats.get("int4"), [2.0**-i for i in range(4)]
    free = [((fmt.quantize(w / s) * s - w) ** 2).sum() for s in scales]
    held = [((np.clip(fmt.quantize(w / s), -7, 7) * s - w) ** 2).sum() for s in scales]
    assert (scales[int(np.argmin(free))], scales[int(np.argmin(held))]) == (0.125, 0.25)
    assert estimators.get("ste_format", format="int4")(w).scale == 0.25
    rows = np.tile(w, 50).astype(np.float32)
    assert estimators.get("ste_format", format="int4")(rows).scale == 0.25


PROBE = """
import hashlib
import numpy as np
from tetrit import estimators

rng = np.random.default_rng(8)
w = rng.normal(size=(3, 1500)).astype(np.float32)
w[2] = np.round(4 * w[2]) / 8
for axis in (0, None):
    for power_of_two in (True, False):
        e = estimators.get("ste_format", axis=axis, power_of_two=power_of_two)
        print(hashlib.sha256(e.forward(w).tobytes() + e(w).scale.tobytes()).hexdigest())
"""


def test_without_the_compiler_the_bits_are_the_same(same_without_the_compiler):
    same_without_the_compiler(PROBE)


@pytest.mark.parametrize("name", [n for n in formats.names() if isinstance(formats.get(n), RealFormat)])
def test_cells_of_magnitudes(name):
    fmt = formats.get(name)
    if name.startswith("uint"):
        assert fmt.magnitude_cells is None
        return
    borders, values = fmt.magnitude_cells
    assert (borders.size + 1, values[-1]) == (values.size, fmt.max_value)
    assert (np.diff(borders) > 0).all()
    assert (np.diff(values) > 0).all()
    for sign in (1.0, -1.0):
        assert (fmt.quantize(sign * np.nextafter(borders, np.inf)) == sign * values[1:]).all()
        below = np.nextafter(np.nextafter(borders, 0.0), 0.0)
        assert (fmt.quantize(sign * below) == sign * values[:-1]).all()
