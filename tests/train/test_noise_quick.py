"""The quick way of a training batch gives what the long one does, and losses in wires are those of the written rule."""

import numpy as np
import pytest
import torch
from torch import nn

from tetrit import noise
from tetrit.hardware import Adc, Crossbar, Device
from tetrit.sim.crossbar.mapping import Layout, levels, reference_levels
from tetrit.sim.crossbar.wires import effective_conductance
from tetrit.train import noise_aware
from tetrit.train.noise import _kernels, simulation
from tetrit.train.noise.geometry import geometry
from tetrit.train.noise.refreshing import standing
from tetrit.train.noise.simulation import Simulation
from tetrit.train.noise.statistics import level_statistics

NOISY = Device(program_sigma_siemens=(0.5e-6,), flicker=(0.02, 0.1, 0.5))  # without drift, whose law takes seconds
CHIP = Crossbar(rows=32, cols=32, device=NOISY, bits_per_cell=8, adc=Adc(range="calibrated"))
MACHINES = {
    "wires": CHIP.replace(r_row_ohm=5.0, r_col_ohm=5.0),
    "digits": CHIP.replace(bits_per_cell=2, dac_bits=3, adc_bits=10),
    "full scale": CHIP.replace(adc=Adc()),
    "silent": CHIP.replace(device="ideal", adc_bits=None, adc=Adc()),
}
X = torch.linspace(-1.0, 1.3, 13 * 75).reshape(13, 75)


def trained(machine, bias, batches=20):
    """Results, gradients and counters of some batches, the ranges learned in the first 16 of them."""
    torch.manual_seed(0)
    model = noise_aware(nn.Sequential(nn.Linear(75, 9, bias=bias), nn.Linear(9, 4)), machine, seed=5)
    results = []
    for _ in range(batches):
        model(X).square().sum().backward()
        results.append([p.grad.clone() for p in model.parameters()])
    counted = model[0].simulation.draws, model[0].simulation.reads
    return model(X).detach(), results, counted


