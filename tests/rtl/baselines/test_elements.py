# amaranth: UnusedElaboratable=no
"""Baseline elements on Amaranth's simulator: sums in every format, idle cycles, operands passed on, and an array."""

import numpy as np
import pytest

from tetrit import formats
from tetrit.errors import InvalidValueError, UnknownNameError
from tetrit.hardware import WEIGHT_FORMATS
from tetrit.rtl.baselines import ACCUMULATORS, IntegerMac, MacArray, QuireMac, RoundingMac, ShiftMac

TERMS = 4096


def make(kind, act, weight, adders="fast"):
    if kind is RoundingMac:
        return RoundingMac(act, weight, adders=adders)
    return kind(act, weight, formats.accumulator_bits(act, weight, TERMS), adders=adders)


def codes_of(name):
    """Codes that stand for numbers."""
    return np.flatnonzero(np.isfinite(formats.get(name).values))


def sums(bench, element, acts, weights, lasts, gaps=()):
    """Feed an element; return its result after each step that ended a sum."""
    rows = []
    for index, (a, w, last) in enumerate(zip(acts, weights, lasts, strict=True)):
        if index in gaps:  # what is there while nothing counts must not matter
            rows.append({"enable": 1, "valid_in": 0, "act_in": w, "weight_in": a, "last_in": 1})
            rows.append({"enable": 0, "valid_in": 1, "act_in": w, "weight_in": a, "last_in": 1})
        rows.append({"enable": 1, "valid_in": 1, "act_in": a, "weight_in": w, "last_in": last})
    rows.append({"enable": 1, "valid_in": 0, "last_in": 0})
    seen = bench.clocked(element, rows, lambda c, d: c.get(d.result))
    return [seen[i + 1] for i, row in enumerate(rows) if row["valid_in"] and row["last_in"] and row["enable"]]


def exact_sums(act, weight, acts, weights, lasts, bits):
    """Return sums of products of integers, modulo the width."""
    a, w = formats.get(act).integers, formats.get(weight).integers
    found, total = [], 0
    for i, j, last in zip(acts, weights, lasts, strict=True):
        total += int(a[i]) * int(w[j])
        if last:
            found.append(total % (1 << bits))
            total = 0
    return found


EXACT = [
    *((ShiftMac, "int8", weight, "fast") for weight in WEIGHT_FORMATS),
    (ShiftMac, "int8", "pot4z", "compact"),
    (IntegerMac, "int8", "int8", "fast"),
    *((IntegerMac, act, weight, "compact") for act, weight in (("int8", "int8"), ("int8", "int4"), ("int5", "int3"))),
    *((QuireMac, name, name, "fast") for name in ("fp8_e4m3", "fp8_e5m2", "fp4_e2m1", "posit4_1", "posit8_0")),
    (QuireMac, "posit16_1", "posit16_1", "fast"),
    *((QuireMac, name, name, "compact") for name in ("fp8_e4m3", "posit8_0")),
    (QuireMac, "fp8_e4m3", "fp4_e2m1", "fast"),
]


@pytest.mark.parametrize(("kind", "act", "weight", "adders"), EXACT)
def test_exact_elements_add_up_exactly(bench, kind, act, weight, adders):
    rng = np.random.default_rng(2)
    a, w = codes_of(act), codes_of(weight)
    n = 300
    acts = np.concatenate([rng.permutation(np.resize(a, 256)), rng.choice(a, n - 256)])
    weights = np.concatenate([rng.choice(w, n - 256), rng.permutation(np.resize(w, 256))])
    lasts = rng.random(n) < 0.3
    lasts[-1] = True
    element = make(kind, act, weight, adders)
    bits = element.acc_bits - (kind is QuireMac)
    found = sums(bench, element, acts, weights, lasts, gaps=(3, 50))
    assert found == exact_sums(act, weight, acts, weights, lasts, bits)


@pytest.mark.parametrize(
    ("name", "bad"),
    [("posit8_0", [0x80]), ("posit4_1", [0x8]), ("fp8_e4m3", [0x7F, 0xFF]), ("fp8_e5m2", [0x7C, 0x7D, 0xFC, 0xFF])],
)
def test_a_flag_says_that_a_quire_is_worthless_until_its_sum_ends(bench, name, bad):
    element = make(QuireMac, name, name)
    flag = element.acc_bits - 1
    for code in bad:
        found = sums(bench, element, [1, code, 1, 1], [1, 1, 1, 1], [0, 0, 1, 1])
        assert [value >> flag for value in found] == [1, 0]


