"""Noise-aware layers against the simulator: the same chip, the same samples, the same results."""

import numpy as np
import pytest
import torch
from torch import nn

from tetrit import noise
from tetrit.hardware import Adc, Crossbar, Dac, Device
from tetrit.sim.crossbar import chain
from tetrit.sim.crossbar.engine import CrossbarEngine
from tetrit.train import calibrate, noise_aware
from tetrit.train.noise.cells import Cells, ChipSamples
from tetrit.train.noise.geometry import geometry
from tetrit.train.noise.panels import by_cells, golden
from tetrit.train.noise.refreshing import standing

PCM = Device.load("pcm")
SILENT = PCM.replace(flicker=None, thermal=False)
COARSE = Device(
    g_min_siemens=1e-6,
    g_max_siemens=40e-6,
    program_sigma_siemens=(0.4e-6, 1e-6),
    device_spread=0.05,
    device_distribution="lognormal",
    cycle_spread=0.03,
    write_cycles=3,
    write_tolerance_siemens=0.6e-6,
    temperature_per_k=-0.001,
)
MACHINES = {
    "perfect": Crossbar(rows=16, cols=24, bits_per_cell=4, dac_bits=None, adc_bits=None),
    "pairs": Crossbar(rows=16, cols=12, device=SILENT, bits_per_cell=8, adc_bits=10, time_s=3600.0),
    "slices": Crossbar(rows=16, cols=24, device=SILENT, bits_per_cell=2, dac_bits=3, adc_bits=9),
    "digital": Crossbar(rows=16, cols=24, device=SILENT, bits_per_cell=4, readout="digital", adc_bits=12, dac_bits=4),
    "offset": Crossbar(rows=16, cols=12, device=SILENT, bits_per_cell=4, mapping="offset", adc_bits=12),
    "offset digital": Crossbar(
        rows=16, cols=12, device="sram", bits_per_cell=1, mapping="offset", readout="digital", weight_format="int4"
    ).replace(dac_bits=1, adc_bits=8),
    "unsigned": Crossbar(rows=16, cols=12, device=COARSE, bits_per_cell=8, act_format="uint6", temperature_k=330.0),
    "verified": Crossbar(rows=16, cols=12, device=COARSE, bits_per_cell=4, weight_format="int4", dac_bits=4),
    "wires": Crossbar(rows=16, cols=12, device=SILENT, bits_per_cell=8, r_row_ohm=20.0, r_col_ohm=30.0, adc_bits=10),
    "calibrated": Crossbar(rows=16, cols=12, device=SILENT, bits_per_cell=8, adc=Adc(range="calibrated")),
    "by column": Crossbar(
        rows=16, cols=12, device=SILENT, bits_per_cell=8, adc=Adc(range="calibrated_per_column"), dac_bits=4
    ),
    "fixed": Crossbar(rows=16, cols=12, bits_per_cell=8, adc=Adc(range="fixed", full_scale=20000.0)),
    "converters": Crossbar(
        rows=16,
        cols=12,
        bits_per_cell=8,
        dac_bits=4,
        dac=Dac(offset_sigma_lsb=0.1, gain_sigma=0.02, dnl_sigma_lsb=0.1, inl_lsb=(0.0, 0.3, 0.0)),
        adc=Adc(gain_sigma=0.02, offset_sigma_lsb=0.7, columns_per_adc=4),
    ),
    "uneven": Crossbar(
        rows=16,
        cols=12,
        bits_per_cell=8,
        adc_bits=6,
        adc=Adc(dnl_sigma_lsb=0.2, inl_lsb=(0.0, 0.5, -0.5, 0.0), capacitor_sigma=0.05),
    ),
    "compensated": Crossbar(
        rows=16, cols=12, device=SILENT, bits_per_cell=8, time_s=1e5, drift_compensation="global", adc_bits=10
    ),
    "faults": Crossbar(
        rows=16, cols=20, device=SILENT, bits_per_cell=8, stuck_on=0.02, stuck_off=0.05, spare_cols=8, adc_bits=10
    ),
    "bent": Crossbar(rows=16, cols=12, device=Device(sinh_volt=0.2), bits_per_cell=8),
}
of_machines = pytest.mark.parametrize("name", list(MACHINES))
N_IN, N_OUT, BATCH = 40, 9, 33


