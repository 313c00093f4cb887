"""Noise-aware layers as modules: gradients of the clean network, modes, chips, states, and what they refuse."""

import copy
import io
import pickle
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from tetrit.errors import InvalidValueError
from tetrit.hardware import Adc, Crossbar, Device, load
from tetrit.train import (
    Plan,
    Ramp,
    Rule,
    Schedule,
    calibrate,
    crossbar_layers,
    new_chip,
    noise_aware,
    prepare,
    quantized_weights,
    set_crossbar,
    set_noise,
)
from tetrit.train.models.lstm import LSTM

IDEAL = Crossbar(rows=32, cols=32, bits_per_cell=8, dac_bits=None, adc_bits=None)
PCM = Crossbar(rows=32, cols=32, device="pcm", bits_per_cell=8, adc=Adc(range="calibrated"), time_s=60.0)
SZT = PCM.replace(weight_format="szt", bits_per_cell=1, act_format="uint8")


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(40, 12), nn.ReLU(), nn.Linear(12, 5, bias=False))


def conv(**options):
    torch.manual_seed(0)
    settings = {"stride": 2, "padding": 1, "dilation": 1} | options
    return nn.Sequential(nn.Conv2d(3, 6, 3, **settings), nn.ReLU(), nn.Flatten(), nn.LazyLinear(4))


def grads(model, x, weight=None):
    y = model(x)
    (y * (torch.linspace(-1, 1, y.numel()).reshape(y.shape))).sum().backward()
    found = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    return y.detach(), found


@pytest.mark.parametrize("machine", [IDEAL, PCM, SZT], ids=["ideal", "pcm", "szt"])
def test_gradients_of_a_layer_are_those_of_the_quantised_one(machine):
    x = torch.randn(7, 40, requires_grad=True)
    clean = prepare(nn.Sequential(nn.Linear(40, 12)), plan_of(machine))
    noisy = copy.deepcopy(clean)
    noisy = noise_aware(noisy, machine)
    y, found = grads(noisy, x)
    gx, x.grad = x.grad, None
    wanted_y, wanted = grads(clean, x)
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    assert torch.equal(gx, x.grad)
    assert torch.allclose(y, wanted_y, atol=0.05) == (machine is IDEAL)


def plan_of(machine):
    table = {"name": "szt", "axis": "output"} if machine is SZT else {"name": "ste", "format": "int8", "axis": "output"}
    return Plan(rules=(Rule(match="*", weight=table),))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"padding": "same", "stride": 1},
        {"padding": "same", "stride": 1, "kernel_size": (2, 3)},
        {"padding": (0, 2), "dilation": (1, 2)},
        {"padding_mode": "circular"},
        {"bias": False},
    ],
    ids=str,
)
@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
def test_gradients_and_ideal_results_of_convolutions(options, batched):
    torch.manual_seed(0)
    settings = {"kernel_size": 3, "stride": 2, "padding": 1} | options
    clean = prepare(nn.Sequential(nn.Conv2d(3, 6, **settings)), plan_of(IDEAL))
    noisy = noise_aware(copy.deepcopy(clean), IDEAL)
    x = torch.randint(-127, 128, (4, 3, 9, 10) if batched else (3, 9, 10)).float()
    x.view(-1)[0] = 127.0
    y, found = grads(noisy, x)
    wanted_y, wanted = grads(clean, x)
    assert y.shape == wanted_y.shape
    assert torch.allclose(y, wanted_y, rtol=1e-5, atol=1e-3)
    for a, b in zip(found, wanted, strict=True):
        assert torch.allclose(a, b, rtol=1e-6, atol=1e-6)


def test_conv1d():
    torch.manual_seed(0)
    clean = prepare(nn.Sequential(nn.Conv1d(3, 6, 5, padding=2, stride=2)), plan_of(IDEAL))
    noisy = noise_aware(copy.deepcopy(clean), IDEAL)
    x = torch.randint(-127, 128, (4, 3, 21)).float()
    x[0, 0, 0] = 127.0
    y, found = grads(noisy, x)
    wanted_y, wanted = grads(clean, x)
    assert torch.allclose(y, wanted_y, rtol=1e-5, atol=1e-3)
    assert all(torch.allclose(a, b, rtol=1e-6, atol=1e-5) for a, b in zip(found, wanted, strict=True))


MAPPINGS = [
    {},
    {"bits_per_cell": 2},
    {"bits_per_cell": 3, "dac_bits": 3},
    {"readout": "digital", "bits_per_cell": 4},
    {"mapping": "offset", "bits_per_cell": 4, "dac_bits": 1},
    {"mapping": "offset", "readout": "digital"},
    {"adc_bits": 24, "bits_per_cell": 4},
    {"rows": 7},
]