@pytest.mark.parametrize(("operands", "accumulator"), [("fp8_e4m3", "fp16"), ("fp8_e5m2", "fp32")])
def test_rounding_elements_round_in_every_step(bench, operands, accumulator):
    rng = np.random.default_rng(5)
    fmt, values = ACCUMULATORS[accumulator], formats.get(operands).values
    acts, weights = rng.choice(codes_of(operands), (2, 200))
    lasts = np.arange(200) % 40 == 39
    found = sums(bench, make(RoundingMac, operands, accumulator), acts, weights, lasts, gaps=(7,))
    wanted, total = [], 0
    for a, w, last in zip(acts, weights, lasts, strict=True):
        total = bench.multiply_add(values[a], values[w], total, fmt)
        if last:
            wanted.append(total)
            total = 0
    assert found == wanted


def test_operands_are_passed_on_a_cycle_later_and_only_while_enabled(bench):
    rows = [
        {"enable": on, "act_in": i, "weight_in": i + 1, "valid_in": 1, "last_in": i % 2}
        for i, on in enumerate([1, 1, 0, 1])
    ]
    ports = ("act_out", "weight_out", "valid_out", "last_out")
    seen = bench.clocked(
        make(IntegerMac, "int8", "int8"), rows, lambda c, d: tuple(c.get(getattr(d, p)) for p in ports)
    )
    assert seen[1:] == [(0, 1, 1, 0), (1, 2, 1, 1), (1, 2, 1, 1)]


@pytest.mark.parametrize("kind", ["shift", "integer"])
def test_an_array_multiplies_matrices(bench, kind):
    rng = np.random.default_rng(6)
    rows, cols, k = 3, 2, 9
    weight = "pot3z" if kind == "shift" else "int8"
    array = MacArray(rows, cols, lambda: make(ShiftMac if kind == "shift" else IntegerMac, "int8", weight))
    acts, weights = rng.choice(codes_of("int8"), (k, rows)), rng.choice(codes_of(weight), (k, cols))
    bits = formats.get(weight).bits
    steps = [
        {
            "enable": 1,
            "valid": 1,
            "last": i == k - 1,
            "acts": sum(int(code) << (8 * r) for r, code in enumerate(acts[i])),
            "weights": sum(int(code) << (bits * c) for c, code in enumerate(weights[i])),
        }
        for i in range(k)
    ]
    idle = {"enable": 1, "valid": 0, "last": 0}
    steps += [idle] * (array.latency - 1) + [idle | {"row": r} for r in (*range(rows), 0)]
    seen = bench.clocked(array, steps, lambda c, d: c.get(d.results))
    acc = array.element.acc_bits
    found = [[word >> (acc * c) & ((1 << acc) - 1) for c in range(cols)] for word in seen[-rows:]]
    a, w = formats.get("int8").integers[acts], formats.get(weight).integers[weights]
    assert found == [[int(x) % (1 << acc) for x in row] for row in a.T @ w]


def test_formats_and_sizes_that_do_not_fit_are_refused():
    with pytest.raises(InvalidValueError, match=r"^`weight_format` must be a format of signed integers, got uint8$"):
        IntegerMac("int8", "uint8", 24)
    with pytest.raises(InvalidValueError, match=r"^`act_format` must be a format of signed integers, got fp4_e2m1$"):
        ShiftMac("fp4_e2m1", "szt", 24)
    with pytest.raises(InvalidValueError, match=r"^`act_format` must be a format of real numbers, got fairy2$"):
        QuireMac("fairy2", "fp4_e2m1", 24)
    with pytest.raises(InvalidValueError, match=r"^`acc_bits` must be an integer of at least 2, got 1$|`acc_bits`"):
        IntegerMac("int8", "int8", 1)
    with pytest.raises(UnknownNameError, match="fast"):
        IntegerMac("int8", "int8", 24, adders="fsat")
    with pytest.raises(InvalidValueError, match=r"^`rows` must be a positive integer, got 0$"):
        MacArray(0, 1, lambda: make(IntegerMac, "int8", "int8"))
