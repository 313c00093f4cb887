"""Programs on crossbars: exact where all is perfect, one chip per seed, calibrated in order, read at any time."""

import dataclasses
import itertools
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrit import hardware, hls, sim
from tetrit.errors import InvalidValueError
from tetrit.sim.crossbar import memory
from tetrit.sim.crossbar.mapping import Layout
from tetrit.sim.execute import Chip, check_memory, execute, needs_calibration
from tetrit.sim.requantize import requantize, requantize_real

WIDTHS = (20, 13, 6)


def network(weight_format="szt", seed=5):
    rng = np.random.default_rng(seed)
    usable = np.flatnonzero(~np.isnan(hardware.Crossbar(rows=1, cols=16, weight_format=weight_format).weights.values))
    layers, in_scale = [], 1 / 16
    for place, (k, n) in enumerate(itertools.pairwise(WIDTHS)):
        last = place == len(WIDTHS) - 2
        out_scale = 0.002 if last else 0.03
        layers.append(
            sim.QuantizedLinear(
                name=f"fc{place + 1}",
                weight=rng.choice(usable, size=(k, n)).astype(np.uint8),
                weight_format=weight_format,
                weight_scale=rng.uniform(0.05, 0.2, n),
                bias=rng.normal(0, 0.5, n),
                in_format="int8",
                in_scale=in_scale,
                out_format="int16" if last else "int8",
                out_scale=out_scale,
                relu=not last,
            )
        )
        in_scale = out_scale
    return layers


INPUTS = np.random.default_rng(1).integers(0, 17, (40, WIDTHS[0]))
NOISY = hardware.Crossbar(
    rows=16,
    cols=24,
    device="pcm",
    weight_format="szt",
    bits_per_cell=1,
    r_row_ohm=5.0,
    r_col_ohm=5.0,
    adc=hardware.Adc(range="calibrated"),
)


def outputs(runs):
    return [run.output for run in runs]


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(outputs(one), outputs(other), strict=True))


@pytest.mark.parametrize("weight_format", ["szt", "pot3z", "posit4_1"])
@pytest.mark.parametrize(
    "changes",
    [
        {"adc_bits": None},
        {"adc_bits": 24, "mapping": "offset", "dac_bits": 3},
        {"adc_bits": 24, "readout": "digital", "dac_bits": 1},
        {"adc_bits": None, "bits_per_cell": 1, "dac_bits": None},
    ],
)
def test_a_perfect_crossbar_gives_the_shift_arrays_very_outputs(weight_format, changes):
    layers = network(weight_format)
    digital = hardware.ShiftArray(rows=8, cols=8, weight_format=weight_format, acc_bits=28)
    analog = hardware.Crossbar(rows=16, cols=40, weight_format=weight_format, **changes)
    wanted = execute(hls.compile_network(layers, digital, batch=len(INPUTS)), INPUTS)
    found = execute(hls.compile_network(layers, analog, batch=len(INPUTS)), INPUTS)
    assert same(wanted, found)
    for one, other in zip(wanted, found, strict=True):
        assert np.array_equal(one.run.output, other.run.output + other.layer.bias)
        assert np.array_equal(one.input, other.input)
    assert len(np.unique(found[0].output)) > 10  # the outputs are no trivial ones


def test_the_compiled_integers_are_those_of_the_shift_array():
    digital = hls.compile_network(network(), hardware.ShiftArray(rows=4, cols=4), batch=1)
    analog = hls.compile_network(network(), NOISY, batch=1)
    for one, other in zip(digital.layers, analog.layers, strict=True):
        for field in ("weight", "bias", "multiplier", "shift"):
            assert np.array_equal(getattr(one, field), getattr(other, field)), field
        assert other.mapping is None
    assert analog.machine is NOISY


