"""The engine: chips that are the same by seed, time, faults, wires, curves, what a run says, and refusals."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from tetrit import hardware, sim
from tetrit.errors import InvalidValueError
from tetrit.hardware import Adc, Crossbar, Dac, Device
from tetrit.sim.crossbar import chain
from tetrit.sim.crossbar.nonlinear import nonlinear_currents

K, N = 90, 50


def noisy(**changes):
    fields = {
        "rows": 40,
        "cols": 60,
        "device": "pcm",
        "weight_format": "int8",
        "bits_per_cell": 4,
        "dac_bits": 4,
        "adc_bits": 8,
        "time_s": 3600.0,
        "adc": Adc(noise_sigma_lsb=0.3, offset_sigma_lsb=0.5, columns_per_adc=4),
        "dac": Dac(offset_sigma_lsb=0.1),
        "stuck_on": 0.003,
        "stuck_off": 0.003,
        "drift_compensation": "global",
    } | changes
    return Crossbar(**fields)


def codes(seed=1, shape=(K, N), n=256):
    return np.random.default_rng(seed).integers(0, n, size=shape)


def batch(n=150, k=K, seed=2):
    return np.random.default_rng(seed).integers(-128, 128, size=(n, k))


@pytest.mark.parametrize(
    "changes",
    [{}, {"mapping": "offset"}, {"mapping": "offset", "readout": "digital"}, {"r_row_ohm": 2.0, "r_sense_ohm": 50.0}],
    ids=str,
)
def test_the_same_seed_gives_the_same_bits_for_any_split_and_threads(changes, monkeypatch):
    import numba

    x = batch()
    answers = []
    for threads, size in ((1, 150), (2, 150), (2, 1), (1, 7), (2, 64), (2, 100)):
        monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", threads)
        with threadpool_limits(threads):
            engine = sim.build(noisy(**changes), np.random.default_rng(5)).load(codes())
            parts = [engine.matmul(x[start : start + size]).output for start in range(0, 150, size)]
            answers.append(np.concatenate(parts))
    assert all(answer.tobytes() == answers[0].tobytes() for answer in answers)
    other = sim.build(noisy(**changes), np.random.default_rng(6)).load(codes()).matmul(x).output
    assert (other != answers[0]).any()


def test_large_batches_run_in_parts_with_the_same_bits(monkeypatch):
    x = batch(500)
    whole = sim.CrossbarEngine(noisy(), 3).load(codes()).matmul(x)
    monkeypatch.setattr(chain, "_ROWS", 6)
    monkeypatch.setattr(chain, "_BLOCK", 1)
    parts = sim.CrossbarEngine(noisy(), 3).load(codes()).matmul(x)
    assert parts.output.tobytes() == whole.output.tobytes()
    assert parts.events == whole.events and parts.energy_pj == pytest.approx(whole.energy_pj)


def test_batches_that_grow_and_shrink_have_the_same_bits():
    x = batch()
    whole = sim.CrossbarEngine(noisy(), 3).load(codes()).matmul(x).output
    engine, start, parts = sim.CrossbarEngine(noisy(), 3).load(codes()), 0, []
    for n in (1, 5, 100, 7, 37):
        parts.append(engine.matmul(x[start : start + n]).output)
        start += n
    assert start == len(x) and np.concatenate(parts).tobytes() == whole.tobytes()


def test_panels_of_either_precision_stand_beside_each_other():
    """The sums of the first array need float64, those of the second, with ten rows, do not."""
    machine = Crossbar(rows=1300, cols=12, weight_format="int8", bits_per_cell=8, adc_bits=None)
    engine = sim.build(machine).load(codes(shape=(1310, 6), n=28) + 100)
    assert [panel.dtype for panel in engine._chain._panels] == [np.float64, np.float32]
    x = batch(20, 1310)
    assert engine.matmul(x).output.tolist() == (x @ engine.weight).tolist()


@pytest.mark.parametrize("layout", ["strided", "fortran", "int8"])
def test_activations_may_lie_in_memory_in_any_way(layout):
    x = batch()
    given = {"strided": np.repeat(x, 2, axis=1)[:, ::2], "fortran": np.asfortranarray(x), "int8": x.astype(np.int8)}
    want = sim.CrossbarEngine(noisy(), 3).load(codes()).matmul(x).output
    found = sim.CrossbarEngine(noisy(), 3).load(codes()).matmul(given[layout]).output
    assert found.tobytes() == want.tobytes()


def test_no_compiler_changes_nothing(same_without_the_compiler):
    same_without_the_compiler(
        "import hashlib, numpy as np\n"
        "from tetrit import hardware, sim\n"
        "m = hardware.Crossbar(rows=6, cols=12, device='pcm', bits_per_cell=4, dac_bits=4, time_s=60.0,\n"
        "    adc=hardware.Adc(noise_sigma_lsb=0.3, dnl_sigma_lsb=0.2), dac=hardware.Dac(gain_sigma=0.1))\n"
        "e = sim.build(m, np.random.default_rng(1)).load(np.arange(40).reshape(8, 5))\n"
        "x = np.arange(-12, 12).reshape(3, 8)\n"
        "print(hashlib.sha256(e.matmul(x).output.tobytes()).hexdigest())",
        silent=True,
    )


def test_vectors_have_noise_of_their_own_and_a_new_engine_repeats_it():
    engine = sim.CrossbarEngine(noisy(), 3).load(codes())
    x = batch(4)
    first, second = engine.matmul(x).output, engine.matmul(x).output
    assert (first != second).any()
    again = sim.CrossbarEngine(noisy(), 3).load(codes())
    assert again.matmul(x).output.tolist() == first.tolist()
    assert again.matmul(x).output.tolist() == second.tolist()


def test_an_array_of_a_larger_matrix_is_the_same_chip():
    """More outputs beside it change nothing in the arrays that were there."""
    small = sim.CrossbarEngine(noisy(stuck_on=0.0, stuck_off=0.0), 3).load(codes())
    large = sim.CrossbarEngine(noisy(stuck_on=0.0, stuck_off=0.0), 3).load(np.hstack([codes(), codes(2)]))
    assert (small.arrays.cells[1, 0].programmed == large.arrays.cells[1, 0].programmed).all()


def test_the_rng_gives_the_seed():
    rng = np.random.default_rng(4)
    assert sim.build(noisy(), np.random.default_rng(4)).seed == int(rng.integers(2**63))
    assert sim.build(noisy()).seed == 0


def test_programming_again_draws_again_on_the_same_cells():
    engine = sim.CrossbarEngine(noisy(), 3).load(codes())
    before, faults = engine.arrays.cells[0, 0].programmed, engine.arrays.cells[0, 0].faults
    engine.at(1e5).reprogram()
    assert engine.time_s == 3600.0
    after = engine.arrays.cells[0, 0]
    assert (after.faults == faults).all() and faults.any()
    assert ((after.programmed != before) | (faults > 0) | (before == 0)).mean() > 0.9


def test_drift_shrinks_results_and_compensation_restores_their_scale():
    x = batch(60)
    quiet = {"adc_bits": None, "dac": Dac(), "stuck_on": 0.0, "stuck_off": 0.0}
    slopes = {}
    for kind in ("none", "global"):
        engine = sim.CrossbarEngine(noisy(**quiet, drift_compensation=kind), 3).load(codes())
        for time in (0.0, 3e7):
            y = engine.at(time).matmul(x, read_noise="off").output
            want = x @ engine.weight
            slopes[kind, time] = (y * want).sum() / (want**2).sum()
    assert abs(slopes["none", 0.0] - 1) < 0.03
    assert slopes["none", 3e7] < 0.6
    assert slopes["global", 0.0] == slopes["none", 0.0]
    assert abs(slopes["global", 3e7] - 1) < 0.05


def test_wires_are_those_of_the_effective_conductance():
    wires = {"r_row_ohm": 30.0, "r_col_ohm": 20.0, "r_driver_ohm": 10.0, "r_sense_ohm": 5.0}
    machine = Crossbar(
        rows=8, cols=12, weight_format="int4", bits_per_cell=4, adc_bits=None, drive="two_sided", **wires
    )
    engine = sim.build(machine).load(codes(shape=(8, 6), n=16))
    g = engine.arrays.cells[0, 0].programmed
    solved = sim.crossbar.effective_conductance(g, *wires.values(), drive="two_sided")
    assert (engine.arrays.effective[0, 0] == solved).all()
    x = batch(5, 8) // 2
    currents = x @ solved / machine.level_siemens
    np.testing.assert_allclose(engine.matmul(x).output, currents[:, 0::2] - currents[:, 1::2], rtol=0, atol=1e-2)


@pytest.mark.parametrize("wires", [{}, {"r_row_ohm": 300.0, "r_sense_ohm": 200.0}], ids=str)
@pytest.mark.parametrize("mapping", ["differential", "offset"])
def test_curves_are_those_of_the_nonlinear_network(wires, mapping):
    machine = Crossbar(
        rows=6,
        cols=12,
        device=Device(sinh_volt=0.08, g_min_siemens=1e-6),
        weight_format="int4",
        mapping=mapping,
        bits_per_cell=4,
        adc_bits=None,
        **wires,
    )
    engine = sim.build(machine).load(codes(shape=(6, 5), n=16))
    x = batch(4, 6)
    cells = engine.arrays.cells[0, 0].programmed
    amperes = nonlinear_currents(
        cells, x * 0.2 / 128, 0.08, wires.get("r_row_ohm", 0.0), 0.0, 0.0, wires.get("r_sense_ohm", 0.0)
    )
    units = amperes / (machine.level_siemens * 0.2 / 128)
    want = units[:, 0:10:2] - units[:, 1:10:2] if mapping == "differential" else units[:, :5] - units[:, 11:]
    np.testing.assert_allclose(engine.matmul(x).output, want, rtol=1e-5, atol=2e-3)
    assert np.abs(engine.matmul(x).output - x @ engine.weight).max() > 20


def test_a_users_fault_map_is_what_the_arrays_have_and_spare_columns_avoid_it():
    machine = Crossbar(rows=4, cols=8, weight_format="int4", bits_per_cell=4, adc_bits=None)
    weights = codes(shape=(4, 3), n=16)
    x = batch(5, 4) // 2
    faults = np.zeros((4, 8), int)
    faults[:, 0] = 2
    whole = x @ machine.weights.integers[weights]
    moved = sim.build(machine).load(weights, faults=faults)
    assert moved.matmul(x).output.tolist() == whole.tolist()
    assert 0 not in moved.arrays.places[0, 0]
    full = sim.build(machine).load(codes(shape=(4, 4), n=16), faults=faults)
    assert (full.matmul(x).output != x @ full.weight).any()
    assert (full.reprogram().arrays.cells[0, 0].faults == faults).all()


def test_faults_in_rows_that_no_input_drives_do_not_count():
    machine = Crossbar(rows=8, cols=8, weight_format="int2", bits_per_cell=2, adc_bits=None, spare_cols=2)
    faults = np.zeros((8, 8), int)
    faults[5:, 0] = faults[6:, 2] = faults[6:, 4] = 2
    faults[0, 6] = 1  # the spare place has the only fault that matters
    engine = sim.build(machine).load(np.ones((2, 3), int), faults=faults)
    assert engine.matmul([[3, 5]]).output.tolist() == [[8, 8, 8]]


def test_a_quantized_is_taken_with_its_format():
    from tetrit import estimators

    engine = sim.build(Crossbar(rows=4, cols=8, weight_format="szt", adc_bits=None))
    w = np.random.default_rng(1).standard_normal((4, 8))
    q = estimators.get("szt")(w)
    x = batch(3, 4)
    assert engine.load(q).matmul(x).output.tolist() == (x @ np.sign(q.values)).tolist()
    with pytest.raises(InvalidValueError, match=r"^weights are szt, the machine takes int4$"):
        sim.build(Crossbar(rows=4, cols=8, weight_format="int4")).load(q)


def test_presets_run():
    for name in hardware.presets():
        machine = hardware.load(name)
        if isinstance(machine, Crossbar):
            engine = sim.build(machine, np.random.default_rng(1))
            engine.load(np.random.default_rng(1).integers(0, 2, size=(40, 5)))
            x = np.abs(batch(8, 40)) % (int(machine.activations.integers.max()) + 1)
            if machine.adc.range.startswith("calibrated"):
                engine.calibrate(x)
            assert np.isfinite(engine.matmul(x).output).all()


def ready(**changes):
    fields = {"rows": 4, "cols": 8, "weight_format": "int4", "act_format": "int4"} | changes
    return sim.build(Crossbar(**fields)).load([[1, 2], [3, 4]])


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (
            lambda: sim.build(Crossbar(rows=4, cols=8)).matmul([[1]]),
            ValueError,
            "no weights are loaded; call `load` first",
        ),
        (lambda: sim.build(Crossbar(rows=4, cols=8)).at(1.0), ValueError, "no weights are loaded; call `load` first"),
        (
            lambda: sim.build(Crossbar(rows=4, cols=8)).reprogram(),
            ValueError,
            "no weights are loaded; call `load` first",
        ),
        (lambda: ready().load([[1.0]]), TypeError, "weight codes must be integers, got float64"),
        (
            lambda: ready().load([1, 2]),
            ValueError,
            "weight codes must be a non-empty matrix (n_in, n_out), got shape (2,)",
        ),
        (
            lambda: ready().load([[1, 2], [3]]),
            ValueError,
            "weight codes must be a matrix (n_in, n_out), got rows of different lengths",
        ),
        (lambda: ready().load([[0, 16]]), ValueError, "weight code 16 at (0, 1) is no number of int4"),
        (lambda: ready().load([[0], [-1]]), ValueError, "weight code -1 at (1, 0) is no number of int4"),
        (lambda: ready().matmul([[1.5, 2]]), TypeError, "`x` must be integers, got float64"),
        (lambda: ready().matmul([[np.nan, 2]]), TypeError, "`x` must be integers, got float64"),
        (
            lambda: ready().matmul([[1, 2], [3]]),
            ValueError,
            "`x` must have shape (batch, 2), got rows of different lengths",
        ),
        (
            lambda: ready().load([[1]], faults=[[1, 2], [0]]),
            ValueError,
            "`faults` must have shape (1, 1, 4, 8), got rows of different lengths",
        ),
        (lambda: ready().matmul([[1, 2, 3]]), ValueError, "`x` must have shape (batch, 2), got (1, 3)"),
        (lambda: ready().matmul(np.zeros((0, 2), int)), ValueError, "`x` must have shape (batch, 2), got (0, 2)"),
        (lambda: ready().matmul([[8, -9]]), ValueError, "`x` must be within -8..7 (int4), got -9..8"),
        (
            lambda: ready().matmul([[1, 2]], read_noise="none"),
            ValueError,
            "`read_noise` must be one of output, output_float32, per_cell, off, got 'none'",
        ),
        (lambda: ready().at(-1.0), ValueError, "`time_s` must be at least 0, got -1"),
        (lambda: ready().at(float("inf")), ValueError, "`time_s` must be finite, got inf"),
        (
            lambda: ready().load([[1]], faults=np.zeros((3, 8), int)),
            ValueError,
            "`faults` must have shape (1, 1, 4, 8): arrays along inputs and outputs, rows, columns; got (3, 8)",
        ),
        (
            lambda: ready().load([[1]], faults=np.full((4, 8), 3)),
            ValueError,
            "`faults` must be 0 (healthy), 1 (stuck off) or 2 (stuck on), got 3 at row 0, column 0",
        ),
        (lambda: sim.CrossbarEngine(Crossbar(rows=4, cols=8), -1), ValueError, None),
        (
            lambda: sim.build(Crossbar(rows=4, cols=8), 3),
            TypeError,
            "`rng` must be a numpy.random.Generator, got 3",
        ),
        (
            lambda: sim.build(Crossbar(rows=4, cols=8), prices=3),
            TypeError,
            "`prices` of a Crossbar must be AnalogPrices, got 3",
        ),
    ],
)
def test_refusals(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert text is None or str(caught.value) == text


def test_a_refused_load_leaves_the_engine_as_it_was():
    engine = ready()
    x = [[1, 2], [3, -4]]
    before = engine.matmul(x).output.tolist()
    with pytest.raises(InvalidValueError):
        engine.load([[1]], faults=np.zeros((3, 8), int))
    assert engine.matmul(x).output.tolist() == before


def test_memory_is_estimated_before_it_is_taken(monkeypatch):
    from tetrit.sim.crossbar import memory

    machine = Crossbar(rows=65536, cols=65536)
    with pytest.raises(InvalidValueError, match=r"^1000000 x 4 weights on arrays of 65536 x 65536 cells need about "):
        sim.build(machine).load(np.zeros((1000000, 4), np.int8))
    whole = r"65536 x 65536 cells need about .* GB of memory and .* GB are free; arrays of \d+ x \d+ cells would fit$"
    with pytest.raises(InvalidValueError, match=whole):
        sim.build(machine).load([[1]])
    monkeypatch.setattr(memory, "free_bytes", lambda: 300_000)
    with pytest.raises(InvalidValueError, match=r"; no number of outputs would fit; load fewer inputs$"):
        sim.build(Crossbar(rows=16, cols=16)).load(np.zeros((1000, 2), int))
    monkeypatch.setattr(memory, "free_bytes", lambda: 3_000_000)
    text = (
        r"^100 x 4000 weights on arrays of 64 x 64 cells need about 0\.\d GB of memory and 0\.0 GB are free; "
        r"100 x \d+ weights would fit$"
    )
    with pytest.raises(InvalidValueError, match=text):
        sim.build(Crossbar(rows=64, cols=64)).load(np.zeros((100, 4000), int))


def test_tables_of_converters_are_estimated_too():
    machine = Crossbar(rows=64, cols=1024, adc_bits=24, adc=Adc(capacitor_sigma=0.01))
    text = (
        r"^the thresholds of all converters with unequal steps need about 412\.3 GB of memory and [\d.]+ GB are free; "
        r"`adc_bits` = \d+ would fit, got 24$"
    )
    with pytest.raises(InvalidValueError, match=text):
        sim.build(machine).load(np.zeros((10, 10), int))


def test_the_estimate_is_near_what_is_used():
    import tracemalloc

    from tetrit.sim.crossbar.mapping import Layout
    from tetrit.sim.crossbar.memory import needed_bytes

    machine = noisy(rows=256, cols=256, stuck_on=0.0, stuck_off=0.0)
    sim.build(machine).load(codes(shape=(10, 10)))
    tracemalloc.start()
    engine = sim.build(machine).load(codes(shape=(500, 300)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    estimate = needed_bytes(Layout(machine=machine, n_in=500, n_out=300))
    assert engine.weight is not None
    assert 0.7 * peak < estimate < 3 * peak