@pytest.mark.parametrize("changes", MAPPINGS, ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_a_perfect_crossbar_gives_exact_integer_products(changes, training):
    machine = IDEAL.replace(**changes)
    model = noise_aware(nn.Sequential(nn.Linear(40, 12, bias=False)), machine)
    q = torch.randint(-127, 128, (12, 40)).float()
    q[:, 0] = 127
    model[0].weight.data = q.clone()
    x = torch.randint(-127, 128, (9, 40)).float()
    x[0, 0] = 127
    calibrate(model, x)
    model.train(training)
    assert torch.equal(model(x).detach(), x @ q.T)
    set_noise(model, "quantised")
    assert torch.equal(model(x).detach(), x @ q.T)


def test_leading_axes_and_dtypes():
    model = noise_aware(mlp(), PCM)
    x = torch.randn(2, 3, 40)
    assert model(x).shape == (2, 3, 5)
    double = noise_aware(mlp().double(), PCM)
    assert double(x.double()).dtype == torch.float64
    with torch.autocast("cpu", torch.bfloat16):
        y = model(x)
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert model[0].weight.grad.dtype == torch.float32


def test_redraw_per_batch_changes_every_call_and_repeats_with_the_seed():
    x = torch.randn(7, 40)
    first, second = (noise_aware(mlp(), PCM, seed=4) for _ in range(2))
    results = [first(x) for _ in range(3)]
    assert not torch.equal(results[0], results[1])
    assert all(torch.equal(a, second(x)) for a in results)
    other = noise_aware(mlp(), PCM, seed=5)
    assert not torch.equal(other(x), results[0])


QUIET = PCM.replace(device=Device.load("pcm").replace(flicker=None, thermal=False), adc_bits=None, adc=Adc())


@pytest.mark.parametrize("redraw", ["chip", "epoch"])
def test_a_kept_chip_stays(redraw):
    model = noise_aware(mlp(), QUIET, redraw=redraw)
    x = torch.randn(7, 40)
    model.train()
    first = model(x)
    chips = model[0].simulation.chip
    model[0].input_limit.fill_(3.0)
    first = model(x)
    model[0].input_limit.fill_(3.0)
    model[2].input_limit.fill_(3.0)
    a = model[0](x)
    model[0].input_limit.fill_(3.0)
    assert torch.equal(a, model[0](x))
    model.train()
    assert model[0].simulation.chip == chips + (redraw == "epoch")
    assert first.shape == (7, 5)


def test_the_training_on_a_kept_chip_is_its_evaluation():
    model = noise_aware(nn.Sequential(nn.Linear(40, 12)), QUIET, redraw="chip", seed=8)
    x = torch.randn(7, 40)
    calibrate(model, x)
    trained = model.train()(x)
    assert torch.allclose(trained, model.eval()(x), atol=1e-4)
    new_chip(model)
    assert not torch.allclose(trained, model(x), atol=1e-2)
    new_chip(model, 0)
    assert torch.allclose(trained, model(x), atol=1e-4)


def test_one_chip_for_all_calls_of_a_batch():
    torch.manual_seed(0)
    model = noise_aware(LSTM(symbols=11, layers=1, width=8), QUIET)
    draws = []
    layer = model.cells[0].from_state
    original = layer.simulation._drawn
    layer.simulation._drawn = lambda *args: draws.append(1) or original(*args)
    for batch in range(1, 3):
        model(torch.randint(11, (3, 6))).sum().backward()
        assert len(draws) == batch
    assert layer._batch is None


def test_ramp_follows_the_schedule():
    model = noise_aware(mlp(), PCM, ramp=Ramp(quantise=0.25, start=0.5, full=1.0))
    schedule = Schedule(model, total_steps=4)
    x = torch.randn(7, 40)
    found = []
    for _ in range(5):
        found.append(model[0].current())
        model(x)
        schedule.step()
    assert found == [("float", 0.0), ("quantised", 0.0), ("quantised", 0.0), ("noisy", 0.5), ("noisy", 1.0)]
    assert model.eval()[0].current() == ("noisy", 1.0)


def test_the_scale_of_noise_scales_deviations():
    machine = QUIET.replace(weight_format="int8")
    model = noise_aware(nn.Sequential(nn.Linear(40, 64, bias=False)), machine, ramp=Ramp(full=1.0))
    x = torch.randn(200, 40)
    calibrate(model, x)
    set_noise(model, "quantised")
    clean = model(x)
    set_noise(model, None)
    spread = {}
    for progress in (0.25, 0.5, 1.0):
        model[0].weight_quantizer.set_progress(progress)
        model[0].input_limit.copy_(x.abs().max())
        spread[progress] = float((model(x) - clean).detach().std())
    assert spread[0.5] / spread[0.25] == pytest.approx(2, rel=0.15)
    assert spread[1.0] / spread[0.5] == pytest.approx(2, rel=0.15)


def test_modes():
    model = noise_aware(mlp(), PCM)
    x = torch.randn(7, 40)
    model(x)
    set_noise(model, "float")
    assert torch.equal(model(x), mlp()(x))
    set_noise(model, "quantised")
    quantised = model(x)
    assert torch.allclose(quantised, mlp()(x), atol=0.1) and not torch.equal(quantised, mlp()(x))
    set_noise(model, None)
    assert not torch.allclose(model.eval()(x), quantised, atol=1e-3)


def test_state_dict_copies_and_pickles():
    x = torch.randn(7, 40)
    model = noise_aware(mlp(), PCM, seed=1)
    for _ in range(3):
        model(x)
    state = io.BytesIO()
    torch.save(model.state_dict(), state)
    fresh = noise_aware(mlp(), PCM, seed=1)
    fresh.load_state_dict(torch.load(io.BytesIO(state.getvalue()), weights_only=True))
    copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model)), fresh]
    after = model(x)
    for other in copies:
        assert torch.equal(other(x), after)
    assert torch.equal(model.eval()(x).isfinite(), torch.ones(7, 5, dtype=torch.bool))
    with pytest.raises(InvalidValueError, match=r"^the extra state is none that `get_extra_state` gave: "):
        model[0].set_extra_state(torch.zeros(3, dtype=torch.uint8))