def weights(machine, rng):
    low, high = (1 - 2 ** (machine.weights.bits - 1)), 2 ** (machine.weights.bits - 1) - 1
    q = rng.integers(low, high + 1, (N_OUT, N_IN))
    q[:, 0] = high  # so that the scale of every output is 1
    return q


def codes_of(machine, q):
    found = machine.weights
    table = {int(i): c for c, i in enumerate(found.integers) if not np.isnan(found.values[c])}
    return np.vectorize(table.__getitem__)(q).astype(np.int64)


def layer_and_engine(machine, seed=3, **options):
    """A layer and an engine of the same chip, with input steps and scales of 1; and inputs for both."""
    rng = np.random.default_rng(seed)
    q = weights(machine, rng)
    linear = nn.Linear(N_IN, N_OUT, bias=False)
    linear.weight.data = torch.tensor(q, dtype=torch.float32)
    model = noise_aware(nn.Sequential(linear), machine, seed=seed, **options)
    low, high = model[0].simulation.geometry.input_range
    x = rng.integers(max(low, -high), high + 1, (BATCH, N_IN))
    x[0, 0] = high
    engine = CrossbarEngine(machine, model[0].simulation.chip_seed).load(codes_of(machine, q.T))
    given = torch.tensor(x, dtype=torch.float32)
    if model[0].simulation.geometry.calibrated:
        engine.calibrate(x)
    calibrate(model, given)
    model[0].input_limit.fill_(high)
    return model.eval(), engine, given, x


def assert_close(found, wanted, machine):
    """Equal within float32 rounding, but for conversions of currents that lie at a border: at most 1 in 100."""
    difference = np.abs(found - wanted)
    rounding = 2e-6 * np.abs(wanted).max() + 1e-3
    moved = difference > rounding
    if machine.adc_bits is None:
        assert not moved.any()
    assert moved.mean() <= 0.01, f"{moved.mean():.3f} of {moved.size} differ, by {difference.max():g}"


@of_machines
def test_evaluation_is_the_engine_without_read_noise(name):
    machine = MACHINES[name]
    if machine.cell.thermal:
        machine = machine.replace(device=machine.cell.replace(thermal=False))
    model, engine, given, x = layer_and_engine(machine)
    assert_close(model(given).detach().numpy(), engine.matmul(x, read_noise="off").output, machine)


def test_another_chip_differs():
    """The comparison would find a chip of another seed."""
    machine = MACHINES["pairs"]
    model, engine, given, x = layer_and_engine(machine)
    model[0].simulation.take_chip(1)
    with pytest.raises(AssertionError, match="differ"):
        assert_close(model(given).detach().numpy(), engine.matmul(x, read_noise="off").output, machine)


def engine_normals(engine, model, seed):
    """The normals that the engine gives to currents, in the order of the layer's columns."""
    shape = model[0].simulation.geometry
    arrays = engine.arrays
    columns = np.concatenate(
        [g * arrays.width + np.arange(N_OUT) for g in range(shape.groups)]
        + [shape.groups * arrays.width + np.arange(shape.n_references)]
    )

    def normals(i, digit, shape):
        key = noise.key(engine.seed, chain._READ, i, digit)
        z = np.asarray(noise.normals(key, shape[0] * arrays.n_columns)).reshape(shape[0], -1)
        return torch.tensor(z[:, columns], dtype=torch.float32)

    return normals


NOISY = {
    "pairs": MACHINES["pairs"].replace(device=PCM),
    "slices": MACHINES["slices"].replace(device=PCM),
    "digital": MACHINES["digital"].replace(device=PCM, adc=Adc(noise_sigma_lsb=0.5)),
    "offset": MACHINES["offset"].replace(device=PCM, adc=Adc(noise_sigma_lsb=0.5, gain_sigma=0.05)),
    "offset digital": MACHINES["offset digital"].replace(adc=Adc(noise_sigma_lsb=0.5)),
    "shot": Crossbar(rows=16, cols=12, device="flash", bits_per_cell=8, adc_bits=10),
    "wires": MACHINES["wires"].replace(device=PCM),
    "no converters": Crossbar(rows=16, cols=12, device="rram", bits_per_cell=8, adc_bits=None),
}


