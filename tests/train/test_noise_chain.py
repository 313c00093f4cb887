"""The chain of training: its fast loops are the rule, its statistics those of the simulator's cells."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from tetrit import noise
from tetrit.hardware import Adc, Crossbar, Device, load
from tetrit.sim.crossbar.cells import Cells
from tetrit.sim.crossbar.engine import CrossbarEngine
from tetrit.train import calibrate, noise_aware, set_crossbar
from tetrit.train.noise import compiled
from tetrit.train.noise.product import product
from tetrit.train.noise.statistics import level_statistics

PCM = Crossbar(rows=32, cols=32, device="pcm", bits_per_cell=8, adc=Adc(range="calibrated"), time_s=60.0)
FAST = {
    "pcm": PCM,
    "wires": PCM.replace(r_row_ohm=20.0, r_col_ohm=20.0),
    "slices": PCM.replace(bits_per_cell=2, dac_bits=3, adc_bits=10),
    "digital": PCM.replace(readout="digital", bits_per_cell=4),
    "by column": PCM.replace(adc=Adc(range="calibrated_per_column", noise_sigma_lsb=0.5, gain_sigma=0.05)),
    "compensated": PCM.replace(drift_compensation="global", time_s=1e5),
    "stuck": PCM.replace(stuck_on=0.01, stuck_off=0.02),
    "no converters": PCM.replace(adc_bits=None, adc=Adc()),
    "unsigned": PCM.replace(act_format="uint8", dac_bits=4),
    "thermal only": PCM.replace(device=Device(thermal=True), read_time_s=1e-12),
}
N_IN, N_OUT, BATCH = 75, 9, 13


def linear(machine, **options):
    """A layer on a crossbar, its inputs and their integers."""
    torch.manual_seed(0)
    model = noise_aware(nn.Sequential(nn.Linear(N_IN, N_OUT, bias=False)), machine, **options)
    x = torch.randn(BATCH, N_IN)
    model(x)
    layer = model[0]
    return model, layer, x, layer.simulation.input_integers(x, layer.simulation.input_step(layer.input_limit))


def stream(geometry, n, key):
    """The normals of the fast loops, as `product` asks for them."""
    width = geometry.n_columns + geometry.n_columns % 2

    def normals(i, digit, shape):
        first = (digit * len(geometry.parts) + i) * n * width
        drawn = np.asarray(noise.normals(key, n * width, first=first)).reshape(n, width)
        return torch.tensor(drawn[:, : geometry.n_columns], dtype=torch.float32)

    return normals


@pytest.mark.parametrize("scale", [1.0, 0.5])
@pytest.mark.parametrize("name", list(FAST))
def test_the_fast_chain_is_the_rule_when_fed_the_same_normals(name, scale):
    model, layer, _, x = linear(FAST[name])
    simulation = layer.simulation
    values = layer.weight_quantizer(layer.weight).detach()
    chip = simulation.prepare(values, scale, training=True)
    assert isinstance(chip.panel, compiled.Drawn) and chip.scale == scale
    chip = replace(chip, scales=torch.ones(N_OUT))
    found = compiled.multiply(
        simulation.geometry, chip, x, ranges=layer.adc_limits, key=(99, 7), step=np.float32(1), bias=None
    )
    normals = stream(simulation.geometry, BATCH, noise.key(99, 7))
    exact = type(chip)(**{**vars(chip), "panel": floats(chip.panel)})
    wanted = product(simulation.geometry, exact, x, ranges=layer.adc_limits, normals=normals)
    silent = product(simulation.geometry, exact, x, ranges=layer.adc_limits)
    sigma = float((wanted - silent).std())
    assert sigma > 0
    steps = 1e-3 * float(wanted.abs().max()) if FAST[name].adc_bits is None else 0.0
    moved = (found - wanted).abs() > 1e-2 * sigma + steps
    assert moved.float().mean() <= (0.0 if FAST[name].adc_bits is None else 0.05)
    assert float((found - wanted).std()) < 0.25 * sigma
    del model


def floats(panel):
    """Columns with variances in float32, for the rule."""
    from tetrit.train.noise.panels import Panel

    parts, flicker = panel.flicker_parts, None
    if parts is not None:
        last = [] if parts.rest is None else [parts.rest]
        flicker = torch.cat([*parts.whole, *last], dim=1).float()
    return Panel(weights=panel.weights, flicker=flicker, shot=None)


def test_noise_grows_with_its_scale_on_the_fast_chain():
    """Read noise alone: a perfect cell with 1/f noise."""
    machine = PCM.replace(device=Device(flicker=(0.02, 0.1, 0.5)), adc_bits=None, adc=Adc())
    spreads = []
    for scale in (0.5, 1.0):
        _, layer, _, x = linear(machine)
        values = layer.weight_quantizer(layer.weight).detach()
        chip = layer.simulation.prepare(values, scale, training=True)
        chip = replace(chip, scales=torch.ones(N_OUT))
        runs = [layer.simulation.multiply(x, chip, None, torch.tensor(1.0), None) for _ in range(60)]
        spreads.append(float(torch.stack(runs).std(0).mean()))
    assert spreads[1] == pytest.approx(2 * spreads[0], rel=0.1)


def test_a_product_of_bfloat16_and_its_substitute_agree(monkeypatch):
    results = []
    for fast in (True, False):
        monkeypatch.setattr(compiled, "_fast_bfloat16", lambda fast=fast: fast)
        model = linear(PCM.replace(adc_bits=None, adc=Adc()))[0]
        results.append(model(torch.linspace(-1, 1, 5 * N_IN).reshape(5, N_IN)).detach())
    assert torch.allclose(*results, rtol=1e-3, atol=1e-3)


DEVICES = {
    "pcm": load("crossbar_256_pcm").replace(time_s=1e4),
    "rram": load("crossbar_128_rram"),
    "flash": Crossbar(rows=8, cols=8, device="flash", bits_per_cell=3, time_s=1e6),
    "sram": load("crossbar_256_sram"),
    "hot": Crossbar(rows=8, cols=8, device="pcm", bits_per_cell=3, time_s=1e3, temperature_k=340.0),
    "spread": Crossbar(
        rows=8,
        cols=8,
        bits_per_cell=2,
        device=Device(
            g_min_siemens=2e-6,
            program_sigma_siemens=(0.8e-6,),
            device_spread=0.2,
            device_distribution="lognormal",
            cycle_spread=0.1,
            cycle_distribution="lognormal",
            write_cycles=4,
            write_tolerance_siemens=0.7e-6,
        ),
    ),
}


@pytest.mark.parametrize("name", list(DEVICES))
def test_statistics_of_levels_are_those_of_the_simulators_cells(name):
    machine = DEVICES[name]
    found = level_statistics(machine)
    low, high = machine.window
    levels = np.unique(np.linspace(0, 2**machine.bits_per_cell - 1, 4).astype(int))
    targets = np.repeat((low + levels * machine.level_siemens)[:, None], 40_000, axis=1)
    cells = Cells.written(np.minimum(targets, high), machine.cell, machine.window, key=noise.key(5))
    g = cells.conductance(machine.time_s, machine.temperature_k)
    counted = (g - low) / machine.level_siemens
    error = counted.std(axis=1) / np.sqrt(counted.shape[1])
    assert (np.abs(counted.mean(axis=1) - found.mean[levels]) <= 5 * error + 1e-6).all()
    np.testing.assert_allclose(found.variance[levels], counted.var(axis=1), rtol=0.05, atol=1e-9)
    read = cells.read_noise(g, machine.time_s, machine.read_time_s, machine.temperature_k)
    unit = machine.level_siemens**2
    np.testing.assert_allclose(found.flicker[levels], read.flicker.mean(axis=1) / unit, rtol=0.03)
    np.testing.assert_allclose(found.thermal[levels], read.thermal.mean(axis=1) / unit, rtol=0.03)
    np.testing.assert_allclose(found.shot[levels], read.shot * g.mean(axis=1) / unit, rtol=0.03)


def codes_of(machine, q):
    """The codes of integer weights."""
    found = machine.weights
    table = {int(i): code for code, i in enumerate(found.integers) if not np.isnan(found.values[code])}
    return np.vectorize(table.__getitem__)(q).astype(np.int64)


PRESETS = ["crossbar_ideal", "crossbar_256_pcm", "crossbar_128_rram", "crossbar_256_sram"]


@pytest.mark.parametrize("name", PRESETS)
def test_evaluation_on_a_preset_is_the_simulator(name):
    """Wires, stuck cells and spare columns included, without read noise; several arrays each way."""
    machine = load(name).replace(time_s=3600.0)
    machine = machine.replace(
        rows=48,
        cols=40,
        device=machine.cell.replace(flicker=None, thermal=False, shot=False),
        stuck_on=machine.stuck_on * 5,
    )
    rng = np.random.default_rng(3)
    top = 2 ** (machine.weights.bits - 1) - 1
    q = rng.integers(-top, top + 1, (11, 100))
    q[:, 0] = top
    layer = nn.Linear(100, 11, bias=False)
    layer.weight.data = torch.tensor(q, dtype=torch.float32)
    model = noise_aware(nn.Sequential(layer), machine, seed=2)
    x = rng.integers(-127, 128, (30, 100))
    x[0, 0] = 127
    given = torch.tensor(x, dtype=torch.float32)
    calibrate(model, given)
    codes = codes_of(machine, q.T)
    engine = CrossbarEngine(machine, model[0].simulation.chip_seed).load(codes)
    if model[0].simulation.geometry.calibrated:
        engine.calibrate(x)
    wanted = engine.matmul(x, read_noise="off").output
    difference = np.abs(model.eval()(given).detach().numpy() - wanted)
    assert (difference > 3e-6 * np.abs(wanted).max() + 1e-3).mean() <= 0.01
    if name not in ("crossbar_ideal", "crossbar_256_sram"):  # whose errors stay below half a step of the converters
        assert np.abs(wanted - x @ q.T).max() > 1


@pytest.mark.parametrize("name", ["crossbar_256_pcm", "crossbar_128_rram", "crossbar_256_sram"])
def test_results_in_training_have_the_law_of_the_simulators_chips(name):
    """Mean and spread over chips and reads, each output of each vector.

    Without stuck cells: the simulator moves outputs to where these do the least harm, which training does not.
    """
    machine = load(name).replace(rows=32, cols=32, spare_cols=0, time_s=3600.0, adc_bits=None, adc=Adc())
    machine = machine.replace(stuck_on=0.0, stuck_off=0.0)
    if machine.has_wires:
        machine = machine.replace(r_row_ohm=10.0, r_col_ohm=10.0)
    rng = np.random.default_rng(3)
    top = 2 ** (machine.weights.bits - 1) - 1
    q = rng.integers(-top, top + 1, (3, 40))
    q[:, 0] = top
    layer = nn.Linear(40, 3, bias=False)
    layer.weight.data = torch.tensor(q, dtype=torch.float32)
    model = noise_aware(nn.Sequential(layer), machine, seed=2)
    x = rng.integers(-127, 128, (4, 40))
    x[:, 0] = 127
    given = torch.tensor(x, dtype=torch.float32)
    chips = 80
    found = torch.stack([model(given).detach() for _ in range(2 * chips)]).double().numpy()
    codes = codes_of(machine, q.T)
    wanted = np.stack([CrossbarEngine(machine, seed).load(codes).matmul(x).output for seed in range(chips)])
    sigma = wanted.std(axis=0)
    assert (np.abs(found.mean(0) - wanted.mean(0)) < 6 * sigma / np.sqrt(chips)).all()
    np.testing.assert_allclose(found.std(0) / sigma, 1.0, atol=0.4)
    assert np.mean(found.std(0) / sigma) == pytest.approx(1.0, abs=0.12)


def test_time_moves_the_results_of_training():
    model, _, x, _ = linear(PCM.replace(adc_bits=None, adc=Adc()))
    early = model(x).abs().mean()
    set_crossbar(model, PCM.replace(adc_bits=None, adc=Adc(), time_s=1e7))
    assert model(x).abs().mean() < 0.9 * early