@pytest.mark.parametrize("name", list(MACHINES))
def test_the_quick_way_is_the_long_one_bit_for_bit(name, monkeypatch):
    gone = []
    quick = Simulation.quick

    def watched(self, *args):
        found = quick(self, *args)
        gone.append(found is not None)
        return found

    monkeypatch.setattr(Simulation, "quick", watched)
    first = trained(MACHINES[name], bias=name != "digits")
    assert gone.count(True) >= 8 and (all(gone) or MACHINES[name].adc.range == "calibrated")
    monkeypatch.setattr(Simulation, "quick", lambda *args: None)
    second = trained(MACHINES[name], bias=name != "digits")
    assert torch.equal(first[0], second[0]) and first[2] == second[2]
    for a, b in zip(first[1], second[1], strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_the_quick_way_leaves_other_inputs_to_the_long_one(monkeypatch):
    torch.manual_seed(0)
    layer = noise_aware(nn.Sequential(nn.Linear(75, 9)), CHIP.replace(adc=Adc()))[0]
    seen = []
    quick = Simulation.quick
    monkeypatch.setattr(Simulation, "quick", lambda self, *args: seen.append(quick(self, *args)) or seen[-1])
    for x in (X.double(), X.T.contiguous().T, X[None], X.half()):
        assert layer(x).shape == (*x.shape[:-1], 9)
    assert seen == [None] * 4
    monkeypatch.setattr(simulation, "_PIECE_CPU", 1)
    monkeypatch.setattr(simulation, "_LEAST", 1)
    assert layer(X).shape == (13, 9) and seen[4] is None


def test_chips_with_as_many_columns_but_other_outputs_keep_apart():
    """Their memory comes from one pool."""
    torch.manual_seed(0)
    slices = CHIP.replace(bits_per_cell=4, adc=Adc())
    whole = CHIP.replace(adc=Adc())
    layers = [noise_aware(nn.Sequential(nn.Linear(40, n)), m)[0] for n, m in ((6, slices), (12, whole), (6, slices))]
    assert {layer.simulation.geometry.n_columns for layer in layers} == {12}
    x = torch.randn(3, 40)
    for layer in layers:
        layer(x)
        chip = layer.simulation.prepare(layer.weight.detach(), 1.0, training=True)
        assert chip.scales.shape == (len(layer.weight),)
        assert torch.equal(chip.scales, layer.weight.detach().abs().amax(1) / 127)
        layer.simulation.new_batch()


def test_hooks_of_quantisers_are_called_and_change_nothing():
    """Straight-through weights have no graph of their own, unless somebody looks at them."""
    found, seen = [], []
    for looks in (False, True):
        torch.manual_seed(0)
        model = noise_aware(nn.Sequential(nn.Linear(75, 9)), CHIP)
        if looks:
            model[0].weight_quantizer.register_forward_hook(lambda module, inputs, output: seen.append(output))
        y = model(X)
        y.square().sum().backward()
        found.append((y.detach(), *(p.grad for p in model.parameters())))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    assert len(seen) == 1 and seen[0].requires_grad


@pytest.mark.parametrize("prefix", [0, 1, 2**63 + 11, 2**64 - 1])
@pytest.mark.parametrize("count", [0, 3, 2**40])
def test_compiled_loops_number_their_keys_as_the_noise_does(prefix, count):
    assert int(_kernels.numbered(np.uint64(prefix), np.uint64(count))) == noise.key(prefix, count)


PAIRS = Crossbar(rows=16, cols=12, device=NOISY, bits_per_cell=8, r_row_ohm=20.0, r_col_ohm=30.0)
WIRED = {
    "pairs": PAIRS,
    "slices": PAIRS.replace(bits_per_cell=2, cols=16),
    "perfect": PAIRS.replace(device="ideal"),
    "offset": Crossbar(rows=16, cols=12, device=Device(thermal=True), bits_per_cell=4, mapping="offset", r_col_ohm=9.0),
}


def left_of(now, left):
    """Shares that wires leave, 1 at most and of what is open."""
    return np.array([min(b / a, 1.0) if a > 0 else 1.0 for a, b in zip(now, left, strict=True)])


@pytest.mark.parametrize("name", list(WIRED))
def test_losses_follow_the_rule_as_written(name):
    """Mean conductances through the wires; of a pair the shares' root mean square, by variances where there are any."""
    machine = WIRED[name]
    n_in, n_out = 21, 5
    q = np.random.default_rng(3).integers(-127, 128, (n_out, n_in))
    found = standing(geometry(machine, n_in, n_out), q, torch.device("cpu")).wires
    layout, shape = Layout(machine=machine, n_in=n_in, n_out=n_out), geometry(machine, n_in, n_out)
    law, unit = level_statistics(machine), machine.level_siemens
    each = levels(machine, q.T)
    for i, j in np.ndindex(layout.row_arrays, layout.col_arrays):
        rows, outputs = layout.rows(i), layout.outputs(j)
        cells = np.zeros((machine.rows, machine.cols), int)
        for o in range(outputs.stop - outputs.start):
            for c in range(machine.columns_per_output):
                cells[: rows.stop - rows.start, o * machine.columns_per_output + c] = each[rows, outputs.start + o, c]
        if shape.n_references:
            cells[: rows.stop - rows.start, layout.references] = reference_levels(machine)
        now = machine.window[0] / unit + law.mean[cells]
        left = effective_conductance(now * unit, machine.r_row_ohm, machine.r_col_ohm, 0.0, 0.0) / unit
        polarities = 1 + shape.paired
        for g, n, k in np.ndindex(shape.groups, outputs.stop - outputs.start, rows.stop - rows.start):
            at = [n * machine.columns_per_output + g * polarities + p for p in range(polarities)]
            share = left_of(now[k, at], left[k, at])
            weight = law.variance[cells[k, at]]
            mean = 1.0
            if weight.any():
                mean = np.sqrt(np.average(share**2, weights=weight))
            elif now[k, at].any():
                mean = np.average(share, weights=now[k, at])
            sign = np.array([1.0, -1.0])[:polarities]
            place = g, outputs.start + n, rows.start + k
            assert float(found.share[0][place]) == pytest.approx(mean, rel=1e-6)
            rest = sign @ left[k, at] - mean * (sign @ now[k, at])
            assert float(found.rest[0][place]) == pytest.approx(rest, rel=1e-5, abs=1e-5)
        for g in range(shape.groups if shape.n_references else 0):
            k = rows.stop - rows.start
            column = layout.references.start + g
            share = left_of(now[:k, column], left[:k, column])
            line = found.share[1][g * layout.col_arrays + j, rows].numpy()
            np.testing.assert_allclose(line, share, rtol=1e-6)