def test_one_seed_is_one_chip_and_layers_have_arrays_of_their_own():
    program = hls.compile_network(network(), NOISY, batch=len(INPUTS))
    one = execute(program, INPUTS, seed=3, calibration=INPUTS)
    assert same(one, execute(program, INPUTS, seed=3, calibration=INPUTS))
    other = execute(program, INPUTS, seed=4, calibration=INPUTS)
    assert not np.array_equal(one[0].run.output, other[0].run.output)
    layer = network()[0]
    twice = [
        dataclasses.replace(layer, weight=layer.weight[:13], out_scale=layer.in_scale, relu=True, name=name)
        for name in ("a", "b")
    ]
    chip = Chip(hls.compile_network(twice, NOISY, batch=1), seed=3)
    first, second = (engine.arrays.cells[0, 0].conductance(0.0, 300.0) for engine in chip.engines)
    assert not np.array_equal(first, second)


def test_a_chip_is_kept_and_read_at_any_time():
    program = hls.compile_network(network(), NOISY, batch=len(INPUTS))
    chip = Chip(program, seed=3).calibrate(INPUTS)
    fresh = chip.run(INPUTS, read_noise="off")
    assert same(fresh, chip.run(INPUTS, read_noise="off"))
    late = chip.at(1e6).run(INPUTS, read_noise="off")
    assert chip.time_s == 1e6
    assert late[0].run.output.std() < 0.97 * fresh[0].run.output.std()  # drift takes conductance away
    assert same(fresh, chip.at(0.0).run(INPUTS, read_noise="off"))
    assert not same(chip.run(INPUTS), chip.run(INPUTS))  # every run draws new read noise
    started = Chip(hls.compile_network(network(), NOISY.replace(time_s=1e6), batch=1), seed=3)
    assert started.time_s == 1e6


def test_a_batch_may_be_split():
    program = hls.compile_network(network(), NOISY, batch=len(INPUTS))
    whole = Chip(program, seed=3).calibrate(INPUTS).run(INPUTS)
    chip = Chip(program, seed=3).calibrate(INPUTS)
    parts = [chip.run(part)[-1].output for part in (INPUTS[:7], INPUTS[7:])]
    assert np.array_equal(whole[-1].output, np.concatenate(parts))


def test_another_temperature_is_the_same_chip():
    program = hls.compile_network(network(), NOISY, batch=1)
    hot = dataclasses.replace(program, machine=program.crossbar.replace(temperature_k=350.0))
    cold_g, hot_g = (
        Chip(p, seed=3).engines[0].arrays.cells[0, 0].conductance(0.0, p.crossbar.temperature_k) for p in (program, hot)
    )
    assert np.allclose(hot_g, cold_g * (1 + 0.002 * 50))


