"""Noise-aware layers in PyTorch's other machinery: compilation, processes, other devices; and odd batches."""

import copy
import socket
from datetime import timedelta

import pytest
import torch
import torch.multiprocessing as mp
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils._python_dispatch import TorchDispatchMode

from tetrit.hardware import Adc, Crossbar, Device
from tetrit.train import Plan, Rule, calibrate, crossbar_layers, noise_aware, prepare
from tetrit.train.models.lstm import LSTM
from tetrit.train.noise import simulation
from tetrit.train.noise.pool import Pool

PCM = Crossbar(rows=32, cols=32, device="pcm", bits_per_cell=8, adc=Adc(range="calibrated"), time_s=60.0)
WIRED = PCM.replace(r_row_ohm=5.0, r_col_ohm=5.0, drift_compensation="global")
X = torch.randn(7, 40, generator=torch.Generator().manual_seed(3))


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(40, 12), nn.ReLU(), nn.Linear(12, 5))


def test_compiled_models_compute_the_same():
    plain, other = noise_aware(mlp(), PCM), noise_aware(mlp(), PCM)
    fast = torch.compile(other, backend="eager")
    for _ in range(3):
        a, b = plain(X), fast(X)
        assert torch.equal(a, b)
        a.sum().backward()
        b.sum().backward()
    assert torch.equal(plain[0].weight.grad, other[0].weight.grad)
    plain.eval()
    other.eval()
    assert torch.equal(plain(X), fast(X))


def steps(model, x):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(3):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
    return [p.detach().clone() for p in model.parameters()]


def work(rank, port, folder):
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    model = noise_aware(mlp(), PCM)
    found = steps(DistributedDataParallel(model), X[rank::2])
    weights = [layer.weight_quantizer(layer.weight).detach() for layer in crossbar_layers(model).values()]
    panels = [
        layer.simulation.prepare(values, 1.0, training=True).panel.weights
        for layer, values in zip(crossbar_layers(model).values(), weights, strict=True)
    ]
    keys = [layer.simulation.key(simulation._READ, 1) for layer in crossbar_layers(model).values()]
    torch.save((found, panels, keys), f"{folder}/{rank}.pt")
    distributed.barrier()
    distributed.destroy_process_group()


def test_processes_that_share_a_batch_share_the_chip_but_not_the_read_noise(tmp_path):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
    mp.spawn(work, args=(port, tmp_path), nprocs=2)
    (first, chips, keys), (second, others, other_keys) = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(chips, others, strict=True))
    assert set(keys).isdisjoint(other_keys)


