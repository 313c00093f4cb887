"""The engine with ramps: nearest levels of f(product), every error as the converter's own, counts by hand, refusals."""

import itertools
import re
from bisect import bisect_right
from fractions import Fraction

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from tetrit import sim
from tetrit.errors import InvalidValueError
from tetrit.estimators import Quantized
from tetrit.hardware import Crossbar, Device, RampAdc
from tetrit.sim.cost import AnalogPrices
from tetrit.sim.crossbar import chain
from tetrit.sim.crossbar.ramp import RampConverter

ROUGH = Device(name="rough", program_sigma_siemens=(0.3e-6, 1e-6))
WHOLE = {"weight_format": "int4", "act_format": "int4", "bits_per_cell": 4, "dac_bits": None, "adc_bits": None}
K, N = 30, 50
SCALE = 0.01


def machine(ramp=None, **changes):
    return Crossbar(**WHOLE | {"rows": 32, "cols": 40} | changes, ramp=RampAdc() if ramp is None else ramp)


def loaded(built, seed=3, scale=SCALE, k=K, n=N, **options):
    codes = np.random.default_rng(1).integers(0, len(built.weights.values), size=(k, n))
    options |= {} if built.ramp is None else {"ramp_scale": scale}
    return sim.CrossbarEngine(built, seed).load(codes, **options)


def batch(n=40, k=K, seed=2):
    return np.random.default_rng(seed).integers(-8, 8, size=(n, k))


def nearest(adc, x):
    """Return the level nearest to f of one number, the larger of two."""
    low, high = adc.inputs
    value = Fraction(float(adc.curve(min(max(x, low), high))))
    return float(max((-abs(Fraction(level) - value), level) for level in adc.levels.tolist())[1])


@pytest.mark.parametrize("mapping", ["differential", "offset"])
@pytest.mark.parametrize(
    ("adc", "scale"),
    [
        (RampAdc(function="sigmoid", bits=5), 0.0625),
        (RampAdc(function="sigmoid", bits=3, output_range=(0, 1)), 0.1),
        (RampAdc(function="tanh", bits=8), 0.03),
        (RampAdc(function="silu", bits=5), 0.09),
        (RampAdc(function="gelu", bits=4), 0.05),
        (RampAdc(function="identity", bits=3, input_range=(-7, 7)), 0.5),  # middles of levels are met: ties
        (RampAdc(function="relu", bits=6), 1 / 3),
        (RampAdc(function=((-64, 1.0), (0, 0.0), (56, 2.0)), bits=4), 1.0),
    ],
    ids=lambda value: f"{value.curve.name}-{value.bits}" if isinstance(value, RampAdc) else str(value),
)
def test_perfect_cells_give_the_nearest_level_for_every_input(adc, scale, mapping):
    x = np.array(list(itertools.product(range(-8, 8), repeat=2)))
    weights = np.array(list(itertools.product((-8, -3, 0, 1, 7), repeat=2))).T
    built = machine(adc, rows=2, cols=16, mapping=mapping)
    found = sim.CrossbarEngine(built).load(weights & 15, ramp_scale=scale).matmul(x).output
    product = x @ weights
    wanted = {p: nearest(adc, p * scale) for p in np.unique(product).tolist()}
    assert found.dtype == np.float64
    assert (found == np.vectorize(wanted.get)(product)).all()
    assert len(np.unique(found)) > 3