def test_ranges_are_set_from_what_the_chip_computes_itself():
    program = hls.compile_network(network(), NOISY.replace(adc_bits=5), batch=len(INPUTS))
    chip = Chip(program, seed=3).calibrate(INPUTS)
    assert chip.calibrates
    runs = chip.run(INPUTS, read_noise="off")
    assert [run.run.events["adc_clipped"] for run in runs] == [0, 0]
    # with ranges found on dim images, those of a layer inside included, bright ones are clipped
    dim = Chip(program, seed=3).calibrate(INPUTS // 4)
    assert all(run.run.events["adc_clipped"] > 0 for run in dim.run(INPUTS))


def test_no_calibration_is_needed_where_ranges_are_fixed():
    machine = NOISY.replace(adc=hardware.Adc(range="full"))
    assert not needs_calibration(machine)
    assert not needs_calibration(NOISY.replace(adc_bits=None))
    chip = Chip(hls.compile_network(network(), machine, batch=1), seed=3)
    assert chip.calibrate(INPUTS) is chip
    assert same(chip.run(INPUTS), execute(chip.program, INPUTS, seed=3))


def test_refusals():
    program = hls.compile_network(network(), NOISY, batch=1)
    with pytest.raises(InvalidValueError, match=r"^`calibration` is needed: the converters' `range` is 'calibrated'$"):
        execute(program, INPUTS)
    with pytest.raises(InvalidValueError, match=r"^`time_s` must be"):
        Chip(program).at(-1.0)
    with pytest.raises(InvalidValueError, match=r"^`seed` must be"):
        Chip(program, seed=-1)
    digital = hls.compile_network(network(), hardware.ShiftArray(rows=4, cols=4), batch=1)
    with pytest.raises(InvalidValueError, match=r"^a program for a Crossbar is needed, got one for a ShiftArray$"):
        Chip(digital)
    with pytest.raises(InvalidValueError, match=r"^a program for a ShiftArray is needed, got one for a Crossbar$"):
        _ = program.shift_array
    with pytest.raises(InvalidValueError, match=r"^layer 'fc1' has no mapping onto a digital array$"):
        _ = program.layers[0].tiling
    with pytest.raises(InvalidValueError, match=r"^layer 'fc1': `weight_format` is szt, the machine takes int8$"):
        hls.compile_network(network(), NOISY.replace(weight_format="int8"), batch=1)
    with pytest.raises(InvalidValueError, match=r"^layer 'fc1': `in_format` is int8, the machine takes uint8$"):
        hls.compile_network(network(), NOISY.replace(act_format="uint8"), batch=1)
    large = dataclasses.replace(network()[0], bias=np.full(13, 1e12))
    text = re.escape("layer 'fc1': the largest bias is ") + r"\S+ accumulator units, too many for `acc_bits` = 37"
    with pytest.raises(InvalidValueError, match=f"^{text}$"):
        hls.compile_network([large], NOISY, batch=1)
    with pytest.raises(TypeError, match=r"^`machine` must be a ShiftArray, a Crossbar or a SimdEngine, got 'pcm'$"):
        hls.compile_network(network(), "pcm", batch=1)


@given(
    acc=st.lists(st.integers(-(2**36), 2**36), min_size=1, max_size=20),
    multiplier=st.integers(0, 2**16 - 1),
    shift=st.integers(1, 53),
    relu=st.booleans(),
    out_format=st.sampled_from(["int4", "int8", "int16"]),
)
def test_real_requantisation_is_the_integers(acc, multiplier, shift, relu, out_format):
    sums = np.array(acc)[:, None]
    factors = np.array([multiplier]), np.array([shift])
    wanted = requantize(sums, *factors, out_format=out_format, relu=relu)
    found = requantize_real(sums.astype(np.float64), *factors, out_format=out_format, relu=relu)
    assert found.dtype == np.int64
    assert np.array_equal(wanted, found)


def test_real_requantisation_rounds_to_the_nearest():
    one = np.array([1]), np.array([1])
    found = requantize_real(np.array([[2.9], [3.0], [-1.0], [-1.01], [1e9]]), *one, out_format="int8")
    assert found.ravel().tolist() == [1, 2, 0, -1, 127]


def test_memory_is_that_of_all_layers_and_chips(monkeypatch):
    def free(found):
        monkeypatch.setattr(memory, "free_bytes", found)
        monkeypatch.setattr("tetrit.sim.execute.free_bytes", found)

    machine = hardware.load_crossbar("crossbar_256_pcm")
    needed = sum(
        memory.needed_bytes(Layout(machine=machine, n_in=k, n_out=n)) for k, n in ((300, 200), (200, 100), (100, 10))
    )
    widths = (300, 200, 100, 10)
    free(lambda: 2 * needed)
    check_memory(machine, widths, chips=2)
    gigabytes = (f"{n * needed / 1e9:.1f} GB" for n in (3, 2))
    text = (
        "3 at a time of chips with layers of 300 x 200 x 100 x 10 need about {} of memory and {} are free; 2 would fit"
    )
    with pytest.raises(InvalidValueError, match=f"^{re.escape(text.format(*gigabytes))}$"):
        check_memory(machine, widths, chips=3)
    free(lambda: needed - 1)  # every layer fits, but not all of them
    with pytest.raises(InvalidValueError, match=r"^1 at a time of chips .* GB are free; none would fit$"):
        check_memory(machine, widths)
    free(lambda: 1_000_000)
    with pytest.raises(InvalidValueError, match=r"^300 x 200 weights on arrays of 256 x 256 cells need about "):
        check_memory(machine, widths)
    free(lambda: None)
    check_memory(machine, widths, chips=10**9)