@pytest.mark.parametrize("name", list(NOISY))
def test_read_noise_is_the_engines_when_fed_its_samples(name):
    machine = NOISY[name]
    model, engine, given, x = layer_and_engine(machine)
    found = model[0].hardware_forward(given, model[0].weight, normals=engine_normals(engine, model, 3))
    wanted = engine.matmul(x).output
    silent = engine.matmul(x, read_noise="off").output
    assert (wanted != silent).any()
    difference = np.abs(found.numpy() - wanted)
    moved = difference > 3e-6 * np.abs(wanted).max() + 1e-3
    assert moved.mean() <= 0.02


@pytest.mark.parametrize("name", [n for n, m in MACHINES.items() if not m.has_wires and n not in ("faults", "bent")])
def test_cells_of_a_kept_chip_are_those_of_the_simulator(name):
    machine = MACHINES[name]
    shape = geometry(machine, N_IN, N_OUT)
    q = weights(machine, np.random.default_rng(5))
    device = torch.device("cpu")
    cells = Cells(shape, ChipSamples(shape, 77, device), device)
    found = by_cells(shape, cells, torch.tensor(q, dtype=torch.float32), None)
    wanted = golden(shape, machine, q, 77, device).panel
    for field in ("weights", "flicker", "shot"):
        a, b = getattr(found, field), getattr(wanted, field)
        assert (a is None or not a.any()) == (b is None)
        if b is not None:
            assert torch.allclose(a, b, rtol=3e-5, atol=3e-5 * float(b.abs().max()))


def test_stuck_cells_of_a_kept_chip_are_those_of_the_simulator():
    machine = MACHINES["faults"].replace(spare_cols=0, device=PCM)
    shape = geometry(machine, N_IN, N_OUT)
    q = weights(machine, np.random.default_rng(5))
    device = torch.device("cpu")
    found = by_cells(shape, Cells(shape, ChipSamples(shape, 7, device), device), torch.tensor(q).float(), None)
    wanted = golden(shape, machine, q, 7, device)
    in_order = all((places == np.arange(len(places))).all() for places in wanted.places.values())
    if in_order:
        assert torch.allclose(found.weights, wanted.panel.weights, rtol=3e-5, atol=3e-3)
    assert (found.weights.abs() > 250).any()


@pytest.mark.parametrize("name", ["pairs", "digital", "offset", "wires"])
def test_what_stands_agrees_with_the_simulator_on_average(name):
    """Thermal noise, compensation and losses in wires follow from mean conductances; a perfect chip has just these."""
    machine = MACHINES[name].replace(
        device=Device(thermal=True, drift_mean=(0.0, 0.05, 0.05, 0.05), drift_sigma=(0.0, 0.0, 0.0, 0.0)),
        time_s=1e4,
        drift_compensation="global",
    )
    shape = geometry(machine, N_IN, N_OUT)
    q = weights(machine, np.random.default_rng(5))
    device = torch.device("cpu")
    found, wanted = standing(shape, q, device), golden(shape, machine, q, 7, device)
    assert torch.allclose(found.thermal, wanted.thermal, rtol=1e-5)
    assert torch.allclose(found.compensation, wanted.compensation, rtol=1e-4)
    assert float(wanted.compensation.min()) > 1.2
    assert (found.wires is None) == (not machine.has_wires)


def test_losses_in_wires_are_those_of_the_exact_solution():
    machine = MACHINES["wires"].replace(device="ideal")
    shape = geometry(machine, N_IN, N_OUT)
    q = weights(machine, np.random.default_rng(5))
    device = torch.device("cpu")
    wires = standing(shape, q, device).wires
    cells = Cells(shape, ChipSamples(shape, 7, device), device)
    found = by_cells(shape, cells, torch.tensor(q).float(), wires).weights
    wanted = golden(shape, machine, q, 7, device).panel.weights
    assert torch.allclose(found, wanted, rtol=1e-6, atol=3e-5)
    assert float(wires.share[0].max()) <= 1.0 < 1.0 + float(wires.rest[0].abs().max())
    assert float((wanted - torch.tensor(q)).abs().max()) > 0.3