class NoWaiting(TorchDispatchMode):
    """Refuses what waits for a device: copies to and from the CPU, and reading a value."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in ("_local_scalar_dense", "item", "nonzero") and args[0].device.type != "cpu":
            raise AssertionError(f"waits: {name}")
        if name in ("_to_copy", "copy_"):
            devices = {a.device.type for a in args if isinstance(a, torch.Tensor) and a.ndim}
            devices |= {torch.device(d).type for d in [(kwargs or {}).get("device")] if d is not None}
            if len(devices) > 1:
                raise AssertionError(f"waits: {name} between {sorted(devices)}")
        return func(*args, **(kwargs or {}))


META = {
    "pcm": {},
    "slices": {"bits_per_cell": 2, "dac_bits": 3},
    "digital offset": {"mapping": "offset", "readout": "digital"},
    "analog offset": {"mapping": "offset", "bits_per_cell": 4},
    "by column": {"adc": Adc(range="calibrated_per_column", noise_sigma_lsb=0.5)},
    "uneven": {"adc": Adc(dnl_sigma_lsb=0.1)},
    "curved": {"device": Device(sinh_volt=0.2, flicker=(0.02, 0.1, 0.5))},
    "each": {"stuck_on": 0.01},
}


@pytest.mark.parametrize("name", list(META))
def test_a_step_of_training_does_not_wait_for_its_device(name, monkeypatch):
    """On tensors without values, after the first batch: what asks for a value raises."""
    monkeypatch.setattr(simulation, "_OBSERVE_EVERY", 1)
    model = noise_aware(mlp(), PCM.replace(**META[name])).to("meta")
    for layer in crossbar_layers(model).values():  # what a refreshment, which waits, would have left
        layer.simulation.ready = layer.simulation.ranged = True
        given = torch.zeros(*layer.weight.shape)
        standing, converters = layer.simulation.refresh(given)
        move(layer.simulation, standing, converters)
        layer.simulation.draws = 1
    x = torch.empty(7, 40, device="meta")
    model(x)  # puts constants on the device
    with NoWaiting():
        y = model(x)
    assert (y.shape, y.device.type) == ((7, 5), "meta")
    y.sum().backward()
    assert model[0].weight.grad.shape == (12, 40)
    with NoWaiting(), pytest.raises(AssertionError, match="waits"):
        torch.ones(3).to("meta")


def move(simulation, standing, converters):
    from dataclasses import fields, is_dataclass, replace

    def moved(value):
        if isinstance(value, torch.Tensor):
            return value.to("meta")
        if isinstance(value, tuple):
            return tuple(moved(v) for v in value)
        if is_dataclass(value):
            return replace(value, **{f.name: moved(getattr(value, f.name)) for f in fields(value)})
        return value

    simulation._device = torch.device("meta")
    simulation._tables = None
    simulation._standing, simulation._converters = moved(standing), moved(converters)


@pytest.mark.parametrize("machine", [PCM, PCM.replace(mapping="offset", dac_bits=3)], ids=["loops", "rule"])
def test_what_is_not_finite_stays_in_its_row_and_moves_no_range(machine):
    model = noise_aware(mlp(), machine)
    model(X)
    limit = model[0].input_limit.clone()
    for bad in (float("nan"), float("inf")):
        x = X.clone()
        x[2, 3] = bad
        y = model(x)
        assert torch.equal(model[0].input_limit, limit)
        assert y[[0, 1, 3, 4, 5, 6]].isfinite().all()
        assert y[2].isnan().all() == (bad != bad)
    assert model[2].adc_limits.isfinite().all()


@pytest.mark.parametrize("machine", [PCM, PCM.replace(mapping="offset")], ids=["loops", "rule"])
def test_empty_batches(machine):
    model = noise_aware(nn.Sequential(nn.Conv1d(2, 3, 3), nn.Flatten(), nn.Linear(12, 5)), machine)
    model(torch.randn(4, 2, 6))
    limit = model[0].input_limit.clone()
    y = model(torch.zeros(0, 2, 6))
    assert y.shape == (0, 5)
    y.sum().backward()
    assert torch.equal(model[0].input_limit, limit)


def test_pieces_of_a_batch_are_the_batch(monkeypatch):
    machine = PCM.replace(device=Device(program_sigma_siemens=(1e-6,)), adc=Adc(range="calibrated"))
    results = []
    for most in (1 << 22, 700):
        monkeypatch.setattr(simulation, "_PIECE_CPU", most)
        monkeypatch.setattr(simulation, "_LEAST", 1)
        torch.manual_seed(0)
        model = noise_aware(nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.Flatten(), nn.Linear(144, 5)), machine)
        x = torch.randn(9, 2, 6, 6)
        assert (len(list(model[0].pieces(x))) > 20) == (most == 700)
        calibrate(model, x)
        results.append([model(x).detach(), model[0].adc_limits.clone(), model.eval()(x).detach()])
    for a, b in zip(*results, strict=True):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-5)


def test_calibration_covers_all_calls_of_a_batch():
    torch.manual_seed(0)
    model = noise_aware(LSTM(symbols=11, layers=1, width=8), PCM)
    layer = model.cells[0].from_state
    seen = []
    original = layer.simulation.learn_input
    layer.simulation.learn_input = lambda x, limit: (seen.append(float(x.abs().max())), original(x, limit))
    calibrate(model, torch.randint(11, (3, 6)))
    assert len(seen) == 6 and seen[-1] != max(seen)
    assert float(layer.input_limit) == pytest.approx(max(seen))
    assert not layer.simulation.calibrating


def test_a_training_that_goes_on_draws_the_same_chips():
    """Converters too, which are drawn anew every few batches."""
    machine = PCM.replace(adc=Adc(gain_sigma=0.1), r_row_ohm=0.0)
    whole = noise_aware(mlp(), machine, refresh_every=3)
    results = [whole(X) for _ in range(4)]
    state = copy.deepcopy(whole.state_dict())
    results = [whole(X) for _ in range(4)]
    again = noise_aware(mlp(), machine, refresh_every=3)
    again.load_state_dict(state)
    assert all(torch.equal(a, again(X)) for a in results)


def test_layers_that_begin_at_zero():
    """Their outputs show nothing of the integers that they will have."""
    model = mlp()
    nn.init.zeros_(model[2].weight)
    model = noise_aware(model, PCM)
    assert [layer.simulation.top for layer in crossbar_layers(model).values()] == [127, 127]
    model(X).sum().backward()
    assert model[2].weight.grad.abs().sum() > 0


def test_memory_is_used_again_but_not_hoarded():
    pool = Pool(4000)
    first = pool.take("first", lambda: torch.empty(200))
    pool.give_back("first", first)
    assert pool.kept == 800
    assert pool.take("other", lambda: torch.empty(200)) is not first
    assert pool.take("first", lambda: torch.empty(200)) is first and pool.kept == 0
    for size in range(100, 140):
        pool.give_back(size, torch.empty(size))
        assert 0 < pool.kept <= 4000
    pool.give_back("large", torch.empty(2000))
    assert pool.kept == 0 and pool.take("large", lambda: torch.empty(7)).shape == (7,)


def test_convolutions_have_the_gradient_of_the_clean_layer_exactly():
    rule = Rule(match="*", weight={"name": "ste", "format": "int8", "axis": "output"})
    torch.manual_seed(0)
    clean = prepare(nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1)), Plan(rules=(rule,)))
    noisy = noise_aware(copy.deepcopy(clean), WIRED)
    x = torch.randn(4, 3, 9, 10)
    found = []
    for model in (clean, noisy):
        given = x.clone().requires_grad_()
        y = model(given)
        (y * torch.linspace(-1, 1, y.numel()).reshape(y.shape)).sum().backward()
        found.append([given.grad, *(p.grad for p in model.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_export_takes_a_network_from_the_crossbar(tmp_path):
    from tetrit.train import export

    model = noise_aware(mlp(), PCM)
    calibrate(model, X)
    export(model, tmp_path / "net.safetensors")
    assert (tmp_path / "net.safetensors").stat().st_size > 0
