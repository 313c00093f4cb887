"""The shift engine: exact values in every arithmetic it may use, events that add up, and clear refusals."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrit import hardware, sim
from tetrit.hardware.shift_array import WEIGHT_FORMATS
from tetrit.sim.cost import Prices
from tetrit.sim.shift import streams


def slow_product(machine, x, codes):
    """The product from the formats' real values, in Python integers."""
    unit = 2.0**-machine.weights.lsb_exponent
    values = [[int(machine.weights.values[code] * unit) for code in row] for row in codes]
    return [[sum(int(a) * values[i][j] for i, a in enumerate(row)) for j in range(codes.shape[1])] for row in x]


def random_codes(rng, machine, shape):
    return rng.choice(np.flatnonzero(~np.isnan(machine.weights.values)), size=shape)


@pytest.mark.parametrize("weight_format", WEIGHT_FORMATS)
@pytest.mark.parametrize("dataflow", hardware.DATAFLOWS)
def test_product_is_exact(weight_format, dataflow):
    rng = np.random.default_rng(1)
    machine = hardware.ShiftArray(rows=4, cols=3, weight_format=weight_format, dataflow=dataflow, acc_bits=32)
    codes = random_codes(rng, machine, (13, 7))
    x = rng.integers(-128, 128, size=(5, 13))
    run = sim.build(machine).load(codes).matmul(x)
    assert run.output.tolist() == slow_product(machine, x, codes)
    assert run.output.dtype == np.int64