def test_large_products_are_exact():
    built = Crossbar(
        rows=300, cols=16, weight_format="int8", act_format="int16", bits_per_cell=8, dac_bits=None, adc_bits=None
    )
    rng = np.random.default_rng(5)
    codes, x = rng.integers(0, 256, size=(300, 8)), rng.integers(-(2**15), 2**15, size=(200, 300))
    product = x @ built.weights.integers[codes]
    assert np.abs(product).max() > 2**24  # more than float32 holds
    adc = RampAdc(function="identity", bits=8, input_range=(-1, 1))
    found = sim.CrossbarEngine(built.replace(ramp=adc)).load(codes, ramp_scale=2.0**-30).matmul(x).output
    assert (found == np.vectorize(lambda p: nearest(adc, p * 2.0**-30))(product)).all()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"calibrated": False},
        {"function": "silu", "stuck_off": 0.2},
        {"function": "tanh", "bits": 8, "cells_per_step": 3},
        {"columns_per_ramp": 3},
        {"columns_per_ramp": 3, "calibrated": False},
    ],
    ids=str,
)
def test_errors_of_the_ramps_are_those_of_the_converter(fields):
    adc = RampAdc(**{"device": ROUGH} | fields)
    engine, x = loaded(machine(adc, spare_cols=2), seed=9), batch()
    found, product = engine.matmul(x).output, x @ engine.weight
    assert (engine.layout.col_arrays, engine.layout.outputs(0).stop) == (3, 19)
    for j in range(3):
        outputs = engine.layout.outputs(j)
        converter = RampConverter(adc, seed=9, tile=(0, j), columns=20)
        for o in range(outputs.start, outputs.stop):
            lines = converter.thresholds[(o - outputs.start) // (fields.get("columns_per_ramp") or 20)].tolist()
            codes = [adc.codes[bisect_right(lines, p * SCALE)] for p in product[:, o]]
            assert (found[:, o] == adc.levels[codes]).all()
    perfect = loaded(machine(adc.replace(device="ideal", stuck_off=0.0), spare_cols=2)).matmul(x).output
    assert (found != perfect).any()


def test_calibration_brings_results_nearer():
    x, off = batch(), {}
    for calibrated in (False, True):
        errors = []
        for seed in range(12):
            adc = RampAdc(device=ROUGH, calibrated=calibrated)
            built = machine(adc)
            wanted = loaded(machine(RampAdc())).matmul(x).output
            errors.append(np.abs(loaded(built, seed).matmul(x).output - wanted).mean())
        off[calibrated] = np.mean(errors)
    assert off[True] < 0.7 * off[False]


def test_a_ramp_that_tracks_follows_the_read_voltage():
    x = batch()
    nominal = loaded(machine()).matmul(x).output
    assert (loaded(machine(read_voltage_v=0.15)).matmul(x).output == nominal).all()
    fixed = loaded(machine(RampAdc(tracks=False), read_voltage_v=0.15)).matmul(x).output
    assert (fixed != nominal).any()
    assert (loaded(machine(RampAdc(tracks=False))).matmul(x).output == nominal).all()
    engine = loaded(machine(RampAdc(tracks=False), read_voltage_v=0.15))
    codes = RampConverter(RampAdc(), seed=0).codes((x @ engine.weight) * (SCALE * (0.15 / 0.2)))
    assert (fixed == RampAdc().levels[codes]).all()


@pytest.mark.parametrize("read_noise", ["output", "output_float32", "per_cell", "off"])
@pytest.mark.parametrize(
    "changes",
    [
        {"device": "pcm", "drift_compensation": "global", "time_s": 1e5},
        {"device": "pcm", "mapping": "offset", "r_row_ohm": 2.0, "r_sense_ohm": 50.0},
        {"device": Device(sinh_volt=0.1, thermal=True), "r_driver_ohm": 200.0, "cols": 12, "rows": 30},
    ],
    ids=str,
)
def test_a_ramp_converts_what_the_same_chip_gives_without(changes, read_noise):
    """Noise, drift, wires and curves come before the ramp; compensation is a factor of its input."""
    adc, x = RampAdc(function="tanh", device=ROUGH), batch(6)
    built = machine(adc, **changes)
    small = {"n": 5} if "r_driver_ohm" in changes else {}
    bare, engine = loaded(built.replace(ramp=None), **small), loaded(built, **small)
    for _ in range(2):
        currents = bare.matmul(x, read_noise=read_noise).output
        found = engine.matmul(x, read_noise=read_noise).output
        wanted = np.empty_like(found)
        for j in range(engine.layout.col_arrays):
            outputs = engine.layout.outputs(j)
            converter = RampConverter(adc, seed=3, tile=(0, j), unit=SCALE)
            wanted[:, outputs] = converter.values(converter.codes(currents[:, outputs]))
        assert found.tobytes() == wanted.tobytes()
        bare.at(2e6)
        engine.at(2e6)


def test_compensation_restores_the_inputs_of_the_function():
    cell = Device(name="fades", drift_mean=(0.0, 0.1, 0.1, 0.1), drift_sigma=(0.0, 0.0, 0.0, 0.0))
    x, adc = batch(), RampAdc(function="tanh", bits=4)
    fresh, months = loaded(machine(adc, device=cell)).matmul(x).output, {}
    for compensation in ("none", "global"):
        engine = loaded(machine(adc, device=cell, drift_compensation=compensation))
        assert (engine.matmul(x).output == fresh).all()
        months[compensation] = (engine.at(1e7).matmul(x).output != fresh).mean()
    assert months["none"] > 0.2
    assert months["global"] < 0.01  # inputs on a threshold, by rounding


def test_the_same_bits_for_any_split_and_threads(monkeypatch):
    import numba

    built = machine(RampAdc(device=ROUGH, columns_per_ramp=4), device="pcm", time_s=3600.0, stuck_on=0.02, spare_cols=4)
    x, answers = batch(150), []
    monkeypatch.setattr(chain, "_BLOCK", 1)
    for threads, size in ((1, 150), (2, 150), (2, 1), (1, 7), (2, 100)):
        monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", threads)
        with threadpool_limits(threads):
            engine = loaded(built)
            parts = [engine.matmul(x[start : start + size]).output for start in range(0, 150, size)]
        answers.append(np.concatenate(parts))
    assert all(answer.tobytes() == answers[0].tobytes() for answer in answers)
    assert (loaded(built, seed=4).matmul(x).output != answers[0]).any()


def test_outputs_moved_to_spare_columns_meet_the_ramp_of_their_place():
    adc = RampAdc(device=ROUGH, columns_per_ramp=1)
    built = machine(adc, cols=12, spare_cols=4)
    faults = np.zeros((32, 12), np.int8)
    faults[:, 0] = 2  # output 0 must move
    engine = loaded(built, n=4, faults=faults)
    places = engine.arrays.places[0, 0]
    assert places[0] != 0
    assert engine.layout.places == 6
    lines = RampConverter(adc, seed=3, columns=6).thresholds
    x = batch()
    found = engine.matmul(x).output
    for o, p in enumerate(places):
        codes = adc.codes[np.searchsorted(lines[p], (x @ engine.weight)[:, o] * SCALE, side="right")]
        assert (found[:, o] == adc.levels[codes]).all()


def test_ramps_stay_when_weights_are_programmed_again():
    x = batch()
    engine = loaded(machine(RampAdc(device=ROUGH)))
    first = engine.matmul(x).output
    assert (engine.reprogram().matmul(x).output == first).all()
    codes = np.random.default_rng(1).integers(0, 16, size=(K, N))
    weights = Quantized(codes=codes.astype(np.uint8), scale=np.float32(0.5), format="int4")
    assert (engine.load(weights, ramp_scale=SCALE).matmul(x).output == first).all()
    assert (engine.load(weights, ramp_scale=2 * SCALE).matmul(x).output != first).any()


def test_events_and_cycles_by_hand():
    # 2 columns an output, 20 outputs an array: 3 arrays side by side; a sigmoid of 5 bits has 32 steps
    done = loaded(machine()).matmul(batch(6))
    assert done.events == {
        "cycles": 6 * (1 + 32) + 1,
        "dac_conversion": 6 * 30,
        "driver": 6 * 30 * 3,
        "cell_read": 6 * 30 * 100,
        "adc_conversion": 0,
        "shift_add": 0,
        "ramp_conversion": 6 * 50,
        "ramp_comparison": 6 * 50 * 32,
        "ramp_cell_read": 6 * 3 * (32 + 5),
        "adc_clipped": 0,
    }
    assert (done.cycles, done.bound) == (6 * 33 + 1, "converters")
    assert done.utilization == 30 * 100 / (3 * 32 * 40)


@pytest.mark.parametrize(
    ("fields", "changes", "cycles", "cells"),
    [
        ({"bits": 3}, {}, 1 + 8, 3 * (8 + 5)),
        ({"function": "silu"}, {}, 1 + 34, 3 * (34 + 10)),
        ({"calibrated": False}, {"settle_cycles": 40}, 40 + 32, 3 * 32),
        ({"columns_per_ramp": 8}, {"settle_cycles": 0}, 32, 3 * 3 * (32 + 5)),  # 20 columns: 3 ramps an array
    ],
)
def test_cycles_and_cells_of_other_ramps(fields, changes, cycles, cells):
    done = loaded(machine(RampAdc(**fields), **changes)).matmul(batch(1))
    assert (done.cycles, done.events["ramp_cell_read"]) == (cycles + 1, cells)
    assert done.events["ramp_comparison"] == 50 * (cycles - changes.get("settle_cycles", 1))
    assert done.bound == ("settling" if changes.get("settle_cycles") == 40 else "converters")


def test_energy():
    done, prices = loaded(machine()).matmul(batch(6)), AnalogPrices.modelled()
    assert (prices.ramp_comparison_pj, prices.ramp_cell_read_pj) == (0.209, 0.427)
    assert prices.ramp_source.count("assumption: a") == 2
    assert "ramp" not in prices.source
    assert list(done.breakdown) == ["DAC", "drivers", "cells", "comparators", "ramp cells"]
    assert done.breakdown["DAC"] == pytest.approx(6 * 30 * 4 * prices.dac_conversion_pj)
    assert done.breakdown["comparators"] == 6 * 50 * 32 * 0.209
    assert done.breakdown["ramp cells"] == 6 * 3 * 37 * 0.427
    assert done.energy_pj == sum(done.breakdown.values())


def test_prices_without_ramps_do_for_other_machines_only():
    rows = {name: {"value_pj": 1.0, "source": "mine"} for name in ("driver", "shift_add", "ramp_cell_read")}
    rows |= {name: {"value_pj": 1.0, "source": "mine", "bits": 8} for name in ("adc_conversion", "dac_conversion")}
    prices = AnalogPrices.from_dict(rows)
    assert (prices.ramp_comparison_pj, prices.ramp_cell_read_pj) == (None, 1.0)
    sim.build(machine().replace(ramp=None), prices=prices)
    message = "the prices have no `ramp_comparison`, which a machine with a `ramp` needs"
    with pytest.raises(InvalidValueError, match=f"^{re.escape(message)}$"):
        sim.build(machine(), prices=prices)
    with pytest.raises(InvalidValueError, match=r"^prices: `ramp_comparison_pj` must be at least 0, got -1$"):
        AnalogPrices.from_dict(rows | {"ramp_comparison": {"value_pj": -1.0, "source": "mine"}})
    with pytest.raises(
        InvalidValueError,
        match=r"^prices: ramp_comparison: unknown key 'bits'; known: high_pj, low_pj, origin, source, value_pj$",
    ):
        AnalogPrices.from_dict(rows | {"ramp_comparison": {"value_pj": 1.0, "source": "mine", "bits": 8}})
    with pytest.raises(InvalidValueError, match=r"^prices: ramp_comparison: `source` is missing$"):
        AnalogPrices.from_dict(rows | {"ramp_comparison": {"value_pj": 1.0}})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "`ramp_scale` must be given: the input of the ramp's function for one unit of the integer product"),
        ({"ramp_scale": 0}, "`ramp_scale` must be above 0, got 0"),
        ({"ramp_scale": -1.0}, "`ramp_scale` must be above 0, got -1"),
        ({"ramp_scale": float("nan")}, "`ramp_scale` must be finite, got nan"),
        ({"ramp_scale": float("inf")}, "`ramp_scale` must be finite, got inf"),
    ],
)
def test_wrong_scales_are_refused_and_leave_the_engine_as_it_is(options, message):
    engine, x = loaded(machine()), batch()
    before = engine.matmul(x).output
    with pytest.raises(InvalidValueError, match=f"^{re.escape(message)}$"):
        engine.load(np.zeros((4, 4), int), **options)
    assert (engine.matmul(x).output == before).all()


def test_other_refusals():
    message = (
        "a ramp converter would apply its function to parts of a sum: 33 inputs need 2 arrays of 32 rows",
        "`ramp_scale` belongs to a machine with a `ramp`, got 0.5 without",
        "`calibrate` needs converters with `range` = 'calibrated' or 'calibrated_per_column', got 'full' and "
        "`adc_bits` = None",
    )
    with pytest.raises(InvalidValueError, match=f"^{re.escape(message[0])}$"):
        loaded(machine(), k=33)
    with pytest.raises(InvalidValueError, match=f"^{re.escape(message[1])}$"):
        loaded(machine().replace(ramp=None), ramp_scale=0.5)
    with pytest.raises(InvalidValueError, match=f"^{re.escape(message[2])}$"):
        loaded(machine()).calibrate(batch())
    with pytest.raises(TypeError, match=r"^`ramp_scale` must be a number, got 'x'$"):
        loaded(machine(), scale="x")
