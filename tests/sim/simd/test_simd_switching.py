"""What moves in a SIMD engine's element and read-out: against plain integers, and against the digits of the RTL."""

import itertools

import numpy as np
import pytest

from tetrit import formats
from tetrit.hardware import SimdEngine
from tetrit.hardware.simd_engine import SIMD_FORMATS
from tetrit.rtl.simd.accumulator import digit_borders
from tetrit.sim.cost import SimdPrices, simd_switching
from tetrit.sim.cost.coefficients import Coefficients
from tetrit.sim.cost.operands import typical_simd
from tetrit.sim.cost.simd_switching import ELEMENT, READOUT, Words, drained, element_movement, readout_movement, sampled

MACHINE = SimdEngine(rows=2, cols=2)
PAIRS = tuple(itertools.product(SIMD_FORMATS, repeat=2))


def changed(states):
    return sum((one ^ other).bit_count() for one, other in itertools.pairwise(states))


def words(act, weight, steps=40, terms=5, seed=0):
    rng = np.random.default_rng(seed)
    mode = MACHINE.mode(act, weight)
    drawn = []
    for name in (act, weight):
        codes = np.flatnonzero(~np.isnan(formats.get(name).values))
        drawn.append(rng.choice(codes, (steps, mode.lanes)) * rng.integers(0, 2, (steps, mode.lanes)))
    return Words(acts=drawn[0], weights=drawn[1], last=np.arange(steps) % terms == terms - 1, mode=mode)


def test_digits_are_where_the_rtl_has_them():
    wanted = [segment * 32 + start for segment in range(4) for start in digit_borders(32, 4)[:-1]]
    assert list(simd_switching._DIGITS) == wanted


@pytest.mark.parametrize(("act", "weight"), PAIRS)
def test_words_products_and_quires_are_followed_exactly_without_gating(act, weight):
    taken = words(act, weight)
    mode = taken.mode
    width, bits = 128 // mode.lanes, 16 // mode.lanes
    integers = [formats.get(name).integers for name in (act, weight)]
    packed, products, quires, finished, register = ([], []), [], [0], [0], [0] * mode.lanes
    mask = (1 << width) - 1
    for a, w, last in zip(taken.acts.tolist(), taken.weights.tolist(), taken.last.tolist(), strict=True):
        for codes, into in ((a, packed[0]), (w, packed[1])):
            into.append(sum(code << lane * bits for lane, code in enumerate(codes)))
        terms = [int(integers[0][x]) * int(integers[1][y]) for x, y in zip(a, w, strict=True)]
        products.append(sum(abs(term) << lane * width for lane, term in enumerate(terms)))
        register = [total + term for total, term in zip(register, terms, strict=True)]
        whole = sum((total & mask) << lane * width for lane, total in enumerate(register))
        if last:
            finished.append(whole)
            register = [0] * mode.lanes
        quires.append(0 if last else whole)
    found = element_movement(taken, gating=False)
    assert set(found) == set(ELEMENT)
    assert found["step"] == 40
    assert found["act"] == changed(packed[0])
    assert found["weight"] == changed(packed[1])
    assert found["magnitude"] == changed(products)
    assert found["quire"] == changed(quires)
    assert found["result"] == changed(finished)
    assert found["digit"] == 40 * 128


def test_with_gating_digits_that_nothing_reaches_rest_and_signs_do_not_turn_them():
    """Sums of +1 and -1 about zero: the upper digits would turn all their bits with every change of sign."""
    mode = MACHINE.mode("fp4_e2m1", "fp4_e2m1")
    one = 2  # the code of 1.0: integer 2, so products are 4 or -4
    acts = np.tile([[one, 0, 0, 0]], (32, 1))
    weights = np.where(np.arange(32)[:, None] % 3 == 0, one, one | 8) * np.array([[1, 0, 0, 0]])
    taken = Words(acts=acts, weights=weights, last=np.zeros(32, dtype=bool), mode=mode)
    still, lively = (element_movement(taken, gating=gating) for gating in (True, False))
    assert still["quire"] < lively["quire"] / 2
    assert still["digit"] < lively["digit"] / 4
    assert still["magnitude"] == lively["magnitude"]