@pytest.mark.parametrize(
    ("act_format", "weight_format", "k"),
    [("int8", "szt", 131072), ("int8", "szt", 131073), ("int16", "posit4_1", 1025), ("int16", "pot4", 3)],
)
def test_extreme_sums_are_exact_around_the_float32_bound(act_format, weight_format, k):
    """k = 131072 int8 activations of -128 reach 2**24 exactly, the last sum that float32 BLAS may be trusted with."""
    machine = hardware.ShiftArray(rows=4, cols=4, act_format=act_format, weight_format=weight_format, acc_bits=48)
    integers = machine.weights.integers
    codes = np.full((k, 2), int(np.argmax(integers)))
    codes[:, 1] = int(np.argmin(integers))
    low = int(machine.activations.integers.min())
    x = np.full((2, k), low)
    x[1, 0] = low + 1
    output = sim.build(machine).load(codes).matmul(x).output
    top = int(integers.max())
    assert output.tolist() == [[low * top * k, -low * top * k], [(low * k + 1) * top, -(low * k + 1) * top]]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_streams_sum_to_the_product_and_events_count_them(seed):
    rng = np.random.default_rng(seed)
    rows, cols = (int(v) for v in rng.integers(1, 6, size=2))
    machine = hardware.ShiftArray(rows=rows, cols=cols, dataflow=hardware.DATAFLOWS[rng.integers(2)])
    m, k, n = (int(v) for v in rng.integers(1, 15, size=3))
    codes, x, bias = rng.integers(0, 4, (k, n)), rng.integers(-128, 128, (m, k)), rng.integers(-99, 99, n)
    stationary = machine.dataflow == "weight_stationary"
    mapping = sim.Mapping(
        tile_m=int(rng.integers(1, (m if stationary else rows) + 1)),
        tile_k=int(rng.integers(1, (rows if stationary else k) + 1)),
        tile_n=int(rng.integers(1, cols + 1)),
        order=["mnk", "mkn"][rng.integers(2)],
    )
    run = sim.build(machine).load(codes).matmul(x, bias=bias, mapping=mapping)
    sent = streams(x, codes.astype(np.uint8), bias, mapping, machine)
    k_tiles = -(-k // mapping.tile_k)
    final = sent.results[-1]
    width = (n - 1) % mapping.tile_n + 1
    np.testing.assert_array_equal(final[:width], run.output[-1, -width:])
    events = run.events
    assert events["weight_read_word"] == len(sent.weights) * machine.weight_words
    assert events["act_read_word"] == len(sent.activations) * machine.act_words
    continued = np.count_nonzero(sent.partials_from >= 0)
    tiles = np.count_nonzero(sent.partials_last)
    first_tiles = tiles - np.count_nonzero(sent.partials_from[sent.partials_last] >= 0)
    assert events["acc_read_word"] == (continued + first_tiles) * machine.acc_words
    assert events["acc_write_word"] == continued * machine.acc_words
    assert len(sent.results) == m * k_tiles * -(-n // mapping.tile_n)
    assert events["pe_active"] + events["pe_zero"] == m * k * n
    assert events["pe_active"] == m * np.count_nonzero(codes & 1)
    assert events["pe_active"] + events["pe_zero"] + events["pe_idle"] == run.cycles * rows * cols
    assert run.utilization == m * k * n / (run.cycles * rows * cols)


def test_both_zeros_count_as_zero():
    engine = sim.build(hardware.ShiftArray(rows=2, cols=2)).load([[0b00, 0b10], [0b10, 0b00]])
    run = engine.matmul([[100, -100]])
    assert run.output.tolist() == [[0, 0]]
    assert run.events["pe_active"] == 0


def test_energy_is_the_sum_of_its_breakdown():
    machine = hardware.load("shift_8x8")
    prices = Prices(pe_idle_pj=0.25, pe_zero_pj=0.5, pe_active_pj=2.0, source="a test")
    run = sim.build(machine, prices=prices).load([[1, 0]] * 8).matmul([[1] * 8])
    e = run.events
    assert run.breakdown["array"] == 2.0 * e["pe_active"] + 0.5 * e["pe_zero"] + 0.25 * e["pe_idle"]
    assert run.breakdown["activation memory"] == e["act_read_word"] * 64 * machine.act_memory.read_pj_per_bit
    assert run.energy_pj == pytest.approx(sum(run.breakdown.values()))
    with pytest.raises(ValueError, match=r"^8 events `pe_zero` have no price; set `pe_zero_pj`$"):
        unpriced = Prices(pe_idle_pj=0.25, pe_zero_pj=None, pe_active_pj=2.0, source="a test")
        _ = sim.build(machine, prices=unpriced).load([[1, 0]] * 8).matmul([[1] * 8]).breakdown
    with pytest.raises(ValueError, match=r"^`pe_idle_pj` must be at least 0, got -1$"):
        Prices(pe_idle_pj=-1, pe_zero_pj=None, pe_active_pj=2.0, source="a test")


def test_energy_is_of_the_products_own_operands_even_if_they_change_later_and_can_be_pickled():
    rng = np.random.default_rng(5)
    machine = hardware.ShiftArray(rows=4, cols=4)
    engine = sim.build(machine).load(rng.integers(0, 4, (8, 4)))
    lively = np.tile([[85], [-86]], (4, 8))
    calm, other = engine.matmul(np.full((8, 8), 85)), engine.matmul(lively)
    lively[:] = 0
    engine.load(np.zeros((8, 4), int))
    assert other.energy_pj > 1.3 * calm.energy_pj
    assert pickle.loads(pickle.dumps(calm)).breakdown == calm.breakdown
    typical = Prices.modelled(machine)
    assert calm.breakdown != typical.breakdown(calm.events, machine)


@pytest.mark.parametrize("weight_format", WEIGHT_FORMATS)
@pytest.mark.parametrize("dataflow", hardware.DATAFLOWS)
def test_every_machine_has_modelled_prices_that_grow_with_its_width(weight_format, dataflow):
    machine = hardware.ShiftArray(rows=2, cols=2, weight_format=weight_format, dataflow=dataflow, acc_bits=24)
    prices = Prices.modelled(machine)
    assert 0 < prices.pe_idle_pj < prices.pe_active_pj
    assert (prices.pe_zero_pj is None) == (0 not in machine.weights.integers[~np.isnan(machine.weights.values)])
    wide = Prices.modelled(machine.replace(acc_bits=56))
    assert 1.2 < wide.pe_idle_pj / prices.pe_idle_pj < 2.5
    assert 1.2 < wide.pe_active_pj / prices.pe_active_pj < 2.5
    assert "characterise" in prices.source


def test_refusals():
    engine = sim.build(hardware.ShiftArray(rows=2, cols=2))
    with pytest.raises(ValueError, match=r"^no weights are loaded; call `load` first$"):
        engine.matmul([[1]])
    with pytest.raises(ValueError, match=r"^weight code 4 at \(0, 1\) is no number of szt$"):
        engine.load([[1, 4]])
    with pytest.raises(ValueError, match=r"^weight code 8 at \(0, 0\) is no number of posit4_1$"):
        sim.build(hardware.ShiftArray(rows=2, cols=2, weight_format="posit4_1")).load([[8]])
    with pytest.raises(TypeError, match=r"^weight codes must be integers, got float64$"):
        engine.load([[1.0]])
    with pytest.raises(
        ValueError, match=r"^weight codes must be a non-empty matrix \(n_in, n_out\), got shape \(2,\)$"
    ):
        engine.load([1, 2])
    engine.load([[1, 3]])
    with pytest.raises(TypeError, match=r"^`x` must be integers, got float64$"):
        engine.matmul([[float("nan")]])
    with pytest.raises(ValueError, match=r"^`x` must have shape \(batch, 1\), got \(1, 2\)$"):
        engine.matmul([[1, 2]])
    with pytest.raises(ValueError, match=r"^`x` must be within -128..127 \(int8\), got 128..128$"):
        engine.matmul([[128]])
    with pytest.raises(ValueError, match=r"^`bias` must have shape \(2,\), got \(3,\)$"):
        engine.matmul([[1]], bias=[1, 2, 3])
    with pytest.raises(
        ValueError, match=r"^`acc_bits` = 24 is too small: output 0 can reach 8388628, the accumulator 8388607$"
    ):
        engine.matmul([[1]], bias=[8388500, 0])
    for bias in (np.array([-(2**63), 0]), np.array([2**64 - 1, 0], dtype=np.uint64), np.array([2**23, 0])):
        with pytest.raises(ValueError, match=r"^`bias` must be within -8388607..8388607 \(`acc_bits` = 24\), got "):
            engine.matmul([[1]], bias=bias)
    with pytest.raises(ValueError, match=r"^weight codes must be a matrix \(n_in, n_out\), got rows of different"):
        engine.load([[1, 2], [1]])
    with pytest.raises(TypeError, match=r"^`machine` must be a ShiftArray, a SimdEngine or a Crossbar, got 3$"):
        sim.build(3)