def test_weights_stay_those_of_a_prepared_model():
    model = noise_aware(mlp(), PCM)
    assert [name for name, _ in quantized_weights(model)] == ["0.weight", "2.weight"]
    assert [name for name, _ in model.named_parameters()] == ["0.weight", "0.bias", "2.weight"]
    assert list(crossbar_layers(model)) == ["0", "2"]


def test_only_input_and_weights_are_saved():
    model = noise_aware(mlp(), PCM)
    model(torch.randn(7, 40))
    saved = []
    x = torch.randn(300, 40)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(tuple(t.shape)) or t, lambda t: t):
        model[0](x)
    assert sorted(set(saved)) == [(12, 40), (300, 40)]


def test_time_and_wires_can_change():
    x = torch.randn(30, 40)
    model = noise_aware(mlp(), PCM)
    calibrate(model, x)
    model.eval()
    early = model(x)
    set_crossbar(model, PCM.replace(time_s=1e7))
    late = model(x)
    assert late.abs().mean() < 0.9 * early.abs().mean()
    with pytest.raises(InvalidValueError, match=re.escape("`crossbar` must keep `rows` = 32, got 16")):
        set_crossbar(model, PCM.replace(rows=16))


@pytest.mark.parametrize("noise", ["graph", "injection"])
def test_noise_in_the_graph_trains(noise):
    model = noise_aware(mlp(), PCM, noise=noise)
    x = torch.randn(7, 40)
    y, found = grads(model, x)
    _, wanted = grads(noise_aware(mlp(), PCM), x)
    assert all(g.isfinite().all() for g in found)
    assert functional.cosine_similarity(found[0].ravel(), wanted[0].ravel(), dim=0) > 0.8
    assert not torch.equal(found[0], wanted[0])
    assert torch.allclose(model.eval()(x), y, atol=0.6)


def test_stuck_cells_are_drawn_one_by_one():
    machine = QUIET.replace(device="ideal", stuck_on=0.1)
    model = noise_aware(nn.Sequential(nn.Linear(40, 12, bias=False)), machine)
    assert model[0].simulation.settings.cells == "each"
    x = torch.eye(40) * 127
    calibrate(model, x)
    model[0].input_limit.fill_(127.0)
    model.train()
    weight = model[0].weight
    step = weight.detach().abs().amax(1) / 127
    moved = ((model(x) / step / 127).T.detach() - (weight / step[:, None]).round().detach()).abs() > 0.5
    assert 0.1 < moved.float().mean() < 0.3


def test_presets_train():
    for name in ("crossbar_ideal", "crossbar_256_sram"):
        model = noise_aware(mlp(), load(name))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        x, y = torch.randn(64, 40), torch.randint(5, (64,))
        losses = []
        for _ in range(15):
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert np.mean(losses[-3:]) < losses[0]