def test_a_readout_is_followed_exactly():
    mode = MACHINE.mode("posit8_0", "fp4_e2m1")
    quires, bias = [[5, -3], [1, 1], [0, 0], [-900, 8]], [0, 3, 0, 0]
    found = readout_movement(quires, bias, mode)
    mask = (1 << 64) - 1
    whole = (1 << 128) - 1
    totals = [2, 5, 0, -892]
    assert set(found) == set(READOUT)
    assert found["result"] == 4
    assert found["quires"] == changed([(a & mask) | (b & mask) << 64 for a, b in quires])
    assert found["bias"] == 4
    assert found["total"] == changed([total & whole for total in totals])
    assert found["magnitude"] == changed([2, 5, 0, 892])
    assert found["exponent"] == changed([2, 3, 0, 10])
    fraction = [0, 1 << 14, 0, (892 - 512) << 7]
    assert found["fraction"] == changed(fraction)


@pytest.mark.parametrize(
    ("act", "weight"), [("fp4_e2m1", "fp4_e2m1"), ("posit8_0", "posit4_1"), ("posit16_1", "fp4_e2m1")]
)
def test_sampled_words_are_words_of_the_product_and_drained_sums_its_sums(act, weight):
    rng = np.random.default_rng(3)
    mode = MACHINE.mode(act, weight)
    x, w = rng.integers(0, 8, (5, 9)), rng.integers(0, 8, (9, 3))
    taken = sampled(x, w, mode, MACHINE)
    steps = -(-9 // mode.lanes)
    assert len(taken.last) >= 1000
    left = {tuple(row.tolist()) + (0,) * (steps * mode.lanes - 9) for row in x}
    above = {tuple(row.tolist()) + (0,) * (steps * mode.lanes - 9) for row in w.T}
    for sums, rows in ((taken.acts, left), (taken.weights, above)):
        found = {tuple(row) for row in sums.reshape(-1, steps * mode.lanes).tolist()}
        assert found == rows
    assert np.array_equal(np.flatnonzero(taken.last), np.arange(steps - 1, len(taken.last), steps))
    products = formats.get(act).integers[x] @ formats.get(weight).integers[w]
    assert [sum(row) for row in drained(x, w, mode, MACHINE)] == products[:2].T.reshape(-1).tolist()


def test_prices_for_unknown_operands_are_those_of_typical_ones_in_an_array_of_8_x_8():
    acts, weight = typical_simd("posit8_0", "fp4_e2m1")
    for gating in (True, False):
        machine = SimdEngine(rows=8, cols=8, gating=gating)
        unknown = SimdPrices.modelled(machine, "posit8_0", "fp4_e2m1")
        own = SimdPrices.of_operands(acts, weight, machine, "posit8_0", "fp4_e2m1")
        assert unknown.element_step_pj == own.element_step_pj
        assert unknown.readout_pj == own.readout_pj
        small = SimdPrices.modelled(machine.replace(rows=3, cols=2), "posit8_0", "fp4_e2m1")
        assert small.element_step_pj == unknown.element_step_pj
        assert small.edge_pj < unknown.edge_pj == own.edge_pj
        assert own.source.endswith("; for the operands of this product")


def test_prices_follow_a_table_of_ones_own():
    variant = {"gating": True, "act_format": "fp4_e2m1", "weight_format": "fp4_e2m1"}
    known, pair = Coefficients.committed("simd_sg13g2.toml", variant), ("fp4_e2m1", "fp4_e2m1")
    twice = Coefficients(pj={name: 2 * pj for name, pj in known.pj.items()}, netlist="", worst_fit=0.0, source="twice")
    one, two = (SimdPrices.modelled(MACHINE, *pair, coefficients=table) for table in (known, twice))
    assert two.element_step_pj == pytest.approx(2 * one.element_step_pj)
    assert two.readout_idle_pj == 2 * one.readout_idle_pj
    assert two.edge_pj == pytest.approx(2 * one.edge_pj) != 0
    assert two.source.startswith("twice; ")
